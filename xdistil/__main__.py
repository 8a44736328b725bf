"""`python -m xdistil`: the `xdistil` command."""

from xdistil.cli.main import run

if __name__ == "__main__":
    run()
