"""Labels texts with a model folder: `python predict.py --model=runs/quickstart/student < texts`."""

import sys

from xdistil.cli.predict import main
from xdistil.runtime.process import leave

if __name__ == "__main__":
    leave(main(sys.argv[1:]))
