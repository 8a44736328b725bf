"""Scores and speed, and the reports about them."""
