"""The command line of training: fit, evaluate, quantize, push, summary and space."""

import dataclasses
import json
import os
import pathlib
import shlex
import sys
from typing import Annotated, Literal

# On processors without AVX-512, TensorFlow leaves oneDNN off, and grouped convolutions would train at a quarter of the speed.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import typer

from resnext.command import import_tensorflow
from resnext.config import ModelConfig
from resnext.errors import RepositoryError
from resnext.repository import find_repository

from .recipe import LABEL_MODES, MAX_SEED, OPTIMIZERS, PRECISIONS, RECIPES, find_recipe

app = typer.Typer(
    help="Train a ResNeXt on your own photographs, test it, and push it to the Hugging Face Hub.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Data = Annotated[
    pathlib.Path,
    typer.Argument(help="Folder with train/, val/ and test/, or with one folder for each class."),
]
SkipBadFiles = Annotated[bool, typer.Option("--skip-bad-files", help="Leave out files that are no images.")]


@app.command("fit")
def fit_command(
    data: Data,
    output: Annotated[pathlib.Path, typer.Option(help="The model repository to make.")],
    model: Annotated[
        str | None, typer.Option(help="Architecture, such as resnext50_32x4d; the recipe's if left out.")
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(
            metavar="M", help="Start from this folder's or Hub repository's weights, with a new classifier."
        ),
    ] = None,
    recipe: Annotated[
        Literal[*RECIPES] | None,
        typer.Option(
            help="How to train: small (best from scratch on few images), finetune (with --pretrained), each the default, or tutorial."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training images.")] = None,
    batch_size: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Images in a step. GPU memory grows with it: if that runs out, choose fewer, or auto, which halves it until it fits.",
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=32,
            help="Height and width in pixels that the network is served at; the pretrained network's if left out.",
        ),
    ] = None,
    precision: Annotated[
        Literal[*PRECISIONS] | None, typer.Option(help="auto: float16 on a GPU, else float32.")
    ] = None,
    labels: Annotated[
        Literal[*LABEL_MODES] | None,
        typer.Option(help="What the loss compares with; binary for two classes."),
    ] = None,
    optimizer: Annotated[Literal[*OPTIMIZERS] | None, typer.Option(help="sgd has Nesterov momentum.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Peak learning rate.")] = None,
    weight_decay: Annotated[float | None, typer.Option(min=0, help="Decoupled weight decay.")] = None,
    freeze_bn: Annotated[
        bool | None,
        typer.Option(
            "--freeze-bn/--no-freeze-bn",
            help="Keep the pretrained network's batch norm as it is, statistics and all.",
        ),
    ] = None,
    layer_decay: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Learning rate of each stage over that of the next one towards the output: 1 for all the same.",
        ),
    ] = None,
    unfreeze_epochs: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Train the new classifier alone for so many epochs, then a stage more each time; 0 for all at once.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=MAX_SEED, help="Of weights, shuffling, augmentation and splits.")
    ] = None,
    skip_bad_files: SkipBadFiles = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted training in OUTPUT.")
    ] = False,
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="REPO", help="Push the result to this Hub repository.")
    ] = None,
):
    """Train a network on folders of images, keep the weights of the best validation loss, and test them."""
    from .data import find_images

    chosen = find_recipe(recipe or ("finetune" if pretrained else "small"))
    halve_batch = batch_size == "auto"
    options = {
        "model": model,
        "epochs": epochs,
        "batch_size": None if halve_batch else _batch_size(batch_size),
        "precision": precision,
        "labels": labels,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "seed": seed,
        "freeze_bn": freeze_bn,
        "layer_decay": layer_decay,
        "unfreeze_epochs": unfreeze_epochs,
    }
    if recipe == "finetune" and not pretrained:
        raise typer.BadParameter(
            "finetune needs a network to start from: name it by --pretrained.", param_hint="'--recipe'"
        )
    if pretrained and model:
        raise typer.BadParameter(
            "a pretrained network has its own architecture: leave --model out.", param_hint="'--model'"
        )
    repository = find_repository(pretrained) if pretrained else None
    if repository and not image_size:
        image_size = ModelConfig.read(repository.folder / "config.json").preprocessing.image_size
    if image_size:
        options |= {
            "image_size": image_size,
            "train_size": round(image_size * chosen.train_size / chosen.image_size),
        }
    if labels and labels != "categorical":
        options |= {"mixup": 0.0, "cutmix": 0.0, "label_smoothing": 0.0}
    chosen = dataclasses.replace(
        chosen, **{key: value for key, value in options.items() if value is not None}
    )
    images = find_images(data, seed=chosen.seed, skip_bad_files=skip_bad_files)
    import_tensorflow()
    from .fit import fit

    commands = (_command(data, output, *([repository.folder] if repository else [])),)
    fit(
        images,
        output,
        chosen,
        resume=resume,
        halve_batch=halve_batch,
        pretrained=repository,
        commands=commands,
        report=_say,
    )
    if "test" in images.splits:
        _evaluate(images, find_repository(output), output)
    _write_card(output)
    if push_to_hub:
        from .hub import push

        _say(push(output, push_to_hub))


@app.command("evaluate")
def evaluate_command(
    data: Data,
    model: Annotated[str, typer.Option(help="Folder or Hub repository (OWNER/NAME) to test.")],
    output: Annotated[
        pathlib.Path | None, typer.Option(help="Where results go; the model's folder if left out.")
    ] = None,
    skip_bad_files: SkipBadFiles = False,
):
    """Classify the whole test set in float32 and write evaluation.json and the figures."""
    from .data import find_images

    folder, repository = _results_folder(model, output), find_repository(model)
    images = find_images(data, seed=_training_seed(repository.folder), skip_bad_files=skip_bad_files)
    _evaluate(images, repository, folder)
    if output is None:
        _write_card(folder)


@app.command("quantize")
def quantize_command(
    model: Annotated[
        str, typer.Argument(metavar="M", help="Folder or Hub repository (OWNER/NAME) to quantise.")
    ],
    calibration: Annotated[
        pathlib.Path,
        typer.Option(
            metavar="DATA", help="The folder that it was trained on: calibrates on train/, measures on test/."
        ),
    ],
    output: Annotated[
        pathlib.Path | None,
        typer.Option(help="Where the graph and a copy of the model go; the model's folder if left out."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Keep it even if it loses more than 0.5 points of top-1 accuracy.")
    ] = False,
    skip_bad_files: SkipBadFiles = False,
):
    """Make an int8 graph for OpenVINO, smaller and faster, and say in the card what it costs in accuracy."""
    from .data import find_images
    from .quantize import quantize

    folder, repository = _results_folder(model, output), find_repository(model)
    seed = _training_seed(repository.folder)
    images = find_images(calibration, seed=seed, skip_bad_files=skip_bad_files)
    quantize(images, repository, folder, seed=seed, force=force, report=_say)
    _write_card(folder)


@app.command("push")
def push_command(
    folder: Annotated[pathlib.Path, typer.Argument(help="The model repository that fit has made.")],
    repo: Annotated[str, typer.Argument(help="Hub repository, OWNER/NAME; made if it is not there.")],
    private: Annotated[bool, typer.Option("--private", help="Make it private.")] = False,
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="Open a pull request instead of committing to main.")
    ] = False,
):
    """Push a model repository to the Hugging Face Hub as one commit, with its model card, which then names REPO."""
    from .hub import push

    _say(push(folder, repo, private=private, create_pr=create_pr))


@app.command("summary")
def summary_command(
    name: Annotated[str, typer.Argument(help="Architecture, such as resnext50_32x4d.")],
    image_size: Annotated[int, typer.Option(min=32, help="Height and width of the input in pixels.")] = 224,
    num_classes: Annotated[int, typer.Option(min=1, help="Width of the classifier.")] = 1000,
    layers: Annotated[bool, typer.Option("--layers", help="Every module instead of stages.")] = False,
):
    """Show a network stage by stage beside the ResNet of the same depth: shapes, parameters, multiply-adds."""
    from . import summary

    table = summary.layers if layers else summary.summary
    for line in table(name, image_size, num_classes):
        _say(line)


@app.command("space")
def space_command(
    repo: Annotated[str, typer.Argument(help="Hub Space, OWNER/NAME; made if it is not there.")],
    model: Annotated[str, typer.Option(help="Hub repository (OWNER/NAME) that it shows.")],
):
    """Make or update a Hugging Face Space with the web page for a model."""
    from .hub import make_space

    _say(make_space(repo, model))


def _results_folder(model: str, output: pathlib.Path | None) -> pathlib.Path:
    if output is None and not pathlib.Path(model).is_dir():
        raise RepositoryError(f"{model} is no folder here: name one for the results by --output.")
    return output or pathlib.Path(model)


def _training_seed(folder: pathlib.Path) -> int:
    """One folder of classes has to be split as it was for training; 0 if recipe.json does not say how."""
    try:
        seed = json.loads((folder / "recipe.json").read_bytes())["recipe"]["seed"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0
    return seed if isinstance(seed, int) and 0 <= seed <= MAX_SEED else 0


def _evaluate(images, repository, output):
    from resnext.classifier import Classifier

    from .evaluate import evaluate

    evaluate(images, Classifier.from_pretrained(repository.folder, precision="float32"), output, report=_say)


def _write_card(folder):
    from .card import write_card

    write_card(folder)


def _batch_size(text: str | None) -> int | None:
    if text is not None and not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is neither a number nor auto.", param_hint="'--batch-size'")
    return None if text is None else int(text)


def _command(*folders: pathlib.Path) -> str:
    """This command line for the record, without what is above these folders: that is nobody's business."""
    names = {str(folder): folder.resolve().name for folder in folders}
    arguments = []
    for argument in sys.argv[1:]:
        option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        arguments.append(f"{option}{equals}{names.get(str(pathlib.Path(value)), value)}")
    return shlex.join(["python", "-m", "training", *arguments])


def _say(line: str) -> None:
    typer.echo(line)
