"""Runs the command line of training: `python -m training`."""

from resnext.command import run

from .cli import app

if __name__ == "__main__":
    run(app, "python -m training")
