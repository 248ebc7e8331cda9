"""The `resnext` command: `classify`, the commands of `training.cli`, and `app`, the web page."""

import importlib
import json
import os
import pathlib
import sys
import tempfile
from typing import Annotated

import typer

from resnext import __version__
from resnext.classifier import Classifier, Precision, RuntimeName, find_runtime
from resnext.command import import_tensorflow, run
from resnext.errors import ImageError, RepositoryError, printable
from resnext.page import launch
from resnext.repository import copy_files, find_repository
from resnext.runtimes import Output
from resnext.stream import LeftOut, classify_images, image_files

app = typer.Typer(
    help="Classify images with a ResNeXt, train one on your own photographs, and share it.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def training_app() -> typer.Typer:
    """The training commands: `resnext.training` where this package is installed, `training` in a checkout."""
    try:
        return importlib.import_module("resnext.training.cli").app
    except ModuleNotFoundError as error:
        if error.name != "resnext.training":
            raise
    return importlib.import_module("training.cli").app


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version and exit."),
    ] = False,
):
    """What comes before the command's name."""


@app.command()
def classify(
    context: typer.Context,
    images: Annotated[
        list[pathlib.Path], typer.Argument(metavar="IMAGE...", help="Image files, or folders of them.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Folder or Hub repository (OWNER/NAME, OWNER/NAME@REVISION); default: the bundled flowers."
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the Hub repository.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Number of classes to print for each image.")] = 5,
    precision: Annotated[
        Precision,
        typer.Option(
            help="auto: bfloat16 where OpenVINO runs and the processor supports it, otherwise float32. "
            "int8: the graph made by the quantize command."
        ),
    ] = "auto",
    runtime: Annotated[
        RuntimeName,
        typer.Option(
            help="auto: OpenVINO where it is installed. keras: TensorFlow, on a GPU if there is one."
        ),
    ] = "auto",
    test_size: Annotated[
        bool,
        typer.Option("--test-size", help="Use the image size at which timm published the model's accuracy."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line instead of text.")
    ] = False,
):
    """Print the most likely classes of images.

    A file that cannot be read is reported, and the rest are classified.
    """
    prog = context.find_root().info_name
    if find_runtime(runtime) == "keras":
        import_tensorflow()
    classifier = Classifier.from_pretrained(
        model, revision=revision, precision=precision, runtime=runtime, test_size=test_size
    )
    for notice in (classifier.repository.notice if classifier.repository else "", classifier.notice):
        if notice:
            typer.echo(f"{prog}: {notice}", err=True)
    show = _show_json if as_json else _show_text
    total = 0
    failed = 0
    left_out = LeftOut()
    try:
        for file, output, unknown in classify_images(classifier, image_files(images, left_out)):
            total += 1
            failed += isinstance(output, ImageError)
            show(classifier, file, output, unknown, top_k)
    except BrokenPipeError:  # whoever reads the output, such as `head`, has closed it
        _discard_output()
        raise typer.Exit() from None
    if left_out.count:
        typer.echo(f"{prog}: {left_out}.", err=True)
    if failed:
        typer.echo(f"{prog}: {failed} of {total} files could not be classified.", err=True)
        raise typer.Exit(1)


@app.command()
def download(
    context: typer.Context,
    repo: Annotated[str, typer.Argument(help="Hub repository (OWNER/NAME, OWNER/NAME@REVISION).")],
    to: Annotated[
        pathlib.Path | None, typer.Option(help="Folder to make with the files. Default: the Hub's cache.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
):
    """Download a model repository, verified, and print its folder.

    It holds the weights, the recipe, the results and the model card; nothing else is downloaded.
    """
    if os.path.isdir(repo):
        raise RepositoryError(f"{repo} is a folder here: name a Hub repository (OWNER/NAME).")
    if to is not None and to.exists():
        raise RepositoryError(f"{to} already exists: give a new folder.")
    repository = find_repository(repo, revision)
    if not repository.current:
        raise RepositoryError(repository.notice)
    if repository.notice:
        typer.echo(f"{context.find_root().info_name}: {repository.notice}", err=True)
    if to is not None:
        _copy_whole(repository.folder, to)
    typer.echo(to or repository.folder)


def _copy_whole(source: pathlib.Path, to: pathlib.Path) -> None:
    """Makes a copy of a model repository that is either complete or not there."""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=to.parent) as beside:
            copy = pathlib.Path(beside, "copy")
            copy_files(source, copy)
            copy.rename(to)
    except OSError as error:
        raise RepositoryError(
            f"{to} cannot be written ({error.strerror}): correct that, or choose another folder."
        ) from None


def _show_json(
    classifier: Classifier, file: pathlib.Path, output: Output | ImageError, unknown: bool | None, top_k: int
) -> None:
    if isinstance(output, ImageError):
        content: dict = {"error": str(output)}
    else:
        content = {"predictions": [prediction._asdict() for prediction in classifier.top(output, top_k)]}
        if unknown is not None:
            content["unknown"] = unknown
    typer.echo(json.dumps({"file": str(file), **content}))


def _show_text(
    classifier: Classifier, file: pathlib.Path, output: Output | ImageError, unknown: bool | None, top_k: int
) -> None:
    if isinstance(output, ImageError):
        typer.echo(str(output), err=True)
        return
    predictions = classifier.top(output, top_k)
    named = [f"{printable(prediction.label)} {prediction.probability:.1%}" for prediction in predictions]
    doubt = "looks like none of the classes; " if unknown else ""
    typer.echo(f"{file}: {doubt}{', '.join(named)}")


def _discard_output() -> None:
    """Points standard output at nothing: Python flushes it at exit, which would fail on a closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app.registered_commands += training_app().registered_commands
app.command("app")(launch.main)


def main(prog: str = "resnext") -> None:
    """Runs the command line and exits; the entry point of the installed command."""
    run(app, prog)
