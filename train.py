"""Distils a student: `python train.py --config=configs/quickstart.py --workdir=runs/quickstart`.

The exit codes are those of xdistil/commands/train.py.
"""

import sys

from xdistil.commands.beginning import ask_for_huge_pages
from xdistil.commands.ending import leave
from xdistil.commands.train import main

if __name__ == "__main__":
    ask_for_huge_pages()
    leave(main(sys.argv[1:]))
