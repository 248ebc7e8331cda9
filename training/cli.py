"""The command line of training: fit, evaluate, quantize, push, summary and space."""

import contextlib
import dataclasses
import enum
import os
import pathlib
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

# Where the processor lacks AVX-512, TensorFlow leaves oneDNN off, which makes grouped convolutions four times
# as slow.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import typer

from resnext.architecture import find_architecture
from resnext.command import import_tensorflow, require
from resnext.errors import DataError, RepositoryError
from resnext.repository import BACKBONE, BUNDLED, Repository, bundled_title, find_repository, load_config
from resnext.results import MAX_TESTED_CLASSES

from .options import default_in_recipes, recipe_options
from .recipe import RECIPES, WHOLE_IMAGE_CROP, Recipe, find_recipe, finetuning_epochs, finetuning_rate

if TYPE_CHECKING:
    from .background_push import BackgroundPush
    from .data import ImageFolders
    from .push import PushOptions
    from .run_folder import RunFolder


class Report(enum.StrEnum):
    """Where the metrics of a run are logged, too."""

    TENSORBOARD = "tensorboard"
    TRACKIO = "trackio"


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
NoPictures = Annotated[
    bool,
    typer.Option(
        "--no-pictures",
        help="Keep no pictures of the data set in the model repository, such as thumbnails of mistakes: for "
        "images that must not be published.",
    ),
]


Private = Annotated[
    bool,
    typer.Option("--private", help="Make the Hub repository private; one that is public already is refused."),
]
License = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        help="License that the model card states, such as apache-2.0 or mit. Default: the one it states, or "
        "what you answer when asked for it, once.",
    ),
]


@app.command("fit")
@recipe_options
def fit_command(
    data: Data,
    output: Annotated[pathlib.Path, typer.Option(help="Folder of the model repository to create.")],
    pretrained: Annotated[
        str | None,
        typer.Option(
            metavar="M",
            help="Start from the weights of this folder or Hub repository, with a new classifier. Default: "
            "the bundled tiny-imagenet, unless --model names an architecture.",
        ),
    ] = None,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="Start from random weights.")] = False,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Training recipe: probe (a new classifier for a pretrained network, in seconds), finetune "
            "(the default: then the layers, too, in minutes), scratch (from random weights; the default with "
            "--from-scratch or --model), pretrain (a backbone from 100,000 images), tutorial, or a "
            "recipe.json. The options below change its settings.",
        ),
    ] = None,
    batch_size: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Number of images per step. If GPU memory runs out, choose fewer, or auto, which halves it "
            f"until a batch fits. {default_in_recipes('batch_size')}",
        ),
    ] = None,
    skip_bad_files: SkipBadFiles = False,
    no_pictures: NoPictures = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check the data, draw a batch and time ten steps; train and keep nothing else."
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in OUTPUT from wherever it stopped.")
    ] = False,
    reports: Annotated[
        list[Report] | None,
        typer.Option("--report", help="Also log to TensorBoard (OUTPUT/logs) or trackio."),
    ] = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            metavar="REPO", help="Push the result to this Hub repository (OWNER/NAME), checked beforehand."
        ),
    ] = None,
    push_every: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Also push in the background after every Nth epoch. 0: only the result."
        ),
    ] = 0,
    private: Private = False,
    license: License = None,
    on: Annotated[
        str | None,
        typer.Option(
            metavar="HARDWARE",
            help="Train as a Hugging Face Job on this hardware, such as a10g-small, which costs money "
            "(`hf jobs hardware`). Needs --push-to-hub; the photographs are uploaded to a private data set.",
        ),
    ] = None,
    **settings,
):
    """Train a network on folders of images, keep the weights of the best epoch, and evaluate them."""
    from .data import check_trainable, find_images
    from .overview import overview
    from .run_folder import RunFolder, can_be_continued

    halve_batch = batch_size == "auto"
    settings["batch_size"] = None if halve_batch else _parse_batch_size(batch_size)
    if on is not None:
        _check_job(push_to_hub, dry_run or resume, pretrained, recipe)
    repository = _find_start(pretrained, from_scratch, recipe, settings["model"])
    if recipe is None:  # an empty name is not one, as of a variable that is not set
        recipe = "finetune" if repository else "scratch"
    chosen = _choose_recipe(recipe, settings, repository)
    _check_output(output, data)
    publication = _plan_publication(push_to_hub, push_every, private, license, check=not dry_run)
    images = find_images(data, seed=chosen.seed, skip_bad_files=skip_bad_files)
    check_trainable(images)
    if recipe == "finetune" and settings["epochs"] is None:
        chosen = dataclasses.replace(chosen, epochs=finetuning_epochs(len(images.splits["train"])))
    if on is not None:
        _fit_on(on, data, output, push_to_hub)
        return
    require("matplotlib", "train")
    import_tensorflow()
    from .devices import is_chief
    from .fit import fit, resolve
    from .plan import show_plan
    from .progress import shown

    run = RunFolder(output)
    if is_chief():
        if not resume:
            run.check_free()
        for line in overview(images):
            typer.echo(line)

    if dry_run:
        with run.lock() if is_chief() else contextlib.nullcontext():  # which says if it cannot be written
            show_plan(images, output, chosen, pretrained=repository, report=typer.echo)
        return
    resolve(images, chosen, repository)  # before the output folder is made
    private_folders = [data, output, *([repository.folder] if repository else [])]
    # Of several hosts, the first one writes and reports.
    with run.lock() if is_chief() else contextlib.nullcontext():
        with shown(output, reports or ()) if is_chief() else contextlib.nullcontext(()) as callbacks:
            if is_chief() and publication:
                callbacks = [*callbacks, *publication.callbacks(output)]
            fit(
                images,
                output,
                chosen,
                resume=resume,
                halve_batch=halve_batch,
                pretrained=repository,
                commands=(_command_line(private_folders),),
                callbacks=callbacks,
                pictures=not no_pictures,
                report=typer.echo,
            )
        if is_chief():
            with can_be_continued(run, typer.echo):
                _finish(run, images, publication, pictures=not no_pictures)


@dataclasses.dataclass
class _Publication:
    """Where a run is pushed to.

    Args:
        repo_id: The Hub repository, OWNER/NAME.
        options: How (`push.PushOptions`).
        every: The number of epochs between two pushes in the background; 0 for none.
        background: The callback that makes these pushes.
    """

    repo_id: str
    options: "PushOptions"
    every: int
    background: "BackgroundPush | None" = None

    def callbacks(self, output: pathlib.Path) -> "list[BackgroundPush]":
        """The callbacks of training that push."""
        if not self.every:
            return []
        from .background_push import BackgroundPush

        self.background = BackgroundPush(output, self.repo_id, self.options, self.every, typer.echo)
        return [self.background]

    def push(self, folder: pathlib.Path) -> None:
        """Pushes the finished run.

        Raises:
            RepositoryError: That failed. The message has the command that does it later.
        """
        from .push import command_line, push

        try:
            url = push(folder, self.repo_id, self.options, report=typer.echo, notify=_warn)
        except RepositoryError as error:
            command = command_line(folder, self.repo_id, self.options)
            raise RepositoryError(f"{error} Nothing has to be trained again: {_PROGRAM} {command}") from None
        if url:
            typer.echo(url)


def _plan_publication(
    repo_id: str | None, every: int, private: bool, license: str | None, *, check: bool
) -> _Publication | None:
    """Where a run will be pushed to, once it is checked that it can be."""
    if repo_id is None:
        for option, value in (("--push-every", every), ("--private", private), ("--license", license)):
            if value:
                raise typer.BadParameter(
                    "give the Hub repository with --push-to-hub, too.", param_hint=f"'{option}'"
                )
        return None
    if not check:
        return None
    from .push import PushOptions, check_push

    options = PushOptions(private=private, license=license)
    license = check_push(repo_id, options, _license_question())
    return _Publication(repo_id, dataclasses.replace(options, license=license), every)


def _license_question() -> Callable[[], str] | None:
    """Asks for the license of a model; None if the command does not run on a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask() -> str:
        question = "License of the model, such as apache-2.0 or mit (empty for none)"
        return typer.prompt(question, default="", show_default=False, err=True)

    return ask


def _warn(line: str) -> None:
    typer.echo(line, err=True)


def _check_job(push_to_hub: str | None, unfit: bool, pretrained: str | None, recipe: str | None) -> None:
    """Refuses what a job cannot do: it has no files of this machine but the photographs, and keeps none."""
    if push_to_hub is None:
        raise typer.BadParameter("a job keeps no files: give --push-to-hub, too.", param_hint="'--on'")
    if unfit:
        raise typer.BadParameter("--dry-run and --resume are for this machine.", param_hint="'--on'")
    for option, name in (("--pretrained", pretrained), ("--recipe", recipe)):
        if name and os.path.exists(name):
            raise typer.BadParameter(
                f"a job does not have {name}: push it to the Hub, or leave it out.", param_hint=f"'{option}'"
            )


def _fit_on(hardware: str, data: pathlib.Path, output: pathlib.Path, repo_id: str) -> None:
    """Runs this command line as a job."""
    from .jobs import fit_on, photographs_folder

    names = {str(data): photographs_folder(data), str(output): output.resolve().name}
    arguments, skip = [], False
    for argument in sys.argv[1:]:
        if argument == "--on" or skip:
            skip = not skip
        elif not argument.startswith("--on="):
            option, equals, value = argument.partition("=")
            is_option = argument.startswith("--") and bool(equals)
            value = value if is_option else argument
            value = names.get(str(pathlib.Path(value)), value)
            arguments.append(f"{option}={value}" if is_option else value)
    fit_on(hardware, data, arguments, repo_id, typer.echo)


def _finish(
    run: "RunFolder", images: "ImageFolders", publication: _Publication | None, pictures: bool
) -> None:
    """Takes a trained run on: evaluation and model card, then the Hub. What is done already is left out."""
    before = run.state, run.published_to
    if run.state == "trained":
        if "test" in images.splits and len(images.label_names) <= MAX_TESTED_CLASSES:
            _evaluate(images, find_repository(run.path), run.path, pictures=pictures)
        else:
            has_images = "test" in images.splits
            fault = f"more than {MAX_TESTED_CLASSES:,} classes" if has_images else "there are no test images"
            typer.echo(f"Not tested: {fault}.")
            _draw_curves(run.path)
        _write_card(run.path)
        run.set_state("tested")
    if publication and publication.background:
        publication.background.finish()
    if publication and run.published_to != publication.repo_id:
        publication.push(run.path)
        run.set_state("published", publication.repo_id)
    if (run.state, run.published_to) == before:
        typer.echo(f"{run.path} is {run.state} already: there is nothing left to do.")


@app.command("evaluate")
def evaluate_command(
    data: Data,
    model: Annotated[str, typer.Option(help="Folder or Hub repository (OWNER/NAME) to evaluate.")],
    output: Annotated[
        pathlib.Path | None, typer.Option(help="Folder for the results. Default: the model's folder.")
    ] = None,
    corruptions: Annotated[
        bool,
        typer.Option(
            "--corruptions",
            help="Also measure the accuracy on small, compressed, blurred, dark, bright, pale and noisy "
            "copies of the test images.",
        ),
    ] = False,
    suspects: Annotated[
        bool,
        typer.Option(
            "--suspects",
            help="Also list the images of all splits whose label is doubtful, for you to look at.",
        ),
    ] = False,
    unknown: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also test the detector of unknown photographs on the images in this folder and below, "
            "which show none of the classes.",
        ),
    ] = None,
    skip_bad_files: SkipBadFiles = False,
    no_pictures: NoPictures = False,
):
    """Classify the whole test set in float32, and write evaluation.json and the figures.

    A folder that the model was not trained on is tested as a whole, or its test folder if it has one.
    """
    from resnext.recipe_file import recorded_seed

    from .data import find_images
    from .run_folder import RunFolder

    unknown_files = _unknown_files(unknown)
    folder = _results_folder(model, output, data)
    repository = _find(model)
    # A single folder of classes must be split as it was for training.
    seed = recorded_seed(repository.folder)
    images = find_images(data, seed=seed, skip_bad_files=skip_bad_files)
    _say_skipped(images)
    run = RunFolder(folder)
    with run.lock():
        run.repair()
        _evaluate(
            images,
            repository,
            folder,
            corruptions=corruptions,
            suspects=suspects,
            unknown=unknown_files,
            pictures=not no_pictures,
        )
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
    folder = _results_folder(model, output, calibration)
    from resnext.recipe_file import recorded_seed

    from .data import find_images
    from .quantize import quantize
    from .run_folder import RunFolder

    repository = _find(model)
    seed = recorded_seed(repository.folder)
    images = find_images(calibration, seed=seed, skip_bad_files=skip_bad_files)
    _say_skipped(images)
    with RunFolder(folder).lock():
        quantize(images, repository, folder, seed=seed, force=force, report=typer.echo)
        _write_card(folder)


@app.command("push")
def push_command(
    folder: Annotated[pathlib.Path, typer.Argument(help="Model repository that fit has created.")],
    repo: Annotated[
        str, typer.Argument(help="Hub repository (OWNER/NAME), which is created if it does not exist.")
    ],
    private: Private = False,
    license: License = None,
    message: Annotated[
        str | None, typer.Option(help="First line of the commit. Default: Upload, and the folder's name.")
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(metavar="BRANCH", help="Branch to commit to, which is created if it does not exist."),
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Tag for the commit.")] = None,
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="Open a pull request instead of committing to main.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be pushed, after all checks, and push nothing.")
    ] = False,
):
    """Push a model repository to the Hugging Face Hub in one commit, with a model card that names REPO.

    What you wrote in the card on the Hub is kept: only its generated sections and metadata change.
    """
    from .push import PushOptions, push

    options = PushOptions(
        private=private,
        message=message,
        revision=revision,
        tag=tag,
        license=license,
        create_pr=create_pr,
        dry_run=dry_run,
    )
    url = push(folder, repo, options, report=typer.echo, notify=_warn, ask_license=_license_question())
    if url:
        typer.echo(url)


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
    model: Annotated[
        list[str],
        typer.Option(
            help="Hub repository (OWNER/NAME, OWNER/NAME@REVISION) that the page shows; several are possible."
        ),
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make the Space private, if it is created.")
    ] = False,
    hardware: Annotated[
        str | None, typer.Option(help="The Hub's name of the hardware, such as cpu-basic or cpu-upgrade.")
    ] = None,
    sleep_time: Annotated[
        int | None,
        typer.Option(
            min=-1,
            metavar="SECONDS",
            help="Seconds without visitors after which paid hardware sleeps; -1 for never.",
        ),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Secret of the Space, such as HF_TOKEN for private models; its value is read from the "
            "environment, HF_TOKEN also from the login.",
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the Space.")] = None,
    teach: Annotated[
        bool,
        typer.Option(
            "--teach/--no-teach",
            help="Let visitors teach classes of their own, and log in to push them.",
        ),
    ] = True,
    dry_run: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="DIR", help="Write the Space's files to this folder, which must be new; send nothing."
        ),
    ] = None,
):
    """Create or update a Hugging Face Space with the web page for models of the Hub.

    What you wrote into the Space's README.md is kept.
    """
    from .space import SpaceOptions, make_space

    _check_hardware(hardware, sleep_time)
    if dry_run is not None and dry_run.exists():
        raise RepositoryError(f"{dry_run} already exists: give a new folder.")
    options = SpaceOptions(
        model,
        private=private,
        hardware=hardware,
        sleep_time=sleep_time,
        secrets=secret or (),
        title=title,
        teach=teach,
    )
    typer.echo(make_space(repo, options, dry_run, report=lambda line: typer.echo(line, err=True)))


def _check_hardware(hardware: str | None, sleep_time: int | None) -> None:
    from huggingface_hub import SpaceHardware

    known = [str(name.value) for name in SpaceHardware]
    if hardware is not None and hardware not in known:
        raise typer.BadParameter(f"{hardware!r} is not one of {', '.join(known)}.", param_hint="'--hardware'")
    if hardware == SpaceHardware.CPU_BASIC and sleep_time is not None:
        raise typer.BadParameter(
            "cpu-basic always sleeps after 48 hours: name other hardware, or leave it out.",
            param_hint="'--sleep-time'",
        )


def _parse_batch_size(text: str | None) -> int | None:
    if text is not None and not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is neither a number nor auto.", param_hint="'--batch-size'")
    return None if text is None else int(text)


def _find_start(
    pretrained: str | None, from_scratch: bool, recipe: str | None, model: str | None
) -> Repository | None:
    """The network that training starts from; None for random weights."""
    if pretrained is not None and from_scratch:
        raise typer.BadParameter(
            "a network that starts from random weights is not pretrained: leave one of them out.",
            param_hint="'--pretrained' / '--from-scratch'",
        )
    if pretrained is not None:
        return _find(pretrained, optional=("recipe.json",))  # which has the commands that trained it
    if from_scratch or model is not None:
        return None
    if recipe is not None and _is_found(recipe) and not find_recipe(recipe).probe_passes:
        return None
    return find_repository(bundled_title(BACKBONE))


def _is_found(recipe: str) -> bool:
    return recipe in RECIPES or pathlib.Path(recipe).is_file()


def _choose_recipe(name: str, settings: dict, repository: Repository | None) -> Recipe:
    """The named recipe with the settings that are not None."""
    if not _is_found(name):
        raise typer.BadParameter(
            f"{name!r} is neither {', '.join(RECIPES)} nor a file.", param_hint="'--recipe'"
        )
    recipe = find_recipe(name)
    if recipe.probe_passes and not repository:
        raise typer.BadParameter(
            f"{name} needs a network to start from: leave --from-scratch and --model out, or give one with "
            "--pretrained.",
            param_hint="'--recipe'",
        )
    changes = {key: value for key, value in settings.items() if value is not None}
    if repository and "model" in changes:
        raise typer.BadParameter(
            "a pretrained network has its own architecture: leave --model out.", param_hint="'--model'"
        )
    # The bundled backbone was trained on small images, which tells nothing about the photographs.
    if repository and repository.folder != BUNDLED[BACKBONE]:
        prep = load_config(repository).preprocessing
        changes = {"image_size": prep.image_size, "crop_pct": prep.crop_pct} | changes
    if repository and name == "finetune" and "learning_rate" not in changes:
        changes["learning_rate"] = finetuning_rate(load_config(repository).num_classes)
    if "image_size" in changes and "train_size" not in changes:
        size = changes["image_size"]
        changes["train_size"] = round(size * recipe.train_size / recipe.image_size)
        if name == "finetune":  # smaller crops than the recipe's cost accuracy
            changes["train_size"] = max(changes["train_size"], min(size, recipe.train_size))
            if size <= recipe.train_size:
                changes.setdefault("crop_pct", WHOLE_IMAGE_CROP)
    if changes.get("labels", "categorical") != "categorical":
        # Blended and smoothed labels are categorical ones.
        changes = {"mixup": 0.0, "cutmix": 0.0, "label_smoothing": 0.0} | changes
    recipe = dataclasses.replace(recipe, **changes)
    if not repository:
        find_architecture(recipe.model)
    return recipe


def _check_output(output: pathlib.Path, data: pathlib.Path) -> None:
    """Refuses an output folder that would become a part of the data set."""
    if output.exists() and not output.is_dir():
        raise RepositoryError(f"{output} is a file: choose another --output.")
    if output.resolve().is_relative_to(data.resolve()):
        raise RepositoryError(f"{output} is inside of the images in {data}: choose another --output.")


def _find(model: str, **options) -> Repository:
    """Finds a model repository, and says if it is not the newest or not complete."""
    repository = find_repository(model, **options)
    if repository.notice:
        typer.echo(repository.notice, err=True)
    return repository


def _results_folder(model: str, output: pathlib.Path | None, data: pathlib.Path) -> pathlib.Path:
    if output is not None:
        _check_output(output, data)
    if output is None and not pathlib.Path(model).is_dir():
        raise RepositoryError(f"{model} is not a local folder: give one for the results with --output.")
    return output or pathlib.Path(model)


def _say_skipped(images: "ImageFolders") -> None:
    from .folders import describe_skipped

    for line in describe_skipped(images.skipped, images.root):
        typer.echo(line)


def _unknown_files(folder: pathlib.Path | None) -> list[pathlib.Path]:
    if folder is None:
        return []
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: give one with photographs of none of the classes.")
    from resnext.stream import LeftOut, image_files

    left_out = LeftOut()
    files = list(image_files([folder], left_out))
    if files == [folder]:
        raise DataError(f"{folder} holds no images: give a folder with photographs of none of the classes.")
    if left_out.count:
        typer.echo(f"Of the unknown photographs: {left_out}.")
    return files


def _evaluate(images: "ImageFolders", repository: Repository, output: pathlib.Path, **options) -> None:
    from resnext.classifier import Classifier

    from .evaluate import evaluate

    classifier = Classifier.from_pretrained(repository.folder, precision="float32")
    evaluate(images, classifier, output, report=typer.echo, **options)


def _draw_curves(output: pathlib.Path) -> None:
    from .evaluate import draw_curves

    draw_curves(output)


def _write_card(folder: pathlib.Path) -> None:
    from resnext.card import write_card

    write_card(folder)


def _command_line(folders: list[pathlib.Path]) -> str:
    """This command line for the record. Of these folders it has only the names: their paths are private."""
    names = {str(folder): folder.resolve().name for folder in folders}
    arguments = []
    for argument in sys.argv[1:]:
        option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        arguments.append(f"{option}{equals}{names.get(str(pathlib.Path(value)), value)}")
    return f"{_PROGRAM} {shlex.join(arguments)}"
