"""Distils a student: `python train.py --config=configs/quickstart.py --workdir=runs/quickstart`.

The exit codes are those of xdistil/cli/train.py.
"""

import sys

from xdistil.cli.train import main
from xdistil.runtime.process import ask_for_huge_pages, leave

if __name__ == "__main__":
    ask_for_huge_pages()
    leave(main(sys.argv[1:]))
