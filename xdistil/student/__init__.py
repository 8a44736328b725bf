"""The student: its shape, its tokenizer, and its first parameters."""
