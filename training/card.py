"""The model card: README.md of a model repository, written from the files beside it."""

import json
import pathlib
import re

from huggingface_hub import EvalResult, ModelCardData

from resnext.atomic import write_atomically
from resnext.config import ModelConfig
from resnext.int8 import GRAPH, NOTES, WEIGHTS, weights_digest
from resnext.shapes import network_modules

from .history import best_epoch, read_history

MADE_HERE = "<!-- Written by `python -m training`; remove this line to keep your own changes. -->"
_INT8_BEGIN, _INT8_END = "<!-- int8: written by `python -m training quantize` -->", "<!-- int8: end -->"
_SHOWN = (
    "epochs",
    "batch_size",
    "image_size",
    "train_size",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "label_smoothing",
    "mixup",
    "cutmix",
    "precision",
    "seed",
)
_FINE_TUNING = ("freeze_bn", "layer_decay", "unfreeze_epochs")


def write_card(folder: pathlib.Path, repo_id: str | None = None) -> None:
    """Writes README.md from the files beside it. One that a person changed is kept, but for a section on the int8 graph, if there is one.

    Args:
        folder: the model repository.
        repo_id: what the card calls it; if left out, OWNER/ and the folder's name.
    """
    path = folder / "README.md"
    repo_id = repo_id or f"OWNER/{folder.resolve().name}"
    int8 = _int8(folder, repo_id)
    if path.exists() and MADE_HERE not in (text := path.read_text(encoding="utf-8")):
        if int8 or _INT8_BEGIN in text:
            kept = re.sub(f"\\n*{_INT8_BEGIN}.*?{_INT8_END}\\n*", "\n\n", text, flags=re.DOTALL).rstrip()
            section = f"\n\n{_INT8_BEGIN}\n\n{int8}\n\n{_INT8_END}" if int8 else ""
            write_atomically(path, f"{kept}{section}\n")
        return
    config = ModelConfig.read(folder / "config.json")
    recipe = _read_json(folder / "recipe.json")
    evaluation = _read_json(folder / "evaluation.json")
    dataset = recipe.get("dataset", {}).get("name", "unknown")
    origin = recipe.get("pretrained") or {}
    data = ModelCardData(
        library_name="timm",
        pipeline_tag="image-classification",
        tags=["image-classification", "resnext", "timm", "keras", "openvino"],
        model_name=repo_id.split("/")[-1],
        base_model=origin["name"] if origin.get("revision") else None,
        eval_results=_eval_results(dataset, evaluation) if evaluation else None,
        metrics=["accuracy"] if evaluation else None,
    )
    parts = [
        _introduction(repo_id, config, dataset),
        _results(evaluation, folder),
        int8,
        _training(recipe, folder),
        _use(repo_id, config),
    ]
    text = f"---\n{data.to_yaml()}\n---\n{MADE_HERE}\n\n" + "\n\n".join(part for part in parts if part) + "\n"
    write_atomically(path, text)


def _eval_results(dataset, evaluation) -> list[EvalResult]:
    common = {
        "task_type": "image-classification",
        "task_name": "Image classification",
        "dataset_type": "imagefolder",
        "dataset_name": dataset,
        "dataset_split": "test",
    }
    named = {"top1": ("accuracy", "Top-1 accuracy"), "top5": ("top_5_accuracy", "Top-5 accuracy")}
    if len(evaluation["classes"]) <= 5:
        del named["top5"]  # always 1
    return [
        EvalResult(metric_type=kind, metric_name=name, metric_value=round(evaluation[key], 4), **common)
        for key, (kind, name) in named.items()
    ]


def _introduction(repo_id, config, dataset) -> str:
    parameters = sum(module.parameters for module in network_modules(config.architecture, config.num_classes))
    labels = ", ".join(_escape(name) for name in config.label_names[:20])
    more = f" and {config.num_classes - 20} more" if config.num_classes > 20 else ""
    return (
        f"# {repo_id.split('/')[-1]}\n\n"
        f"A ResNeXt ([Xie et al., 2017](https://arxiv.org/abs/1611.05431)) that tells {config.num_classes} classes apart: "
        f"{labels}{more}. Architecture `{config.name}`, {parameters / 1e6:.2f} million parameters, input "
        f"{config.preprocessing.image_size} x {config.preprocessing.image_size} pixels, trained on the images in "
        f"`{_escape(dataset)}`. The files are in timm's format: safetensors and JSON, nothing is pickled, nothing executes."
    )


def _results(evaluation, folder) -> str:
    if not evaluation:
        return ""
    lines = [
        "## Results",
        "",
        f"On {evaluation['samples']} test images, none of which was used to train or to choose: "
        f"**top-1 {evaluation['top1']:.2%}**, loss {evaluation['loss']:.4f} ({evaluation['dtype']}).",
        "",
        "| class | precision | recall | F1 | images |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in evaluation["per_class"]:
        scores = " | ".join(f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        lines.append(f"| {_escape(row['label'])} | {scores} | {row['support']} |")
    if (folder / "figures" / "heatmap.png").exists():
        lines += ["", "![Confusion matrix: true class by predicted class](figures/heatmap.png)"]
    if any("thumbnail" in row for row in evaluation.get("predictions", ())):
        lines += ["", "Small pictures of misclassified images are in `mistakes/`."]
    return "\n".join(lines)


def _int8(folder, repo_id) -> str:
    notes = _read_json(folder / NOTES)
    if not notes or not (folder / GRAPH).is_file() or notes["weights_sha256"] != weights_digest(folder):
        return ""
    lines = [
        "## In 8 bits",
        "",
        f"`{GRAPH}` and `{WEIGHTS}` are this network quantised for OpenVINO (by NNCF after training, calibrated on "
        f"{notes['calibration']['images']} training images). Before and after, on the same {notes['samples']} test images:",
        "",
        "| | top-1 | loss | MB |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in ("float32", "int8"):
        lines.append(
            f"| {name} | {notes[name]['top1']:.2%} | {notes[name]['loss']:.4f} | {notes[name]['bytes'] / 1e6:.1f} |"
        )
    use = f'from resnext import Classifier\n\nClassifier.from_pretrained("{repo_id}", precision="int8")("photo.jpg")'
    return "\n".join([*lines, "", "```python", use, "```"])


def _training(recipe, folder) -> str:
    if not recipe:
        return ""
    settings, counts, origin = recipe["recipe"], recipe["dataset"]["images"], recipe.get("pretrained")
    lines = ["## Training", "", "Made by these commands:", "", "```", *recipe["commands"], "```", ""]
    if origin:
        name, revision = origin["name"], origin["revision"]
        source = f"[{name}](https://huggingface.co/{name}/tree/{revision})" if revision else _escape(name)
        lines += [f"It started from the weights of {source}.", ""]
    history = read_history(folder / "history.csv")
    if history:
        best = best_epoch(history)
        hours = sum(row["seconds"] for row in history) / 3600
        lines += [
            f"Images: {', '.join(f'{count} {split}' for split, count in counts.items())}. Of {len(history)} epochs, the weights "
            f"of epoch {best['epoch']} are kept: it has the lowest validation loss, {best['val_loss']:.4f} (validation accuracy "
            f"{best['val_accuracy']:.2%}). It took {hours:.1f} hours. {recipe['hardware']}",
            "",
        ]
    lines += ["| setting | value |", "| --- | --- |"]
    lines += [
        f"| {name.replace('_', ' ')} | {settings[name]} |"
        for name in _SHOWN + _FINE_TUNING * bool(origin)
        if name in settings
    ]
    lines += ["", "`recipe.json` has every setting and version, `history.csv` every epoch."]
    if (folder / "figures" / "curves.png").exists():
        lines += ["", "![Loss and accuracy by epoch](figures/curves.png)"]
    return "\n".join(lines)


def _use(repo_id, config) -> str:
    return f"""## Use

With the `resnext` package that trained it (OpenVINO to classify, Keras to train on):

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


def _read_json(path) -> dict:
    return json.loads(path.read_bytes()) if path.exists() else {}


def _escape(text: str) -> str:
    """Class and folder names are anyone's text: nothing in them may act as Markdown, HTML or a table's border."""
    return "".join(f"&#{ord(letter)};" if letter in "<>&|`*_[]()!#\\\n\r" else letter for letter in text)
