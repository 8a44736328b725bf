"""The teacher: its model, its signals, and the files that store them."""
