"""Teaching: the seconds that it takes, and the accuracy after a few pictures of each class.

    python tests/benchmarks/teach.py --times tests/benchmarks/results/teach_times.csv
    python tests/benchmarks/teach.py flowers tiny_imagenet --output tests/benchmarks/results/teach.csv

The first measures ten classes of 20 pictures each, with the bundled backbone and with a ResNeXt-50 of random
weights: from the files to the classifier with its leave-one-out test and its detector, and after one picture
more. The second teaches a part of the training pictures of each data set, ten classes at most, and classifies
its test pictures: with the classifier of the page, with the nearest neighbor among the same features (by the
cosine), and with a network that `fit --from-scratch` has trained on the same pictures.
"""

import argparse
import io
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import contenders
import numpy as np
from PIL import Image

from resnext.classifier import Classifier
from resnext.teach import Lessons, Network, default_network, encode
from training.data import find_images


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=pathlib.Path, nargs="*", help="folders with train and test (or val)")
    parser.add_argument(
        "--pictures", type=int, nargs="+", default=[5, 10, 20, 50], help="of a class (default: 5 10 20 50)"
    )
    parser.add_argument("--classes", type=int, default=10, help="at most (default: %(default)s)")
    parser.add_argument(
        "--test", type=int, default=50, help="test pictures of a class, at most (default: %(default)s)"
    )
    parser.add_argument(
        "--epochs", type=int, help="of the training from scratch, 0 to leave it out (default: the recipe's)"
    )
    parser.add_argument("--seed", type=int, default=0, help="chooses classes and pictures (default: 0)")
    parser.add_argument("--times", type=pathlib.Path, help="measure the times, for this CSV file")
    parser.add_argument(
        "--size", type=int, default=20, help="pictures of a class that are timed (default: 20)"
    )
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the accuracies")
    options = parser.parse_args()
    if options.times:
        measure_times(options)
    if options.data:
        measure_accuracies(options)


def make_photographs():
    """Different JPEG files of 800 x 600 pixels without end: random parts of the bundled examples."""
    sources = sorted((contenders.ROOT / "resnext" / "flowers" / "examples").glob("*.jpg"))
    images = [Image.open(source).convert("RGB") for source in sources]
    rng = np.random.default_rng(0)
    for image in itertools.cycle(images):
        width, height = (int(side * rng.uniform(0.5, 0.9)) for side in image.size)
        left, top = int(rng.integers(image.width - width)), int(rng.integers(image.height - height))
        buffer = io.BytesIO()
        part = image.resize((800, 600), Image.Resampling.BICUBIC, (left, top, left + width, top + height))
        part.save(buffer, "JPEG", quality=90)
        yield buffer.getvalue()


def measure_times(options) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        photographs = list(itertools.islice(make_photographs(), options.classes * options.size + 1))
        contenders.make_repository(folder / "net", "resnext50_32x4d", 224)
        large = Network("ResNeXt-50, 224 pixels", Classifier.from_pretrained(folder / "net"))
        rows = [time_lesson(network, photographs, options) for network in (default_network(), large)]
    header = [
        "network",
        "classes",
        "pictures",
        "pictures s",
        "classifier s",
        "detector s",
        "total s",
        "next s",
    ]
    contenders.print_table(header, rows, options.times)


def time_lesson(network: Network, photographs: list[bytes], options) -> list[str]:
    """Teaches in one go, and then one picture more; the row of the table."""
    network.look(encode(photographs[0]))  # what is compiled once belongs to the start of the page
    lesson = Lessons().begin(network)
    begin = time.perf_counter()
    for number in range(options.classes):
        chosen = photographs[number * options.size : (number + 1) * options.size]
        taught = lesson.add_class(f"class {number}")
        lesson.add_pictures(taught.number, [lambda one=one: one for one in chosen])
    looked = time.perf_counter()
    lesson.solve()
    solved = time.perf_counter()
    lesson.detector()
    end = time.perf_counter()
    lesson.add_pictures(lesson.classes[0].number, [lambda: photographs[-1]])
    lesson.solve()
    again = time.perf_counter()
    seconds = (looked - begin, solved - looked, end - solved, end - begin, again - end)
    return [network.name, str(options.classes), str(lesson.count - 1), *(f"{value:.2f}" for value in seconds)]


def measure_accuracies(options) -> None:
    rows = []
    for data in options.data:
        train, test = choose_pictures(data, options)
        network = default_network()
        looked = {name: [look(network, file) for file in files] for name, files in test.items()}
        for count in options.pictures:
            chosen = {name: files[:count] for name, files in train.items()}
            if min(map(len, chosen.values())) < count:
                continue
            rows.append([data.name, str(len(chosen)), str(count), *accuracies(network, chosen, looked)])
            scratch = "" if options.epochs == 0 else train_from_scratch(chosen, test, options)
            rows[-1].append(scratch)
    header = [
        "data",
        "classes",
        "pictures a class",
        "leave-one-out",
        "taught",
        "nearest neighbor",
        "from scratch",
    ]
    contenders.print_table(header, rows, options.output)


def choose_pictures(data: pathlib.Path, options) -> tuple[dict, dict]:
    """The training and the test pictures of each class, in a random order."""
    found = find_images(data, seed=options.seed)
    rng = np.random.default_rng(options.seed)
    names = found.label_names
    chosen = sorted(rng.permutation(len(names))[: options.classes])
    pictures = []
    for split, most in ((found.splits["train"], max(options.pictures)), (test_split(found), options.test)):
        files = {}
        for label in chosen:
            places = rng.permutation(np.flatnonzero(split.labels == label))[:most]
            files[names[label]] = [split.files[place] for place in places]
        pictures.append(files)
    return tuple(pictures)


def test_split(found):
    return found.splits.get("test") or found.splits["val"]


def look(network: Network, file: pathlib.Path) -> np.ndarray:
    """The features of a picture, (channels,) float32."""
    return network.look(encode(str(file)))[0][0].astype(np.float32)


def accuracies(network: Network, chosen: dict, looked: dict) -> list[str]:
    """By leave-one-out, and on the test pictures by the classifier and by the nearest neighbor."""
    lesson = Lessons().begin(network)
    for name, files in chosen.items():
        lesson.add_pictures(lesson.add_class(name).number, [lambda file=file: str(file) for file in files])
    solution = lesson.solve()
    known = np.stack([one.features[0] for row in lesson.classes for one in row.pictures]).astype(np.float32)
    labels = np.repeat(np.arange(len(lesson.classes)), [len(row.pictures) for row in lesson.classes])
    features = np.concatenate([np.stack(looked[name]) for name in solution.labels])
    true = np.repeat(np.arange(len(solution.labels)), [len(looked[name]) for name in solution.labels])
    taught = (features @ solution.weight.T + solution.bias).argmax(axis=1)
    nearest = labels[(normalized(features) @ normalized(known).T).argmax(axis=1)]
    values = (solution.evaluation.top1, (taught == true).mean(), (nearest == true).mean())
    return [f"{value:.1%}" for value in values]


def normalized(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def train_from_scratch(chosen: dict, test: dict, options) -> str:
    """The test accuracy of a network that was trained on the same pictures only."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for split, pictures in (("train", chosen), ("test", test)):
            for label, files in pictures.items():
                (folder / "data" / split / label).mkdir(parents=True)
                for file in files:
                    shutil.copy(file, folder / "data" / split / label)
        command = ["fit", folder / "data", "--output", folder / "net", "--from-scratch", "--no-pictures"]
        command += ["--seed", options.seed]
        if options.epochs:
            command += ["--epochs", options.epochs]
        subprocess.run(
            [sys.executable, "-m", "training", *map(str, command)],
            cwd=contenders.ROOT,
            env=os.environ,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return f"{json.loads((folder / 'net' / 'evaluation.json').read_bytes())['top1']:.1%}"


if __name__ == "__main__":
    main()
