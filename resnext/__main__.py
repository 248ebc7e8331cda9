"""`python -m resnext`: classify images on the command line."""

import json
import pathlib
from typing import Annotated

import typer

from resnext.command import run

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
    images: Annotated[list[pathlib.Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    model: Annotated[
        str | None, typer.Option(help="Folder or Hub repository (OWNER/NAME); the bundled flowers if left out.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the Hub repository.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Classes to name for each image.")] = 5,
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16, or auto: bfloat16 where the processor computes in it.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of text.")] = False,
):
    """Name the likeliest classes of images; a file that cannot be read is reported and the others go on."""
    from resnext.classifier import Classifier
    from resnext.errors import ImageError

    classifier = Classifier.from_pretrained(model, revision, precision=precision)
    failed = 0
    for file in images:
        try:
            predictions = classifier(file, top_k)
        except ImageError as error:
            failed += 1
            typer.echo(json.dumps({"file": str(file), "error": str(error)}) if as_json else str(error), err=not as_json)
            continue
        if as_json:
            line = {"file": str(file), "predictions": [prediction._asdict() for prediction in predictions]}
            typer.echo(json.dumps(line))
        else:
            named = ", ".join(f"{prediction.label} {prediction.probability:.1%}" for prediction in predictions)
            typer.echo(f"{file}: {named}")
    if failed:
        typer.echo(f"python -m resnext: {failed} of {len(images)} files could not be classified.", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    run(app, "python -m resnext")
