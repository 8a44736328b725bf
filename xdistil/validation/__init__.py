"""The check of a whole experiment, before data or models are opened."""
