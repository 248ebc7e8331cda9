"""What both command lines share: a Typer application whose errors are one line and an exit status."""

import importlib
import os
import sys

import typer

from resnext.errors import ResNeXtError


def import_tensorflow() -> None:
    """Imports TensorFlow without the notes on its own build that it writes before any log level applies."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    error_output, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        importlib.import_module("tensorflow")
    finally:
        os.dup2(error_output, 2)
        os.close(error_output)
        os.close(nowhere)


def run(app: typer.Typer, prog: str) -> None:
    """Runs a command line: exit status 0 for success, 2 for wrong usage, 1 and one line for anything else."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold bytes that are no UTF-8
    try:
        app(prog_name=prog)
    except ResNeXtError as error:
        sys.exit(f"{prog}: {error}")  # status 1, on standard error
    except KeyboardInterrupt:
        sys.exit(f"{prog}: interrupted.")
    except OSError as error:
        sys.exit(f"{prog}: {error.filename or 'The system'}: {error.strerror or error}.")
