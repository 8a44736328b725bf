"""Hugging Face model folders and hub ids: reading and writing them."""
