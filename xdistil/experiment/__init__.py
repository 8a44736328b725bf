"""One run from config to results, its dry run, and a look at its state."""
