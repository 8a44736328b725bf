"""Models in Flax Linen; reading and writing their folders on disk."""
