"""Command lines: arguments -> calls of the library, and sentences -> exit codes."""
