"""Draws the picture of README.md: score against size and speed of a measured run.

python docs/draw_size_and_score.py
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # a checkout need not be installed

from xdistil.evaluation.figures import draw_trade_off  # noqa: E402

RESULTS = HERE.parent / "benchmarks" / "results" / "wikiann5-10000.json"
PICTURE = HERE / "images" / "size_and_score.png"

if __name__ == "__main__":
    figure = draw_trade_off(json.loads(RESULTS.read_text(encoding="utf-8")))
    figure.set_size_inches(8, 3.4)  # small, so that letters are large on a narrow screen
    for axes in figure.axes:
        axes.margins(x=0.4)  # and their names still fit
    figure.savefig(PICTURE, dpi=140)
