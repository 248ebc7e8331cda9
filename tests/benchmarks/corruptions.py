"""The accuracy of models on worse copies of validation images, to choose augmentation by.

    python tests/benchmarks/corruptions.py flowers/val MODEL... --output corruptions.csv

`resnext evaluate --corruptions` measures the same on test images, which nothing is chosen by.
"""

import argparse
import pathlib

import contenders
import numpy as np

from resnext.classifier import Classifier
from resnext.stream import image_files
from training.corruptions import measure_corruptions


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=pathlib.Path, help="folder of class folders")
    parser.add_argument("models", nargs="+", help="model repositories")
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    options = parser.parse_args()
    files = list(image_files([options.data]))
    header, rows = ["corruption", "unit", "level"], []
    for model in options.models:
        classifier = Classifier.from_pretrained(model)
        labels = np.array([classifier.config.label_names.index(file.parent.name) for file in files])
        scores = measure_corruptions(classifier, files, labels, report=lambda line: None)
        rows = rows or [[score.name, score.unit, f"{score.level:g}"] for score in scores]
        header.append(pathlib.Path(model).name)
        for row, score in zip(rows, scores, strict=True):
            row.append(f"{score.top1:.1%}")
    contenders.print_table(header, rows, options.output)


if __name__ == "__main__":
    main()
