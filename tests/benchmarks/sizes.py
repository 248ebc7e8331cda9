"""A model served at other image sizes and crop ratios than its own: accuracy and loss.

    python tests/benchmarks/sizes.py flowers/val --output tests/benchmarks/results/sizes.csv

Training crops magnify, so that a network may see best what is enlarged (Touvron et al., 2019,
arXiv:1906.06423). Choose by validation images, which this script is for.
"""

import argparse
import itertools
import pathlib

import contenders
import numpy as np

from resnext.classifier import Classifier
from resnext.linear_probe import score
from resnext.repository import find_repository
from resnext.stream import image_files, infer_images

HEADER = ["image size", "crop ratio", "accuracy", "loss"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=pathlib.Path, help="folder of class folders")
    parser.add_argument("--model", help="model repository (default: the bundled flowers)")
    parser.add_argument("--image-sizes", type=int, nargs="+", default=[176, 192, 208, 224, 240, 256])
    parser.add_argument("--crops", type=float, nargs="+", default=[1, 0.875, 0.8, 0.75])
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    options = parser.parse_args()
    rows = []
    for size, crop in itertools.product(options.image_sizes, options.crops):
        classifier = Classifier.open(
            find_repository(options.model), precision="float32", image_size=size, crop_pct=crop
        )
        files = list(image_files([options.data]))
        logits = np.stack([output.logits for _, output in infer_images(classifier, files)])
        labels = np.array([classifier.config.label_names.index(file.parent.name) for file in files])
        loss, accuracy = score(logits, labels)
        rows.append([str(size), str(crop), f"{accuracy:.1%}", f"{loss:.3f}"])
    contenders.print_table(HEADER, rows, options.output)


if __name__ == "__main__":
    main()
