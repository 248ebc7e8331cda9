"""What all command lines share: a Typer application whose errors are one line and an exit status."""

import contextlib
import importlib
import importlib.util
import os
import pathlib
import signal
import sys
from collections.abc import Iterator

import typer

from resnext.errors import ConfigError, ResNeXtError

# Packages that only some commands need, and the extra of pyproject.toml that installs each.
_EXTRAS = {
    "anyio": "page",
    "gradio": "page",
    "gradio_client": "page",
    "httpx": "page",
    "markdown_it": "page",
    "starlette": "page",
    "threadpoolctl": "page",
    "yaml": "page",
    "keras": "train",
    "matplotlib": "train",
    "psutil": "train",
    "rich": "train",
    "tensorboard": "tensorboard",
    "tensorflow": "train",
    "trackio": "trackio",
    "nncf": "quantize",
}
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def require(module: str, extra: str) -> None:
    """Checks that an optional package is installed, without importing it.

    Args:
        module: The name that it is imported by, such as "gradio".
        extra: The extra of this package that installs it: "page", "train", "quantize", "tensorboard" or
            "trackio".

    Raises:
        ConfigError: It is not installed; the message names the pip command.
    """
    if importlib.util.find_spec(module) is None:
        raise ConfigError(missing_package(module, extra))


def missing_package(module: str, extra: str) -> str:
    """The error message for an optional package that is not installed."""
    in_checkout = (pathlib.Path(__file__).parents[1] / "pyproject.toml").is_file()
    package = "." if in_checkout else "resnext"
    return f"This command needs {module}, which is not installed: pip install '{package}[{extra}]'"


def import_tensorflow() -> None:
    """Imports Keras on TensorFlow, without the notes that TensorFlow writes before any log level applies.

    Raises:
        ConfigError: Keras or TensorFlow is not installed, or Keras is set to another backend.
    """
    require("keras", "train")
    require("tensorflow", "train")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    error_output = os.dup(2)
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        backend = importlib.import_module("resnext.keras_backend")
    finally:
        os.dup2(error_output, 2)
        os.close(error_output)
        os.close(devnull)
    backend.require_tensorflow("This command")


def run(app: typer.Typer, prog: str) -> None:
    """Runs a command line and exits.

    The exit status is 0 for success, 2 for wrong usage, 130 for SIGINT, 143 for SIGTERM, and 1 for any other
    error, which is one line on standard error.

    Args:
        app: The command line.
        prog: What the user typed to start it, such as "python -m resnext"; it begins every error message.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold bytes that are not UTF-8
    with _stop_on_signals() as received:
        try:
            app(prog_name=prog)
        except ResNeXtError as error:
            sys.exit(f"{prog}: {error}")  # status 1, on standard error
        except ModuleNotFoundError as error:
            module = (error.name or "").partition(".")[0]
            if module not in _EXTRAS:
                raise
            sys.exit(f"{prog}: {missing_package(module, _EXTRAS[module])}")
        except OSError as error:
            sys.exit(f"{prog}: {error.filename or 'The system'}: {error.strerror or error}.")
        finally:
            # The KeyboardInterrupt may not arrive here: Typer exits with a status of its own, Gradio returns.
            if received:
                sys.exit(128 + received[0])


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[list[int]]:
    """Turns SIGINT and SIGTERM into a KeyboardInterrupt, and yields the list of those received.

    A second signal of the same kind ends the process at once. A signal that the parent process ignores, as a
    shell does for background jobs, stays ignored.
    """
    received: list[int] = []

    def stop(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    previous = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
    for number, handler in previous.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler or signal.SIG_DFL)
