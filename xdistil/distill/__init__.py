"""Staged distillation: what a stage learns from, its losses, its step and its loop."""
