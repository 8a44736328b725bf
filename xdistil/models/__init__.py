"""Models in Flax Linen, their parameters, and their forward passes."""
