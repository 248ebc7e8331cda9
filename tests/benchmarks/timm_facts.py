"""Writes the facts of timm that the tests compare with, in an environment that has timm.

    python tests/benchmarks/timm_facts.py

resnext/imagenet_classes.tsv.gz    names of ImageNet's classes
tests/fixtures/timm_configs.json   timm's config.json of every checkpoint of timm's that opens here,
                                   and what timm reads from it: size, crop ratio, crop mode and interpolation;
                                   the same at test size
tests/fixtures/timm_pixels.npz     small photographs, and the output of timm's eval transform for them
"""

import argparse
import collections
import gzip
import json
import pathlib
import re
import tempfile
import textwrap

import contenders
import numpy as np
from PIL import Image

from resnext.config import IMAGENET_MEAN, IMAGENET_STD

CONFIGS = contenders.ROOT / "tests" / "fixtures" / "timm_configs.json"
PIXELS = contenders.ROOT / "tests" / "fixtures" / "timm_pixels.npz"
# resnext26ts and its variants are networks of another kind (timm's ByobNet).
NAMES = re.compile(r"(legacy_)?(se)?resnext(?!26ts).*|resnet(50|101|152)|wide_resnet50_2")
_SUBSETS = {"1k": "imagenet-1k", "12k": "imagenet-12k", "22k": "imagenet-22k"}
_MAX_NOTE = 48  # characters
_CASES = [  # photograph, size, crop ratio, crop mode, interpolation
    ("daisy", 32, 0.875, "center", "bilinear"),
    ("roses", 32, 0.9, "center", "bicubic"),
    ("tulips", 33, 0.965, "center", "bilinear"),
    ("tulips", 32, 0.95, "center", "bicubic"),
    ("daisy", 33, 1.0, "squash", "bicubic"),
    ("roses", 32, 0.9, "squash", "bilinear"),
    ("daisy", 32, 1.0, "border", "bicubic"),
    ("roses", 32, 0.9, "border", "bilinear"),
    ("tulips", 33, 0.94, "border", "bicubic"),
]
_SIZES = {"daisy": (61, 44), "roses": (37, 50), "tulips": (100, 43)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    contenders.import_timm()
    write_classes(contenders.ROOT / "resnext" / "imagenet_classes.tsv.gz")
    write_configs(CONFIGS)
    write_pixels(PIXELS)


def write_classes(path: pathlib.Path) -> None:
    """Writes sorted lines: synset, its subsets, name (all lemmas), and a note if the name is shared."""
    from timm.data import ImageNetInfo

    infos = {subset: ImageNetInfo(name) for subset, name in _SUBSETS.items()}
    subsets, names, notes = collections.defaultdict(list), {}, {}
    for subset, info in infos.items():
        synsets = info.label_names()
        if synsets != sorted(synsets):
            raise SystemExit(
                f"{_SUBSETS[subset]} is not in the order of its synsets, which the file assumes."
            )
        for synset in synsets:
            subsets[synset].append(subset)
            names[synset] = info.label_name_to_description(synset)
            notes[synset] = _shorten(
                info.label_name_to_description(synset, detailed=True).removeprefix(f"{names[synset]}: ")
            )
    shared = collections.Counter(names.values())
    taken = collections.Counter((names[synset], notes[synset]) for synset in names)
    lines = []
    for synset in sorted(names):
        note = notes[synset] if shared[names[synset]] > 1 else ""
        if taken[names[synset], note] > 1:
            note = synset
        lines.append("\t".join((synset, " ".join(subsets[synset]), names[synset], note)) + "\n")
    # Without a time, the file has the same bytes whenever it is made.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write("".join(lines).encode())


def _shorten(definition: str) -> str:
    """The definition up to its first semicolon, parenthesis or colon, shortened to the words that fit."""
    return textwrap.shorten(
        re.split(r"[;(:]", definition)[0], _MAX_NOTE, placeholder="…", break_on_hyphens=False
    )


def write_configs(path: pathlib.Path) -> None:
    """One line for each checkpoint: its name, and {"config", "eval", "test"}."""
    import timm
    import torch
    from timm.data import resolve_data_config
    from timm.models import get_pretrained_cfg
    from timm.models._hub import save_config_for_hf

    lines, keys = [], ("crop_pct", "crop_mode", "interpolation", "mean", "std")
    for architecture in filter(NAMES.fullmatch, timm.list_models()):
        with torch.device("meta"):
            model = timm.create_model(architecture)
        for name in timm.list_pretrained(f"{architecture}.*"):
            model.pretrained_cfg = get_pretrained_cfg(name).to_dict()
            model.num_classes = model.pretrained_cfg["num_classes"]
            with tempfile.TemporaryDirectory() as folder:
                file = pathlib.Path(folder, "config.json")
                save_config_for_hf(model, file)
                config = json.loads(file.read_text())
            read = {}
            for key, use_test_size in (("eval", False), ("test", True)):
                resolved = resolve_data_config(
                    pretrained_cfg=config["pretrained_cfg"], use_test_size=use_test_size
                )
                read[key] = [resolved["input_size"][1], *(resolved[key] for key in keys)]
            lines.append(f"{json.dumps(name)}: {json.dumps({'config': config, **read})}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def write_pixels(path: pathlib.Path) -> None:
    """Arrays by name: uint8 RGB photographs, and for each case its JSON and the pixels."""
    arrays = {}
    for name, size in _SIZES.items():
        with Image.open(contenders.ROOT / "resnext" / "flowers" / "examples" / f"{name}.jpg") as image:
            arrays[name] = np.asarray(
                image.convert("RGB").crop((20, 20, 20 + 2 * size[0], 20 + 2 * size[1])).resize(size)
            )
    for index, (name, *case) in enumerate(_CASES):
        arrays[f"case{index}"] = np.array(json.dumps([name, *case]))
        arrays[f"pixels{index}"] = (
            eval_transform(*case)(Image.fromarray(arrays[name])).numpy().transpose(1, 2, 0)
        )
    np.savez_compressed(path, **arrays)


def eval_transform(size: int, crop_pct: float, crop_mode: str, interpolation: str):
    """timm's transform, from a Pillow image to a (3, size, size) uint8 tensor."""
    from timm.data import create_transform

    return create_transform(
        (3, size, size),
        crop_pct=crop_pct,
        crop_mode=crop_mode,
        interpolation=interpolation,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        normalize=False,
    )


if __name__ == "__main__":
    main()
