"""Annotators of texts, such as language models, crowds and rules: answers, votes, agreement."""
