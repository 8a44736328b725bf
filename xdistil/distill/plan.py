"""Kept until version 0.3 for configs that import named plans from here; xdistil.plans has them."""

from xdistil.plans import d42, labels_only, v3  # noqa: F401
