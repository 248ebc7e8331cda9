"""From a photograph's file to the network's input: this project against timm, with every crop mode.

    OTHER_ENVIRONMENT/bin/python tests/benchmarks/preprocessing.py \\
        --output tests/benchmarks/results/preprocessing.csv

It needs timm and torch, and compares with timm's eval transform. Each row covers all photographs: the mean
absolute difference, that of the photograph that differs most, and the largest of any pixel, in units of
1/255. Without files of your own, ten JPEGs of various shapes and up to 3200 pixels are made from the
bundled examples. They have no EXIF orientation, which timm's transform does not apply.
"""

import argparse
import io
import itertools
import pathlib

import contenders
import numpy as np
from PIL import Image
from timm_facts import eval_transform

from resnext.config import CROP_MODES, Preprocessing
from resnext.preprocessing import open_image, preprocess

SIZES = (176, 224, 288)
CROP_RATIOS = (0.875, 0.9, 0.94, 0.95, 0.965, 1.0)
SHAPES = (
    (224, 224),
    (224, 149),
    (113, 224),
    (500, 333),
    (375, 500),
    (640, 427),
    (768, 1024),
    (1600, 1200),
    (3200, 2400),
    (900, 200),
)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "photographs", nargs="*", type=pathlib.Path, help="files to use instead of the bundled examples"
    )
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    options = parser.parse_args()
    contenders.import_timm()
    photographs = [file.read_bytes() for file in options.photographs] or made_of_examples()
    rows = []
    for mode, interpolation, size, crop_pct in itertools.product(
        CROP_MODES, ("bilinear", "bicubic"), SIZES, CROP_RATIOS
    ):
        ours = Preprocessing(size, crop_pct, interpolation, crop_mode=mode)
        theirs = eval_transform(size, crop_pct, mode, interpolation)
        differences = [difference(photograph, ours, theirs) for photograph in photographs]
        means = [values.mean() for values in differences]
        largest = max(values.max() for values in differences)
        rows.append(
            [
                mode,
                interpolation,
                str(size),
                f"{crop_pct}",
                f"{np.mean(means):.3f}",
                f"{max(means):.3f}",
                str(largest),
            ]
        )
    header = [
        "crop mode",
        "interpolation",
        "size",
        "crop ratio",
        "mean difference",
        "photograph that differs most",
        "pixel that differs most",
    ]
    contenders.print_table(header, rows, options.output)
    print(
        f"{len(photographs)} photographs, {len(rows)} settings: the mean difference is at most "
        f"{max(float(row[4]) for row in rows)} of 255."
    )


def difference(photograph: bytes, ours: Preprocessing, theirs) -> np.ndarray:
    seen = preprocess(open_image(photograph, ours.resize_to), ours).astype(int)
    with Image.open(io.BytesIO(photograph)) as image:
        return np.abs(seen - theirs(image.convert("RGB")).numpy().transpose(1, 2, 0))


def made_of_examples() -> list[bytes]:
    """Ten JPEG files."""
    files = sorted((contenders.ROOT / "resnext" / "flowers" / "examples").glob("*.jpg"))
    photographs = []
    for file, (width, height) in zip(itertools.cycle(files), SHAPES):
        with Image.open(file) as image:
            scale = max(width / image.width, height / image.height)
            part = image.convert("RGB").resize(
                (width, height), Image.Resampling.BICUBIC, (0, 0, width / scale, height / scale)
            )
        encoded = io.BytesIO()
        part.save(encoded, "JPEG", quality=90)
        photographs.append(encoded.getvalue())
    return photographs


if __name__ == "__main__":
    main()
