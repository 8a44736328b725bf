"""Distils a student: `python train.py --config=configs/quickstart.py --workdir=runs/quickstart`.

The exit codes are those of xdistil/commands/train.py.
"""

import sys

from xdistil.commands.ending import leave
from xdistil.commands.train import main

if __name__ == "__main__":
    leave(main(sys.argv[1:]))
