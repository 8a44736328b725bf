"""Labels texts with a model folder: `python predict.py --model=runs/quickstart/student < texts`."""

import sys

from xdistil.cli.predict import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
