"""The command line of training: fit, evaluate, quantize, push, summary and space."""

import dataclasses
import os
import pathlib
import shlex
import sys
from typing import Annotated, Literal

# Where the processor lacks AVX-512, TensorFlow leaves oneDNN off, which makes grouped convolutions four times
# as slow.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import typer

from resnext.command import import_tensorflow, require
from resnext.errors import RepositoryError
from resnext.repository import Repository, find_repository, load_config

from .recipe import LABEL_MODES, MAX_SEED, OPTIMIZERS, PRECISIONS, RECIPES, Recipe, find_recipe

# How these commands are run: this module is `training.cli` in a checkout, `resnext.training.cli` installed.
_PROGRAM = "resnext" if __package__ == "resnext.training" else "python -m training"

app = typer.Typer(
    help="Train a ResNeXt on your own photographs, evaluate it, and push it to the Hugging Face Hub.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Data = Annotated[
    pathlib.Path,
    typer.Argument(help="Folder with train/, val/ and test/, or with one folder per class."),
]
SkipBadFiles = Annotated[
    bool, typer.Option("--skip-bad-files", help="Skip files that cannot be read as images.")
]


@app.command("fit")
def fit_command(
    data: Data,
    output: Annotated[pathlib.Path, typer.Option(help="Folder of the model repository to create.")],
    model: Annotated[
        str | None,
        typer.Option(help="Architecture, such as resnext50_32x4d. Default: the recipe's."),
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(
            metavar="M",
            help="Start from the weights of this folder or Hub repository, with a new classifier.",
        ),
    ] = None,
    recipe: Annotated[
        Literal[*RECIPES] | None,
        typer.Option(
            help="Training recipe: small (from scratch, for small data sets; the default), finetune (the "
            "default with --pretrained) or tutorial."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of passes over the training images.")
    ] = None,
    batch_size: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Number of images per step. If GPU memory runs out, choose fewer, or auto, which halves it "
            "until a batch fits.",
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=32,
            help="Height and width in pixels at which the network is evaluated and served. Default: the "
            "pretrained network's, or the recipe's.",
        ),
    ] = None,
    precision: Annotated[
        Literal[*PRECISIONS] | None,
        typer.Option(help="Precision of the computation. auto: float16 on a GPU, otherwise float32."),
    ] = None,
    labels: Annotated[
        Literal[*LABEL_MODES] | None,
        typer.Option(help="Label format of the loss: int, categorical (one-hot) or binary (two classes)."),
    ] = None,
    optimizer: Annotated[
        Literal[*OPTIMIZERS] | None, typer.Option(help="Optimizer. sgd has Nesterov momentum.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Peak learning rate.")] = None,
    weight_decay: Annotated[float | None, typer.Option(min=0, help="Decoupled weight decay.")] = None,
    freeze_bn: Annotated[
        bool | None,
        typer.Option(
            "--freeze-bn/--no-freeze-bn",
            help="Fine-tuning: freeze batch norm (statistics and parameters).",
        ),
    ] = None,
    layer_decay: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Fine-tuning: layer-wise learning-rate decay, the factor from each stage to the one "
            "before it; 1 for none.",
        ),
    ] = None,
    unfreeze_epochs: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Fine-tuning: train only the classifier for this many epochs, then unfreeze one more "
            "stage each time; 0 trains all stages from the start.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=MAX_SEED, help="Seed of the weights, shuffling, augmentation and splits."),
    ] = None,
    skip_bad_files: SkipBadFiles = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the interrupted run in OUTPUT.")] = False,
    push_to_hub: Annotated[
        str | None,
        typer.Option(metavar="REPO", help="Push the result to this Hub repository (OWNER/NAME)."),
    ] = None,
):
    """Train a network on folders of images, keep the weights of the best epoch, and evaluate them."""
    from .data import find_images

    if recipe == "finetune" and not pretrained:
        raise typer.BadParameter(
            "finetune needs a network to start from: give one with --pretrained.", param_hint="'--recipe'"
        )
    if pretrained and model:
        raise typer.BadParameter(
            "a pretrained network has its own architecture: leave --model out.", param_hint="'--model'"
        )
    halve_batch = batch_size == "auto"
    settings = {
        "model": model,
        "epochs": epochs,
        "batch_size": None if halve_batch else _parse_batch_size(batch_size),
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
    repository = find_repository(pretrained) if pretrained else None
    if repository and not image_size:
        image_size = load_config(repository).preprocessing.image_size
    chosen = find_recipe(recipe or ("finetune" if pretrained else "small"))
    chosen = _with_settings(chosen, settings, image_size)
    images = find_images(data, seed=chosen.seed, skip_bad_files=skip_bad_files)
    import_tensorflow()
    from .fit import fit

    private_folders = [data, output, *([repository.folder] if repository else [])]
    fit(
        images,
        output,
        chosen,
        resume=resume,
        halve_batch=halve_batch,
        pretrained=repository,
        commands=(_command_line(private_folders),),
        report=typer.echo,
    )
    if "test" in images.splits:
        _evaluate(images, find_repository(output), output)
    _write_card(output)
    if push_to_hub:
        from .hub import push

        typer.echo(push(output, push_to_hub))


@app.command("evaluate")
def evaluate_command(
    data: Data,
    model: Annotated[str, typer.Option(help="Folder or Hub repository (OWNER/NAME) to evaluate.")],
    output: Annotated[
        pathlib.Path | None, typer.Option(help="Folder for the results. Default: the model's folder.")
    ] = None,
    skip_bad_files: SkipBadFiles = False,
):
    """Classify the whole test set in float32, and write evaluation.json and the figures."""
    from .data import find_images
    from .run_folder import recorded_seed

    folder = _results_folder(model, output)
    repository = find_repository(model)
    # A single folder of classes must be split as it was for training.
    seed = recorded_seed(repository.folder)
    images = find_images(data, seed=seed, skip_bad_files=skip_bad_files)
    _evaluate(images, repository, folder)
    if output is None:
        _write_card(folder)


@app.command("quantize")
def quantize_command(
    model: Annotated[
        str, typer.Argument(metavar="M", help="Folder or Hub repository (OWNER/NAME) to quantize.")
    ],
    calibration: Annotated[
        pathlib.Path,
        typer.Option(
            metavar="DATA",
            help="Folder that the model was trained on: calibrates on train/, decides on val/, measures on "
            "test/.",
        ),
    ],
    output: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder for the int8 graph and a copy of the model. Default: the model's folder."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Keep the graph even if it loses more than 0.5 points of top-1 accuracy on the validation "
            "images, and not by chance (paired test, p < 0.05).",
        ),
    ] = False,
    skip_bad_files: SkipBadFiles = False,
):
    """Make an int8 graph for OpenVINO, smaller and faster, and state its accuracy in the model card."""
    require("nncf", "quantize")
    from .data import find_images
    from .quantize import quantize
    from .run_folder import recorded_seed

    folder = _results_folder(model, output)
    repository = find_repository(model)
    seed = recorded_seed(repository.folder)
    images = find_images(calibration, seed=seed, skip_bad_files=skip_bad_files)
    quantize(images, repository, folder, seed=seed, force=force, report=typer.echo)
    _write_card(folder)


@app.command("push")
def push_command(
    folder: Annotated[pathlib.Path, typer.Argument(help="Model repository that fit has created.")],
    repo: Annotated[
        str, typer.Argument(help="Hub repository (OWNER/NAME), which is created if it does not exist.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private, if it is created.")
    ] = False,
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="Open a pull request instead of committing to main.")
    ] = False,
):
    """Push a model repository to the Hugging Face Hub in one commit, with a model card that names REPO."""
    from .hub import push

    typer.echo(push(folder, repo, private=private, create_pr=create_pr))


@app.command("summary")
def summary_command(
    name: Annotated[str, typer.Argument(help="Architecture, such as resnext50_32x4d.")],
    image_size: Annotated[int, typer.Option(min=32, help="Height and width of the input in pixels.")] = 224,
    num_classes: Annotated[int, typer.Option(min=1, help="Number of classes.")] = 1000,
    layers: Annotated[bool, typer.Option("--layers", help="List modules instead of stages.")] = False,
):
    """Show a network stage by stage, beside the ResNet of the same depth: parameters and multiply-adds."""
    from . import summary

    table = summary.layers if layers else summary.summary
    for line in table(name, image_size, num_classes):
        typer.echo(line)


@app.command("space")
def space_command(
    repo: Annotated[
        str, typer.Argument(help="Hub Space (OWNER/NAME), which is created if it does not exist.")
    ],
    model: Annotated[str, typer.Option(help="Hub repository (OWNER/NAME) that the page shows.")],
):
    """Create or update a Hugging Face Space with the web page for a model."""
    from .hub import make_space

    typer.echo(make_space(repo, model))


def _parse_batch_size(text: str | None) -> int | None:
    if text is not None and not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is neither a number nor auto.", param_hint="'--batch-size'")
    return None if text is None else int(text)


def _with_settings(recipe: Recipe, settings: dict, image_size: int | None) -> Recipe:
    """The recipe with the settings that are not None. The size of training crops follows the image size."""
    changes = {key: value for key, value in settings.items() if value is not None}
    if image_size:
        train_size = round(image_size * recipe.train_size / recipe.image_size)
        changes |= {"image_size": image_size, "train_size": train_size}
    if changes.get("labels", "categorical") != "categorical":
        changes |= {"mixup": 0.0, "cutmix": 0.0, "label_smoothing": 0.0}
    return dataclasses.replace(recipe, **changes)


def _results_folder(model: str, output: pathlib.Path | None) -> pathlib.Path:
    if output is None and not pathlib.Path(model).is_dir():
        raise RepositoryError(f"{model} is not a local folder: give one for the results with --output.")
    return output or pathlib.Path(model)


def _evaluate(images, repository: Repository, output: pathlib.Path) -> None:
    from resnext.classifier import Classifier

    from .evaluate import evaluate

    classifier = Classifier.from_pretrained(repository.folder, precision="float32")
    evaluate(images, classifier, output, report=typer.echo)


def _write_card(folder: pathlib.Path) -> None:
    from .card import write_card

    write_card(folder)


def _command_line(folders: list[pathlib.Path]) -> str:
    """This command line for the record. Of these folders it has only the names: their paths are private."""
    names = {str(folder): folder.resolve().name for folder in folders}
    arguments = []
    for argument in sys.argv[1:]:
        option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        arguments.append(f"{option}{equals}{names.get(str(pathlib.Path(value)), value)}")
    return f"{_PROGRAM} {shlex.join(arguments)}"
