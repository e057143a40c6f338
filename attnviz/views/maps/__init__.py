"""Maps: matrices of cells with labels on both sides."""
