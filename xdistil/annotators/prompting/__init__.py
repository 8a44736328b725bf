"""Prompts for language models, and their answers: texts without labels -> a file of answers."""
