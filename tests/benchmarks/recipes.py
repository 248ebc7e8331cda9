"""The recipes on small data sets: from a linear probe to training from scratch, and timm in PyTorch.

    python tests/benchmarks/recipes.py flowers cifar10-50 --peer-python OTHER_ENVIRONMENT/bin/python \\
        --output tests/benchmarks/results/recipes.csv

Each folder of photographs (train, val and test) is trained with `probe`, `finetune`, and from scratch for
as many epochs as `finetune` takes; with --long also with the whole recipe `scratch`. With --peer-python, timm
fine-tunes the same network from the same weights in PyTorch, for as many epochs, with SGD, its own
augmentation and label smoothing. All results are those of the weights with the lowest validation loss, on the
test images. --sample N takes N training images of each class.

With --unseen N, N classes of each folder are left out, and a backbone learns the others. The recipes start
from it instead of the bundled one, and are compared on the N classes, which it has not seen:

    python tests/benchmarks/recipes.py tiny_imagenet --unseen 10 --image-size 64
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import contenders

from resnext.repository import BACKBONE, BUNDLED
from resnext.results import calibration_error, read_evaluation, read_history

HEADER = ["data set", "training images", "recipe", "validation accuracy", "test top-1", "test ECE", "minutes"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=pathlib.Path, nargs="*", help="folders with train, val and test")
    parser.add_argument("--sample", type=int, help="training images of each class (default: all)")
    parser.add_argument("--unseen", type=int, help="classes that a backbone of its own has not seen")
    parser.add_argument("--image-size", type=int, help="of all trainings (default: the recipe's)")
    parser.add_argument("--precision", default="bfloat16", help="of all trainings (default: %(default)s)")
    parser.add_argument("--long", action="store_true", help="also train with the whole recipe `scratch`")
    parser.add_argument("--resnext50", action="store_true", help="also the probe of a ResNeXt-50")
    parser.add_argument("--peer-python", help="interpreter with timm and torch")
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    parser.add_argument("--models", type=pathlib.Path, help="folder to keep the trained models in")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        train_timm(*options.worker)
        return
    rows = []
    for data in options.data:
        with tempfile.TemporaryDirectory() as folder:
            for row in measure(data.resolve(), pathlib.Path(options.models or folder) / data.name, options):
                rows.append(row)
                contenders.print_table(HEADER, rows, options.output)


def measure(data: pathlib.Path, folder: pathlib.Path, options: argparse.Namespace) -> Iterator[list[str]]:
    """Trains with every recipe, and yields the rows of the table."""
    backbone = BUNDLED[BACKBONE]
    if options.unseen:
        data, backbone = leave_out(data, folder / "unseen", options.unseen)
    if options.sample:
        data = sample(data, folder / "sample" / data.name, options.sample)
    images = sum(len(list(part.iterdir())) for part in (data / "train").iterdir())
    common = ["--precision", options.precision]
    common += ["--image-size", str(options.image_size)] if options.image_size else []
    start = ["--pretrained", backbone] if backbone != BUNDLED[BACKBONE] else []

    def run(name: str, *arguments: str) -> list[str]:
        output = folder / name
        command = [sys.executable, "-m", "training", "fit", data, "--output", output, *common, *arguments]
        start = time.monotonic()
        subprocess.run(list(map(str, command)), cwd=contenders.ROOT, check=True)
        minutes = (time.monotonic() - start) / 60
        evaluation = read_evaluation(output)
        return [
            data.name,
            str(images),
            name,
            f"{validation_accuracy(output, data):.1%}",
            f"{evaluation.top1:.1%}",
            f"{calibration_error(evaluation.calibration):.3f}",
            f"{minutes:.1f}",
        ]

    yield run("probe", "--recipe", "probe", *start)
    yield run("finetune", *start)
    epochs = str(read_history(folder / "finetune")[-1]["epoch"])
    yield run("from scratch, as many epochs", "--from-scratch", "--epochs", epochs)
    if options.long:
        yield run("scratch", "--recipe", "scratch")
    if options.resnext50:
        (folder / "resnext50").mkdir(parents=True)
        contenders.make_repository(folder / "resnext50", "resnext50_32x4d", 224)
        yield run("probe of a random ResNeXt-50", "--recipe", "probe", "--pretrained", folder / "resnext50")
    python = contenders.find_python(("timm", "torch"), options.peer_python)
    if python:
        size = json.loads((folder / "finetune" / "config.json").read_bytes())["pretrained_cfg"]["input_size"]
        worker = ["--worker", str(data), str(backbone), epochs, str(size[-1])]
        result = contenders.run_worker(__file__, python, worker, 3 * 3600)
        cells = [result.get(key, result.get("fault", "")) for key in ("val", "test")]
        minutes = str(result.get("minutes", ""))
        yield [data.name, str(images), "timm on PyTorch", *cells, "", minutes]


def validation_accuracy(model: pathlib.Path, data: pathlib.Path) -> float:
    """The accuracy of a trained network on the validation images."""
    from resnext.classifier import Classifier
    from resnext.metrics import scores
    from training.data import find_images
    from training.evaluate import compute_logits, true_classes

    classifier = Classifier.from_pretrained(model, precision="float32")
    images = find_images(data)
    labels = true_classes(images, classifier.config.label_names, "val")
    return scores(compute_logits(classifier, images.splits["val"].files), labels)["top1"]


def leave_out(data: pathlib.Path, folder: pathlib.Path, count: int) -> tuple[pathlib.Path, pathlib.Path]:
    """Trains a backbone on all but `count` classes, unless that is done. Returns these classes and it.

    The classes are evenly spread over their sorted names. The training is the first and shortest one of the
    bundled backbone, with fewer epochs.
    """
    unseen, seen, backbone = (folder / name for name in (f"{data.name}-{count}", "seen", "backbone"))
    classes = sorted(part.name for part in (data / "train").iterdir())
    chosen = classes[:: len(classes) // count][:count]
    for split in ("train", "val", "test"):
        for name in classes:
            link = (unseen if name in chosen else seen) / split / name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(data / split / name)
    if not (backbone / "evaluation.json").exists():
        sizes = ["--train-size", "40", "--image-size", "56", "--epochs", "10"]
        options = ["--recipe", "pretrain", *sizes, "--precision", "bfloat16", "--no-pictures"]
        command = [sys.executable, "-m", "training", "fit", seen, "--output", backbone, *options]
        subprocess.run(list(map(str, command)), cwd=contenders.ROOT, check=True)
    return unseen, backbone


def sample(data: pathlib.Path, target: pathlib.Path, count: int) -> pathlib.Path:
    """Copies a data set with the first `count` training images of each class, by name."""
    for split in ("train", "val", "test"):
        for part in sorted((data / split).iterdir()):
            (target / split / part.name).mkdir(parents=True)
            files = sorted(part.iterdir())
            for file in files[:count] if split == "train" else files:
                shutil.copy(file, target / split / part.name)
    return target


def train_timm(data: str, backbone: str, epochs: str, image_size: str) -> None:
    """Fine-tunes the backbone in PyTorch, and prints its accuracies and minutes as JSON."""
    timm = contenders.import_timm()
    import torch

    torch.manual_seed(0)
    size, start = int(image_size), time.monotonic()
    classes = sorted(part.name for part in pathlib.Path(data, "train").iterdir())
    model = timm.create_model(f"local-dir:{backbone}", pretrained=True, num_classes=len(classes))
    model = model.to(memory_format=torch.channels_last)
    config = timm.data.resolve_data_config(model=model) | {"input_size": (3, size, size)}

    def loader(split: str, training: bool):
        options = {"auto_augment": "rand-m7-mstd0.5", "scale": (0.3, 1.0)} if training else {}
        dataset = timm.data.create_dataset("", data, split=split)
        return timm.data.create_loader(
            dataset,
            config["input_size"],
            32,
            is_training=training,
            use_prefetcher=False,
            interpolation=config["interpolation"],
            mean=config["mean"],
            std=config["std"],
            crop_pct=1.0,
            num_workers=0,
            **options,
        )

    def accuracy(split: str) -> tuple[float, float]:
        model.eval()
        correct, loss, images = 0, 0.0, 0
        with torch.inference_mode():
            for pixels, labels in loader(split, False):
                logits = model(pixels.to(memory_format=torch.channels_last))
                loss += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
                correct += int((logits.argmax(1) == labels).sum())
                images += len(labels)
        return correct / images, loss / images

    train = loader("train", True)
    steps = int(epochs) * len(train)
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9, nesterov=True, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, steps, pct_start=0.1)
    best, weights = float("inf"), None
    for _ in range(int(epochs)):
        model.train()
        for pixels, labels in train:
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(pixels.to(memory_format=torch.channels_last))
            loss = torch.nn.functional.cross_entropy(logits.float(), labels, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if (val_loss := accuracy("val")[1]) < best:
            best, weights = val_loss, {key: value.clone() for key, value in model.state_dict().items()}
    model.load_state_dict(weights)
    result = {"val": f"{accuracy('val')[0]:.1%}", "test": f"{accuracy('test')[0]:.1%}"}
    print(json.dumps(result | {"minutes": f"{(time.monotonic() - start) / 60:.1f}"}))


if __name__ == "__main__":
    main()
