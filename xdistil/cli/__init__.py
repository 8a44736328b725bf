"""The command line: train, predict, evaluate, export, trim, inspect."""
