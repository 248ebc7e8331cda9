"""The model card: README.md of a model repository, written from the files beside it."""

import itertools
import json
import math
import pathlib
import re

from huggingface_hub import EvalResult, ModelCardData

from resnext.atomic import write_atomically
from resnext.config import ModelConfig
from resnext.int8 import GRAPH, NOTES, WEIGHTS
from resnext.repository import weights_digest
from resnext.results import Evaluation, best_epoch, calibration_error, read_evaluation, read_history
from resnext.shapes import network_modules

from .run_folder import recorded_temperature

# A card with this line may be overwritten. Published cards have it: never change it.
MADE_HERE = "<!-- Written by `python -m training`; remove this line to keep your own changes. -->"
_INT8_BEGIN = "<!-- int8: written by `python -m training quantize` -->"
_INT8_END = "<!-- int8: end -->"
SPLIT_NAMES = {"val": "validation", "test": "test"}  # in quantization.json, and in sentences
_MAX_NAMED_CLASSES = 20
MAX_EVALUATION_BYTES = 2**28  # above that of 4,000 classes, the most that `evaluate` accepts
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
    "probe_passes": "largest number of passes of the linear probe",
    "seed": "seed",
}
# Settings that a table leaves out while they have these values, which change nothing.
_UNUSED = {"probe_passes": 0, "class_weights": "equal", "ema": 0, "clip_norm": 0, "accumulate": 1}
_FINE_TUNING_SETTINGS = {
    "freeze_bn": "freeze batch norm (statistics and parameters)",
    "layer_decay": "layer-wise learning-rate decay",
    "unfreeze_epochs": "epochs before each further stage is unfrozen",
}


def write_card(folder: pathlib.Path, repo_id: str | None = None) -> None:
    """Writes README.md of a model repository.

    A card that a person has changed is kept, except for its section on the int8 graph.

    Args:
        folder: The model repository.
        repo_id: The repository id that the card states. Default: OWNER/ and the folder's name.

    Raises:
        ConfigError: config.json is missing or invalid.
        DataError: evaluation.json or history.csv is invalid.
    """
    path = folder / "README.md"
    repo_id = repo_id or f"OWNER/{folder.resolve().name}"
    int8 = _int8_section(folder, repo_id)
    text = path.read_text(encoding="utf-8") if path.exists() else MADE_HERE
    if MADE_HERE in text:
        write_atomically(path, _generate(folder, repo_id, int8))
    elif int8 or _INT8_BEGIN in text:
        write_atomically(path, _replace_int8_section(text, int8))


def _generate(folder: pathlib.Path, repo_id: str, int8: str) -> str:
    config = ModelConfig.read(folder / "config.json")
    recipe = _read_json(folder / "recipe.json")
    evaluation = _complete_evaluation(folder)
    dataset = recipe.get("dataset", {}).get("name", "unknown")
    pretrained = recipe.get("pretrained") or {}
    metadata = ModelCardData(
        library_name="timm",
        pipeline_tag="image-classification",
        tags=["image-classification", "resnext", "timm", "keras", "openvino"],
        model_name=repo_id.split("/")[-1],
        base_model=pretrained["name"] if pretrained.get("revision") else None,
        eval_results=_eval_results(dataset, evaluation) if evaluation else None,
        metrics=["accuracy"] if evaluation else None,
    )
    sections = [
        _introduction(repo_id, config, dataset),
        _results_section(evaluation, folder, bool(pretrained)) if evaluation else "",
        int8,
        _training_section(recipe, folder) if recipe else "",
        _use_section(repo_id),
    ]
    body = "\n\n".join(section for section in sections if section)
    return f"---\n{metadata.to_yaml()}\n---\n{MADE_HERE}\n\n{body}\n"


def _replace_int8_section(card: str, int8: str) -> str:
    """A person's own card with its section on the int8 graph replaced, or removed if `int8` is empty."""
    kept = re.sub(f"\\n*{_INT8_BEGIN}.*?{_INT8_END}\\n*", "\n\n", card, flags=re.DOTALL).rstrip()
    section = f"\n\n{_INT8_BEGIN}\n\n{int8}\n\n{_INT8_END}" if int8 else ""
    return f"{kept}{section}\n"


def _complete_evaluation(folder: pathlib.Path) -> Evaluation | None:
    """The evaluation, if the repository has one of its weights, with all the numbers that the card states."""
    evaluation = read_evaluation(folder, MAX_EVALUATION_BYTES)
    if evaluation is None or evaluation.is_stale(folder):
        return None
    numbers = evaluation.top1, evaluation.top5, evaluation.loss, evaluation.samples
    return None if None in numbers else evaluation


def _eval_results(dataset: str, evaluation: Evaluation) -> list[EvalResult]:
    metrics = [("accuracy", "Top-1 accuracy", evaluation.top1)]
    if len(evaluation.classes) > 5:  # with fewer classes, top-5 accuracy is always 1
        metrics.append(("top_5_accuracy", "Top-5 accuracy", evaluation.top5))
    return [
        EvalResult(
            task_type="image-classification",
            task_name="Image classification",
            dataset_type="imagefolder",
            dataset_name=dataset,
            dataset_split="test",
            metric_type=metric,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for metric, name, value in metrics
    ]


def _introduction(repo_id: str, config: ModelConfig, dataset: str) -> str:
    parameters = sum(module.parameters for module in network_modules(config.architecture, config.num_classes))
    labels = ", ".join(_escape(name) for name in config.label_names[:_MAX_NAMED_CLASSES])
    unnamed = config.num_classes - _MAX_NAMED_CLASSES
    more = f" and {unnamed} more" if unnamed > 0 else ""
    size = config.preprocessing.image_size
    return (
        f"# {repo_id.split('/')[-1]}\n\n"
        f"A ResNeXt ([Xie et al., 2017](https://arxiv.org/abs/1611.05431)) that classifies "
        f"{config.num_classes} classes: {labels}{more}. It has the architecture `{config.name}` with "
        f"{parameters / 1e6:.2f} million parameters, takes images of {size} x {size} pixels, and was trained "
        f"on the images in {_escape(dataset)}. The files are in timm's format, safetensors and JSON: loading "
        f"them does not execute any code."
    )


def _results_section(evaluation: Evaluation, folder: pathlib.Path, pretrained: bool) -> str:
    temperature = recorded_temperature(folder)
    lines = [
        "## Results",
        "",
        f"**Top-1 accuracy {evaluation.top1:.2%}**, loss {evaluation.loss:.4f} ({evaluation.dtype}) on "
        f"{evaluation.samples} test images{_independence(evaluation, pretrained)}.",
        "",
        "| class | precision | recall | F1 | images |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in evaluation.per_class:
        label = _escape(row.label)
        lines.append(f"| {label} | {row.precision:.3f} | {row.recall:.3f} | {row.f1:.3f} | {row.support} |")
    lines += ["", _describe_calibration(evaluation, temperature)]
    if (folder / "figures" / "reliability.png").exists():
        lines += ["", "![Reliability diagram: accuracy by confidence](figures/reliability.png)"]
    if (folder / "figures" / "heatmap.png").exists():
        lines += ["", "![Confusion matrix: true class by predicted class](figures/heatmap.png)"]
    if evaluation.detection:
        lines += ["", *_describe_detection(evaluation, folder)]
    if evaluation.corruptions:
        lines += ["", *_corruptions_table(evaluation)]
    if any(row.thumbnail for row in evaluation.predictions):
        lines += ["", "Thumbnails of misclassified images are in `mistakes/`."]
    return "\n".join(lines)


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
    lines = [
        f"{text} and refuses {test.refused:.1%} of {test.images} photographs of other things; the area under "
        f"the ROC curve is {test.auroc:.3f}."
    ]
    if (folder / "figures" / "ood.png").exists():
        lines += ["", "![ROC curve: test images and other photographs accepted](figures/ood.png)"]
    return lines


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
    return [*lines, "", "![Top-1 accuracy on worse images](figures/corruptions.png)"]


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
    notes = _read_json(folder / NOTES)
    if not notes or not (folder / GRAPH).is_file() or notes["weights_sha256"] != weights_digest(folder):
        return ""
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


def _training_section(recipe: dict, folder: pathlib.Path) -> str:
    settings = recipe["recipe"]
    pretrained = recipe.get("pretrained")
    names = _SETTINGS | (_FINE_TUNING_SETTINGS if pretrained else {})
    lines = ["## Training", ""]
    if pretrained:
        lines += [f"The network was initialized with the weights of {_link(pretrained)}.", ""]
    history = read_history(folder)
    if history:
        lines += [_describe_run(recipe, history), ""]
    lines += ["| setting | value |", "| --- | --- |"]
    for name, title in names.items():
        if name in settings and settings[name] != _UNUSED.get(name):
            lines.append(f"| {title} | {settings[name]} |")
    lines += ["", "`recipe.json` has all settings and package versions, `history.csv` the metrics by epoch."]
    if (folder / "figures" / "curves.png").exists():
        lines += ["", "![Loss and accuracy by epoch](figures/curves.png)"]
    return "\n".join([*lines, "", "Reproduce:", "", "```", *recipe["commands"], "```"])


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
        f"{_duration(history)}{recipe['hardware']}"
    )


def _duration(history: list[dict[str, float]]) -> str:
    """A sentence on the time that training took; empty if the history does not say."""
    seconds = sum(row["seconds"] for row in history)
    if math.isnan(seconds):
        return ""
    if seconds < 3600:
        return f"Training took {max(round(seconds / 60), 1)} min. "
    return f"Training took {seconds / 3600:.1f} hours. "


def _use_section(repo_id: str) -> str:
    return f"""## Use

With the `resnext` package, which classifies with OpenVINO and trains with Keras:

```python
from resnext import Classifier, from_pretrained

Classifier.from_pretrained("{repo_id}")("photo.jpg", top_k=5)
model = from_pretrained("{repo_id}", num_classes=10)  # a Keras model with a new classifier
```

```
python -m resnext classify photo.jpg --model {repo_id}
python app.py --model {repo_id}
```

With [timm](https://huggingface.co/docs/timm) (PyTorch):

```python
import timm

model = timm.create_model("hf_hub:{repo_id}", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
```"""


def _read_json(path: pathlib.Path) -> dict:
    return json.loads(path.read_bytes()) if path.exists() else {}


def _escape(text: str) -> str:
    """Escapes the name of a class or folder, which may be any text, so that nothing in it acts as markup."""
    return "".join(f"&#{ord(letter)};" if letter in "<>&|`*_[]()!#\\\n\r" else letter for letter in text)
