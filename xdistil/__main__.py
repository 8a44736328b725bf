"""`python -m xdistil`: the `xdistil` command."""

from xdistil.commands.console import run

if __name__ == "__main__":
    run()
