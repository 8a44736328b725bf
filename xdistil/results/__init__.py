"""What comes out: scores, speed, the report, and the small model in use."""
