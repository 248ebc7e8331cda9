"""`python -m training`: fit, evaluate, push, summary and space."""

import dataclasses
import os
import pathlib
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's notes on its own build are not this program's output

import typer

from resnext.command import run

app = typer.Typer(
    help="Train a ResNeXt on your own photographs, test it, and push it to the Hugging Face Hub.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Data = Annotated[pathlib.Path, typer.Argument(help="Folder with train/, val/ and test/, or with one folder for each class.")]


@app.command("fit")
def fit_command(
    data: Data,
    output: Annotated[pathlib.Path, typer.Option(help="The model repository to make.")],
    model: Annotated[str | None, typer.Option(help="Architecture, such as resnext50_32x4d; the recipe's if left out.")] = None,
    recipe: Annotated[str, typer.Option(help="How to train: small or tutorial.")] = "small",
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training images.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images in a step; more need more GPU memory.")] = None,
    image_size: Annotated[int | None, typer.Option(min=32, help="Height and width in pixels that the network is served at.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16.")] = None,
    labels: Annotated[str | None, typer.Option(help="int, categorical or binary.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, shuffling, augmentation and splits.")] = None,
    skip_bad_files: Annotated[bool, typer.Option("--skip-bad-files", help="Leave out files that are no images.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted training in OUTPUT.")] = False,
    push_to_hub: Annotated[str | None, typer.Option(metavar="REPO", help="Push the result to this Hub repository.")] = None,
):
    """Train a network on folders of images and keep the weights of the best validation loss."""
    from training.data import find_images
    from training.recipe import find_recipe

    chosen = find_recipe(recipe)
    options = dict(
        model=model, epochs=epochs, batch_size=batch_size, precision=precision, labels=labels,
        learning_rate=learning_rate, seed=seed,
    )  # fmt: skip
    if image_size:
        options |= {"image_size": image_size, "train_size": round(image_size * chosen.train_size / chosen.image_size)}
    if labels and labels != "categorical":
        options |= {"mixup": 0.0, "cutmix": 0.0, "label_smoothing": 0.0}
    chosen = dataclasses.replace(chosen, **{key: value for key, value in options.items() if value is not None})
    images = find_images(data, seed=chosen.seed, skip_bad_files=skip_bad_files)
    from training.fit import fit

    fit(images, output, chosen, resume=resume, report=_say)
    from training.evaluate import evaluate

    if "test" in images.splits:
        evaluate(images, output, output, report=_say)
    if push_to_hub:
        from training.hub import push

        _say(push(output, push_to_hub))


def _say(line: str) -> None:
    typer.echo(line)


if __name__ == "__main__":
    run(app, "python -m training")
