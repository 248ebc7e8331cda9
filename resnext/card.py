"""The model card: README.md of a model repository, written from the files beside it."""

import itertools
import json
import math
import pathlib
import re

import numpy as np
from huggingface_hub import EvalResult, ModelCardData

from resnext.atomic import write_atomically
from resnext.config import ModelConfig
from resnext.errors import ConfigError, printable, shortened
from resnext.int8 import GRAPH, NOTES, WEIGHTS
from resnext.readme import DATASET_TYPE, METRICS, TAGS, TASK, Card, Generated, merge, render
from resnext.recipe_file import JSON_ERRORS, recorded_commands, recorded_temperature
from resnext.repository import check_inside, weights_digest
from resnext.results import Evaluation, best_epoch, calibration_error, read_evaluation, read_history
from resnext.shapes import network_modules

SPLIT_NAMES = {"val": "validation", "test": "test"}  # in quantization.json, and in sentences
_MAX_NAMED_CLASSES = 20
_FEW_IMAGES = 1000  # of a test set, below which the card states how exact its accuracy is
_MAX_BALANCE_ROWS = 100  # classes, above which the table of their images is left out
MAX_EVALUATION_BYTES = 2**28  # above that of 4,000 classes, the most that `evaluate` accepts
_PLAIN_NAME = re.compile(r"(?!www\.)[a-z0-9]+(?:[._-][a-z0-9]+)*", re.IGNORECASE | re.ASCII)
# Where GitHub and the Hub make links of text, even of escaped text. An HTML comment there prevents it.
_AUTOLINK = re.compile(r"(?<=www)(?=\.)|(?<=http)(?=s?:)|(?<=ftp)(?=:)|(?=@)", re.IGNORECASE)
# What the card calls the recipe's settings.
_SETTINGS = {
    "epochs": "epochs",
    "batch_size": "batch size",
    "image_size": "image size",
    "train_size": "training crop size",
    "optimizer": "optimizer",
    "learning_rate": "peak learning rate",
    "weight_decay": "weight decay",
    "label_smoothing": "label smoothing",
    "mixup": "MixUp alpha",
    "cutmix": "CutMix alpha",
    "precision": "precision",
    "class_weights": "class weights",
    "ema": "decay of the averaged weights (EMA)",
    "clip_norm": "limit of the gradient's norm",
    "accumulate": "steps whose gradients are accumulated",
    "precise_bn": "images of precise batch norm, if its validation loss was lower",
    "probe_passes": "largest number of passes of the linear probe",
    "seed": "seed",
}
# Settings that a table leaves out while they have these values, which change nothing.
_UNUSED = {
    "probe_passes": 0,
    "class_weights": "equal",
    "ema": 0,
    "clip_norm": 0,
    "accumulate": 1,
    "precise_bn": 0,
}
_FINE_TUNING_SETTINGS = {
    "freeze_bn": "freeze batch norm (statistics and parameters)",
    "freeze_at": "frozen stages, from the stem",
    "layer_decay": "layer-wise learning-rate decay",
    "unfreeze_epochs": "epochs before each further stage is unfrozen",
}


def write_card(folder: pathlib.Path, repo_id: str | None = None) -> None:
    """Writes README.md of a model repository.

    What a person has written in it is kept.

    Args:
        folder: The model repository.
        repo_id: The repository id that the card states. Default: OWNER/ and the folder's name.

    Raises:
        ConfigError: config.json is missing or invalid, or recipe.json or quantization.json is invalid.
        DataError: evaluation.json or history.csv is invalid.
        RepositoryError: The card that is there is outside of the folder, not UTF-8, or has invalid metadata.
    """
    path = folder / "README.md"
    generated = generate(folder, repo_id or f"OWNER/{folder.resolve().name}")
    if not path.exists():
        write_atomically(path, render(generated))
        return
    check_inside(path, folder)
    content = path.read_bytes()
    card = Card.parse(content, str(path))
    text = merge(card, generated, keep_metadata=card.is_own)
    if text.encode() != content:
        write_atomically(path, text)


def generate(folder: pathlib.Path, repo_id: str, license: str | None = None) -> Generated:
    """Generates the metadata and the sections of a card.

    Args:
        folder: The model repository.
        repo_id: The repository id that the card states.
        license: The license, as the Hub names it, if it is known.

    Raises:
        ConfigError: config.json is missing or invalid, or recipe.json or quantization.json is invalid.
        DataError: evaluation.json or history.csv is invalid.
    """
    config = ModelConfig.read(folder / "config.json")
    recipe = _read_recipe(folder)
    evaluation = _complete_evaluation(folder)
    dataset = recipe.get("dataset", {}).get("name", "unknown")
    pretrained = recipe.get("pretrained") or {}
    base_model = pretrained["name"] if pretrained.get("revision") else None
    tested = evaluation is not None and evaluation.method is None
    metadata = ModelCardData(
        license=license,
        library_name="timm",
        pipeline_tag=TASK,
        tags=list(TAGS),
        base_model=base_model,
        base_model_relation="finetune" if base_model else None,
        # The images are a folder of the user's: its name is not that of a data set on the Hub.
        datasets=[DATASET_TYPE],
        metrics=["accuracy"] if tested else None,
        eval_results=_eval_results(dataset, evaluation) if tested else None,
        model_name=repo_id.split("/")[-1] if tested else None,
    )
    sections = {
        "introduction": _introduction(repo_id, config, dataset),
        "uses": _uses_section(config),
        "results": _results_section(evaluation, folder, bool(pretrained)) if evaluation else "",
        "int8": _int8_section(folder, repo_id),
        "training": _training_section(recipe, config, folder) if recipe else "",
        "limits": _limits_section(evaluation, config),
        "use": _use_section(repo_id, config, bool(_read_notes(folder))),
    }
    return Generated(metadata.to_dict(), sections)


def _complete_evaluation(folder: pathlib.Path) -> Evaluation | None:
    """The evaluation, if the repository has one of its weights, with all the numbers that the card states."""
    evaluation = read_evaluation(folder, MAX_EVALUATION_BYTES)
    if evaluation is None or evaluation.is_stale(folder):
        return None
    numbers = evaluation.top1, evaluation.top5, evaluation.loss, evaluation.samples
    return None if None in numbers else evaluation


def _eval_results(dataset: str, evaluation: Evaluation) -> list[EvalResult]:
    values = {"accuracy": evaluation.top1}
    if len(evaluation.classes) > 5:  # with fewer classes, top-5 accuracy is always 1
        values["top_5_accuracy"] = evaluation.top5
    return [
        EvalResult(
            task_type=TASK,
            task_name="Image classification",
            dataset_type=DATASET_TYPE,
            dataset_name=dataset,
            dataset_split="test",
            metric_type=metric,
            metric_name=METRICS[metric],
            metric_value=round(value, 4),
        )
        for metric, value in values.items()
    ]


def _introduction(repo_id: str, config: ModelConfig, dataset: str) -> str:
    parameters = sum(module.parameters for module in network_modules(config.architecture, config.num_classes))
    labels = ", ".join(_name(name) for name in config.label_names[:_MAX_NAMED_CLASSES])
    unnamed = config.num_classes - _MAX_NAMED_CLASSES
    more = f" and {unnamed} more" if unnamed > 0 else ""
    size = config.preprocessing.image_size
    return (
        f"# {_title(repo_id.split('/')[-1])}\n\n"
        f"A ResNeXt ([Xie et al., 2017](https://arxiv.org/abs/1611.05431)) that classifies "
        f"{config.num_classes} classes: {labels}{more}. It has the architecture `{config.name}` with "
        f"{parameters / 1e6:.2f} million parameters, takes images of {size} x {size} pixels, and was trained "
        f"on the images in {_name(dataset)}. The files are in timm's format, safetensors and JSON: loading "
        f"them does not execute any code."
    )


def _uses_section(config: ModelConfig) -> str:
    return (
        "## Intended use\n\n"
        f"For photographs that show one of these {config.num_classes} classes and were taken like those it "
        "was trained on, and as a start for fine-tuning on photographs of your own.\n\n"
        "Not for images of anything else: the network gives one of its classes for every image, also for a "
        "drawing or noise. Not for decisions about people, their health or their safety."
    )


def _results_section(evaluation: Evaluation, folder: pathlib.Path, pretrained: bool) -> str:
    temperature = recorded_temperature(folder)
    lines = [
        "## Results",
        "",
        f"**Top-1 accuracy {evaluation.top1:.2%}**, loss {evaluation.loss:.4f} ({evaluation.dtype}) "
        f"{_tested_on(evaluation, pretrained)}.",
        "",
        "| class | precision | recall | F1 | images |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in evaluation.per_class:
        scores = [f"{score:.3f}" if row.support else "–" for score in (row.precision, row.recall, row.f1)]
        lines.append(f"| {_name(row.label)} | {' | '.join(scores)} | {row.support} |")
    lines += ["", _describe_calibration(evaluation, temperature)]
    lines += _figure(folder, "reliability.png", "Reliability diagram: accuracy by confidence")
    lines += _figure(folder, "heatmap.png", "Confusion matrix: true class by predicted class")
    if evaluation.detection:
        lines += ["", *_describe_detection(evaluation, folder)]
    if evaluation.corruptions:
        lines += ["", *_corruptions_table(evaluation)]
        lines += _figure(folder, "corruptions.png", "Top-1 accuracy on worse images")
    if any(row.thumbnail and (folder / row.thumbnail).exists() for row in evaluation.predictions):
        lines += ["", "Thumbnails of misclassified images are in `mistakes/`."]
    return "\n".join(lines)


def _figure(folder: pathlib.Path, name: str, title: str) -> list[str]:
    """A paragraph that shows a figure, if the repository has it."""
    return ["", f"![{title}](figures/{name})"] if (folder / "figures" / name).is_file() else []


def _describe_calibration(evaluation: Evaluation, temperature: float) -> str:
    """How far the probabilities are from the accuracy, and what was done about it."""
    error = f"The expected calibration error is {calibration_error(evaluation.calibration):.3f}"
    if not evaluation.uncalibrated:
        return f"{error} (ten bins; the classifier was not calibrated)."
    before = calibration_error(evaluation.uncalibrated)
    return (
        f"{error} (ten bins). It was {before:.3f} before the classifier was divided by the temperature "
        f"{temperature:.3f}, which minimizes the validation loss "
        "([Guo et al., 2017](https://arxiv.org/abs/1706.04599))."
    )


def _describe_detection(evaluation: Evaluation, folder: pathlib.Path) -> list[str]:
    """How well photographs of none of the classes are recognized."""
    test = evaluation.detection
    text = (
        "`ood.safetensors` recognizes photographs of none of the classes, by features of the backbone that "
        f"comes with the `resnext` package. It accepts {test.accepted:.1%} of the test images"
    )
    if test.auroc is None:
        return [f"{text}. It was not tested on photographs of other things."]
    return [
        f"{text} and refuses {test.refused:.1%} of {test.images} photographs of other things; the area under "
        f"the ROC curve is {test.auroc:.3f}.",
        *_figure(folder, "ood.png", "ROC curve: test images and other photographs accepted"),
    ]


def _corruptions_table(evaluation: Evaluation) -> list[str]:
    """The accuracies on worse images, a row for each way."""
    clean, *rest = evaluation.corruptions
    lines = [
        f"Top-1 accuracy on worse copies of the test images ({clean.top1:.1%} as they are):",
        "",
        "| change | level: accuracy |",
        "| --- | --- |",
    ]
    for name, group in itertools.groupby(rest, lambda score: score.name):
        scores = list(group)
        cells = ", ".join(f"{score.level:g}: {score.top1:.1%}" for score in scores)
        lines.append(f"| {_escape(name)} ({_escape(scores[0].unit)}) | {cells} |")
    return lines


def _tested_on(evaluation: Evaluation, pretrained: bool) -> str:
    if evaluation.method is None:
        return f"on {evaluation.samples} test images{_independence(evaluation, pretrained)}"
    return (
        f"by {_escape(evaluation.method)}: each of the {evaluation.samples} training images was classified "
        "by a classifier that was fitted without it. There was no test set"
    )


def _independence(evaluation: Evaluation, pretrained: bool) -> str:
    """What is known of the test images: nothing is claimed that was not checked."""
    if evaluation.overlap is None:
        return ""
    if evaluation.overlap == 0:
        start = "; the images of the network that training started from were not checked" * pretrained
        return (
            f", which were used neither to train nor to choose the weights (checked by their content{start})"
        )
    return f", {evaluation.overlap} of which were also used to train or to choose the weights"


def _int8_section(folder: pathlib.Path, repo_id: str) -> str:
    """The section on the int8 graph; empty if there is none, or a stale one."""
    notes = _read_notes(folder)
    if not notes:
        return ""
    try:
        return _describe_int8(notes, repo_id)
    except JSON_ERRORS:
        raise ConfigError(f"{folder / NOTES} is not valid: make it again with `resnext quantize`.") from None


def _read_notes(folder: pathlib.Path) -> dict:
    """quantization.json; empty if there is none, or one of other weights."""
    path = folder / NOTES
    if not path.is_file() or not (folder / GRAPH).is_file():
        return {}
    try:
        notes = json.loads(path.read_bytes())
        return notes if notes["weights_sha256"] == weights_digest(folder) else {}
    except JSON_ERRORS:
        raise ConfigError(f"{path} is not valid: make it again with `resnext quantize`.") from None


def _describe_int8(notes: dict, repo_id: str) -> str:
    split = SPLIT_NAMES[notes.get("split", "test")]
    lines = [
        "## Int8 quantization",
        "",
        f"`{GRAPH}` and `{WEIGHTS}` hold the network with int8 weights and activations, for OpenVINO. They "
        f"were made by NNCF's post-training quantization, calibrated on {notes['calibration']['images']} "
        f"training images. Both precisions on the same {notes['samples']} {split} images:",
        "",
        "| precision | top-1 accuracy | loss | size in MB |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in ("float32", "int8"):
        row = notes[name]
        lines.append(f"| {name} | {row['top1']:.2%} | {row['loss']:.4f} | {row['bytes'] / 1e6:.1f} |")
    if "decision" in notes:
        lines += ["", _describe_decision(notes["decision"])]
    use = f'Classifier.from_pretrained("{repo_id}", precision="int8")("photo.jpg")'
    return "\n".join([*lines, "", "```python", "from resnext import Classifier", "", use, "```"])


def _describe_decision(decision: dict) -> str:
    """What `quantize` found when it decided whether int8 is accurate enough."""
    images, split, worse, better = (decision[key] for key in ("images", "split", "worse", "better"))
    found = (
        f"Of {images} {SPLIT_NAMES[split]} images, int8 classifies {worse} wrongly that float32 classifies "
        f"correctly, and {better} the other way round "
        f"(exact one-sided McNemar test: p = {decision['p']:.2g})."
    )
    if decision["passed"]:
        return found
    loss = 100 * (worse - better) / images
    return f"{found} This is a significant loss of {loss:.2f} points; the graph was kept with `--force`."


def _training_section(recipe: dict, config: ModelConfig, folder: pathlib.Path) -> str:
    settings = recipe["recipe"]
    pretrained = recipe.get("pretrained")
    names = _SETTINGS | (_FINE_TUNING_SETTINGS if pretrained else {})
    lines = ["## Training", ""]
    if pretrained:
        lines += [f"The network was initialized with the weights of {_link(pretrained)}.", ""]
    history = read_history(folder)
    if history and "dataset" in recipe:
        lines += [_describe_run(recipe, history), ""]
    lines += _describe_balance(recipe, config)
    lines += ["| setting | value |", "| --- | --- |"]
    for name, title in names.items():
        if name in settings and settings[name] != _UNUSED.get(name):
            lines.append(f"| {title} | {_escape(str(settings[name]))} |")
    by_epoch = ", `history.csv` the metrics by epoch" if history else ""
    lines += ["", f"`recipe.json` has all settings and package versions{by_epoch}."]
    lines += _figure(folder, "curves.png", "Loss and accuracy by epoch")
    commands = recorded_commands(folder)
    if commands:
        lines += ["", "Reproduce:", "", "```", *commands, "```"]
    return "\n".join(lines)


def _describe_balance(recipe: dict, config: ModelConfig) -> list[str]:
    """The images of each class by split, as far as recipe.json has them."""
    counts = recipe.get("class_images")
    if not counts or len(counts["train"]) != config.num_classes:
        return []
    names = [_name(name) for name in config.label_names]
    train = np.array(counts["train"])
    least, most = int(train.argmin()), int(train.argmax())
    if train[least] == train[most]:
        lines = [f"Each class has {train[most]} training images.", ""]
    else:
        ratio = f", {train[most] / train[least]:.1f} times as many" if train[least] else ""
        lines = [
            f"Class balance: from {train[least]} training images ({names[least]}) to {train[most]} "
            f"({names[most]}){ratio}.",
            "",
        ]
    if len(names) > _MAX_BALANCE_ROWS:
        return lines
    lines += [f"| class | {' | '.join(counts)} |", f"| --- |{' ---: |' * len(counts)}"]
    for name, *row in zip(names, *counts.values(), strict=True):
        lines.append(f"| {name} | {' | '.join(str(int(count)) for count in row)} |")
    return [*lines, ""]


def _limits_section(evaluation: Evaluation | None, config: ModelConfig) -> str:
    points = [
        f"It knows {config.num_classes} classes and no others. A high probability does not mean that the "
        "image shows one of them.",
    ]
    if evaluation is None:
        points.append("Its accuracy has not been measured, or was measured on other weights.")
    else:
        if evaluation.method:
            points.append(
                "Its accuracy was not measured on a test set: training images that resemble each other make "
                "it too high."
            )
        points.append(
            "Its accuracy was measured on images of the same source as the training images. On photographs "
            "of another place, camera or season it is lower."
        )
        points += _weak_points(evaluation)
    return "\n".join(["## Limits", "", *(f"- {point}" for point in points)])


def _weak_points(evaluation: Evaluation) -> list[str]:
    """What the test has shown."""
    points = []
    tested = [row for row in evaluation.per_class if row.support]
    if len(tested) > 1:
        weakest = sorted(tested, key=lambda row: row.recall)[: min(3, len(tested) - 1)]
        names = ", ".join(f"{_name(row.label)} ({row.recall:.0%} of {row.support})" for row in weakest)
        points.append(f"The classes that it recognizes least often: {names}.")
    if evaluation.samples < _FEW_IMAGES:
        error = 1.96 * math.sqrt(evaluation.top1 * (1 - evaluation.top1) / evaluation.samples)
        few = "There are few images" if evaluation.method else "The test set is small"
        points.append(
            f"{few}: with {evaluation.samples} images, the accuracy is known to within "
            f"{100 * error:.0f} points (95% confidence, normal approximation)."
        )
    if evaluation.overlap:
        points.append(
            f"{evaluation.overlap} of the test images were also used for training, so the accuracy is "
            "overstated."
        )
    if evaluation.corruptions:
        clean, *rest = evaluation.corruptions
        worst = min(rest, key=lambda score: score.top1, default=clean)
        points.append(
            f"On worse images it is less accurate: {worst.top1:.0%} instead of {clean.top1:.0%} at "
            f"{_escape(worst.name)} ({_escape(worst.unit)} {worst.level:g})."
        )
    return points


def _link(pretrained: dict) -> str:
    name, revision = pretrained["name"], pretrained["revision"]
    if revision:
        return f"[{name}](https://huggingface.co/{name}/tree/{revision})"
    return _escape(name)


def _describe_run(recipe: dict, history: list[dict[str, float]]) -> str:
    counts = recipe["dataset"]["images"]
    images = ", ".join(f"{count} {split}" for split, count in counts.items())
    if recipe["recipe"].get("keep_last"):
        kept, reason = history[-1], "the last one"
    else:
        kept, reason = best_epoch(history), "which had the lowest validation loss"
        if not kept["epoch"]:
            reason = "the linear probe, because no later epoch classified as many validation images correctly"
    average = " (an exponential moving average)" if recipe["recipe"].get("ema") else ""
    return (
        f"Images: {images}. The weights{average} are those of epoch {kept['epoch']} of "
        f"{history[-1]['epoch']}, "
        f"{reason} ({kept['val_loss']:.4f}, at a validation accuracy of {kept['val_accuracy']:.2%}). "
        f"{_duration(history)}{_escape(str(recipe.get('hardware', '')))}"
    )


def _duration(history: list[dict[str, float]]) -> str:
    """A sentence on the time that training took; empty if the history does not say."""
    seconds = sum(row["seconds"] for row in history)
    if math.isnan(seconds):
        return ""
    if seconds < 3600:
        return f"Training took {max(round(seconds / 60), 1)} min. "
    return f"Training took {seconds / 3600:.1f} hours. "


def _use_section(repo_id: str, config: ModelConfig, has_int8: bool) -> str:
    return f"""## Use

With the `resnext` package, which classifies with OpenVINO and trains with Keras:

```python
from resnext import Classifier, from_pretrained

predictions = Classifier.from_pretrained("{repo_id}")("photo.jpg", top_k=5)
model = from_pretrained("{repo_id}", num_classes=10)  # a Keras model with a new classifier
```

```
python -m resnext classify photo.jpg --model {repo_id}
python app.py --model {repo_id}
```

With [timm](https://huggingface.co/docs/timm) (PyTorch):

```python
import timm
from PIL import Image

model = timm.create_model("hf_hub:{repo_id}", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
image = transform(Image.open("photo.jpg").convert("RGB"))
probabilities = model(image[None]).softmax(1)[0]
```

{_openvino_use(repo_id, config, has_int8)}"""


def _openvino_use(repo_id: str, config: ModelConfig, has_int8: bool) -> str:
    """How to use the network where this project is not installed, and only OpenVINO runs."""
    prep = config.preprocessing
    size, side = prep.image_size, prep.resize_to
    if has_int8:
        start = "With OpenVINO alone, in int8:"
        graph = f"""from huggingface_hub import hf_hub_download

hf_hub_download("{repo_id}", "{WEIGHTS}")
graph = hf_hub_download("{repo_id}", "{GRAPH}")"""
        export = ""
    else:
        start = "With OpenVINO alone, once the `resnext` package has written a graph:"
        graph = 'graph = "graph.xml"'
        export = f"""

```python
import openvino
from resnext.openvino_graph import build_graph
from resnext.repository import find_repository, load_config, load_tensors

repository = find_repository("{repo_id}", optional=())
config = load_config(repository)
openvino.save_model(build_graph(config, load_tensors(repository, config)), "graph.xml")
```"""
    return f"""{start}{export}

```python
import numpy
import openvino
from PIL import Image, ImageOps

{graph}
image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
size = [{side} * edge // min(image.size) for edge in image.size]
image = image.resize(size, Image.Resampling.{prep.interpolation.upper()})
left, top = [round((edge - {size}) / 2) for edge in size]
image = image.crop((left, top, left + {size}, top + {size}))
model = openvino.compile_model(graph, "CPU")
probabilities = model(numpy.asarray(image)[None])["probabilities"][0]  # by class, as in config.json
```"""


def _read_recipe(folder: pathlib.Path) -> dict:
    """recipe.json; empty if there is none.

    Raises:
        ConfigError: It is not one that `fit` writes.
    """
    path = folder / "recipe.json"
    if not path.exists():
        return {}
    try:
        recipe = json.loads(path.read_bytes())
        _check_recipe(recipe)
    except (*JSON_ERRORS, ConfigError):
        raise ConfigError(
            f"{path} is not a valid recipe: restore it from a copy, or delete it; the card then leaves the "
            "training out."
        ) from None
    return recipe


def _check_recipe(recipe: dict) -> None:
    """Raises one of `JSON_ERRORS` if it lacks what the card states."""
    dict(recipe["recipe"])
    if "dataset" in recipe:
        str(recipe["dataset"]["name"])
        {split: int(count) for split, count in recipe["dataset"]["images"].items()}
    if recipe.get("pretrained"):
        str(recipe["pretrained"]["name"]), recipe["pretrained"]["revision"]
    if "class_images" in recipe:
        lengths = {len([int(count) for count in counts]) for counts in recipe["class_images"].values()}
        if len(lengths) != 1 or "train" not in recipe["class_images"]:
            raise ValueError("its numbers of images do not fit its classes")


def _title(name: str) -> str:
    """The name of a repository as a heading. Those that the Hub allows mostly need no escapes."""
    return name if _PLAIN_NAME.fullmatch(name) else _name(name)


def _name(text: str) -> str:
    """The name of a class or folder: escaped, and short enough for a table."""
    return _escape(shortened(text))


def _escape(text: str) -> str:
    """Escapes text of any origin, so that nothing in it acts as markup."""
    text = printable(text.replace("\r", " ").replace("\n", " "))
    # The dollar is for formulas, which GitHub and the Hub draw.
    text = "".join(f"&#{ord(letter)};" if letter in "<>&|`*_[]()!#\\$~" else letter for letter in text)
    return _AUTOLINK.sub("<!-- -->", text)
