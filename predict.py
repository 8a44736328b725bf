"""Labels texts with a model folder: `python predict.py --model=runs/quickstart/student < texts`."""

import sys

from xdistil.commands.beginning import ask_for_huge_pages
from xdistil.commands.predict import main

if __name__ == "__main__":
    ask_for_huge_pages()
    sys.exit(main(sys.argv[1:]))
