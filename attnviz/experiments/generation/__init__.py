"""Generation token by token, with attention and caches."""
