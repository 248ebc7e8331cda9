"""The web page's command, and the entry point of a Space: classify photographs with ResNeXts from the Hub."""

import typer

from resnext.command import run
from resnext.page.launch import main

if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    run(app, "app.py")
