"""`python -m resnext`: classify images on the command line."""

import json
import os
import pathlib
import sys
from typing import Annotated, Literal

import typer

from resnext.classifier import PRECISIONS, RUNTIMES, Classifier, find_runtime
from resnext.command import import_tensorflow, run
from resnext.errors import ImageError, printable
from resnext.stream import image_files, infer_images

app = typer.Typer(
    help="Classify images with a ResNeXt from a folder or the Hugging Face Hub.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def main():
    """Classify images with a ResNeXt from a folder or the Hugging Face Hub."""


@app.command()
def classify(
    images: Annotated[
        list[pathlib.Path], typer.Argument(metavar="IMAGE...", help="Image files, and folders of them.")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Folder or Hub repository (OWNER/NAME); the bundled flowers if left out."),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the Hub repository.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Classes to name for each image.")] = 5,
    precision: Annotated[
        Literal[*PRECISIONS],
        typer.Option(
            help="auto: bfloat16 if OpenVINO runs and the processor has it, else float32. int8: what `python -m training quantize` made."
        ),
    ] = "auto",
    runtime: Annotated[
        Literal[*RUNTIMES],
        typer.Option(
            help="auto: OpenVINO where it is installed. keras: TensorFlow, on a GPU if it sees one."
        ),
    ] = "auto",
    test_size: Annotated[
        bool,
        typer.Option("--test-size", help="See images at the size that timm's published accuracies are at."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of text.")] = False,
):
    """Name the likeliest classes of images; a file that cannot be read is reported and the others go on."""
    if find_runtime(runtime) == "keras":
        import_tensorflow()
    classifier = Classifier.from_pretrained(
        model, revision=revision, precision=precision, runtime=runtime, test_size=test_size
    )
    if classifier.notice:
        typer.echo(f"python -m resnext: {classifier.notice}", err=True)
    total = failed = 0
    try:
        for file, answer in infer_images(classifier, image_files(images)):
            total += 1
            if isinstance(answer, ImageError):
                failed += 1
                typer.echo(
                    json.dumps({"file": str(file), "error": str(answer)}) if as_json else str(answer),
                    err=not as_json,
                )
                continue
            predictions = classifier.top(answer, top_k)
            if as_json:
                line = {
                    "file": str(file),
                    "predictions": [prediction._asdict() for prediction in predictions],
                }
                typer.echo(json.dumps(line))
            else:
                named = ", ".join(
                    f"{printable(prediction.label)} {prediction.probability:.1%}"
                    for prediction in predictions
                )
                typer.echo(f"{file}: {named}")
    except BrokenPipeError:  # its reader, `head` say, wants no more
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # or Python would flush into the pipe again
        raise typer.Exit() from None
    if failed:
        typer.echo(f"python -m resnext: {failed} of {total} files could not be classified.", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    run(app, "python -m resnext")
