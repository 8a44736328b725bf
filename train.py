"""Distils a student: `python train.py --config=configs/quickstart.py --workdir=runs/quickstart`.

The exit codes are those of xdistil/cli/train.py.
"""

import sys

from xdistil.cli.train import main
from xdistil.runtime.process import leave, request_huge_pages

if __name__ == "__main__":
    request_huge_pages()
    leave(main(sys.argv[1:]))
