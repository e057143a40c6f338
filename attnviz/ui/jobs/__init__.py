"""Long work in the background, shared by equal requests."""
