"""Models in Flax Linen, and their way from and to folders on disk."""
