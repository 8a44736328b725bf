"""Settings of the documentation site: sphinx-build -W -b html docs site."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]  # a checkout need not be installed

import draw_architecture  # noqa: E402

project = "xdistil"
author = "The xdistil developers"
project_copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["examples"]

myst_heading_anchors = 3
default_role = "code"  # docstrings write code between single backticks
autodoc_class_signature = "mixed"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = "xdistil"

# Drawn for every build, from the imports of this checkout.
draw_architecture.PICTURE.write_text(
    draw_architecture.draw(draw_architecture.PACKAGE), encoding="utf-8"
)
