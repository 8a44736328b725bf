"""Training in stages: losses, the step, the loop, and checkpoints."""
