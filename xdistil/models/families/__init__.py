"""The model families: one module for each, and the table of them."""
