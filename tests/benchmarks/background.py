"""Makes background.safetensors of the bundled backbone: its features of many kinds of photographs.

Detectors of unknown photographs are fitted against them (`training.ood`). Run it with the backbone's
validation images when it was trained again:

    python tests/benchmarks/background.py tiny_imagenet/val
"""

import argparse
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from resnext.ood import BACKGROUND, open_backbone
from resnext.repository import BACKBONE, BUNDLED
from resnext.stream import image_files
from resnext.weights import write_safetensors
from training.ood import compute_backbone_features

IMAGES = 1500
DIMENSIONS = 256


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=pathlib.Path, help="folder of images")
    options = parser.parse_args()
    files = list(image_files([options.images]))
    chosen = np.random.default_rng(0).permutation(len(files))[:IMAGES]
    preprocessing = open_backbone().config.preprocessing
    features = compute_backbone_features([files[index] for index in chosen], preprocessing)
    # The directions in which the features differ most, and their mean's.
    directions = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)[2]
    basis = directions[:DIMENSIONS].T
    kept = np.square((features - features.mean(axis=0)) @ basis).sum()
    total = np.square(features - features.mean(axis=0)).sum()
    target = BUNDLED[BACKBONE] / BACKGROUND
    write_safetensors(
        {"basis": basis.astype(np.float16), "coordinates": (features @ basis).astype(np.float16)}, target, {}
    )
    print(
        f"{len(features)} images; {DIMENSIONS} of {features.shape[1]} dimensions have {kept / total:.1%} of"
    )
    print(f"the variance; {target.stat().st_size / 1e3:,.0f} kB.")


if __name__ == "__main__":
    main()
