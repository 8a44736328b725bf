"""Model folders damaged by accident or on purpose: each is refused in one sentence, early."""
