"""How well a network classifies worse photographs: small, compressed, blurred, dark, pale or noisy ones."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from resnext.classifier import Classifier
from resnext.errors import ImageError
from resnext.preprocessing import open_image
from resnext.results import CorruptionScore
from resnext.stream import infer_images

_SIDE = 256  # the shorter side in pixels of the photographs that are corrupted


def _smaller(image: Image.Image, side: float, _: np.random.Generator) -> Image.Image:
    scale = side / min(image.size)
    small = tuple(max(1, round(length * scale)) for length in image.size)
    return image.resize(small, Image.Resampling.BICUBIC)


def _compress(image: Image.Image, quality: float, _: np.random.Generator) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(quality))
    with Image.open(file) as compressed:
        return compressed.convert("RGB")


def _blur(image: Image.Image, radius: float, _: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(radius))


def _brighten(image: Image.Image, factor: float, _: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def _contrast(image: Image.Image, factor: float, _: np.random.Generator) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(factor)


def _add_noise(image: Image.Image, deviation: float, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image) + rng.normal(0, 255 * deviation, (*image.size[::-1], 3))
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


class Corruption(NamedTuple):
    """A way to make photographs worse.

    Args:
        name: What it is.
        unit: What its levels are.
        levels: Its levels, the mildest first.
        corrupt: Makes a photograph of `_SIDE` pixels worse, at a level.
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    corrupt: Callable[[Image.Image, float, np.random.Generator], Image.Image]


CORRUPTIONS = (
    Corruption("small size", "pixels of the shorter side", (96, 64, 48, 32), _smaller),
    Corruption("JPEG compression", "quality", (50, 30, 15, 8), _compress),
    Corruption("blur", "sigma in pixels, at 256", (1, 2, 4, 6), _blur),
    Corruption("dark", "brightness", (0.7, 0.4, 0.2, 0.1), _brighten),
    Corruption("bright", "brightness", (1.3, 1.6, 2.0, 2.5), _brighten),
    Corruption("low contrast", "contrast", (0.7, 0.4, 0.2, 0.1), _contrast),
    Corruption("noise", "deviation, of 1", (0.04, 0.08, 0.16, 0.24), _add_noise),
)


def measure_corruptions(
    classifier: Classifier,
    files: Sequence[Path],
    true: np.ndarray,
    report: Callable[[str], object],
) -> tuple[CorruptionScore, ...]:
    """Measures the accuracy on test images that are made worse in every way and at every level.

    Each photograph is first reduced to a shorter side of 256 pixels, so that a level means the same for all.

    Args:
        classifier: The model.
        files: The test images.
        true: (images,) int, their classes.
        report: Called with a line for each way.

    Returns:
        The scores; the first one is of the photographs without any change but their size.

    Raises:
        ImageError: A file cannot be read as an image.
    """
    clean = Corruption("none", "", (0.0,), lambda image, level, rng: image)
    scores = []
    for corruption in (clean, *CORRUPTIONS):
        for level in corruption.levels:
            accuracy = _accuracy(classifier, _corrupted(files, corruption, level), true)
            scores.append(CorruptionScore(corruption.name, corruption.unit, level, accuracy))
        cells = [f"{score.level:g}: {score.top1:.1%}" for score in scores[-len(corruption.levels) :]]
        report(f"{corruption.name}{f' ({corruption.unit})' * bool(corruption.unit)}  {', '.join(cells)}")
    return tuple(scores)


def _corrupted(files: Sequence[Path], corruption: Corruption, level: float) -> Iterator[Image.Image]:
    for index, file in enumerate(files):
        image = open_image(file, _SIDE)
        image = _smaller(image, _SIDE, None) if min(image.size) > _SIDE else image
        yield corruption.corrupt(image, level, np.random.default_rng(index))


def _accuracy(classifier: Classifier, images: Iterator[Image.Image], true: np.ndarray) -> float:
    correct = 0
    for (_, output), label in zip(infer_images(classifier, images), true, strict=True):
        if isinstance(output, ImageError):
            raise output
        correct += int(output.logits.argmax() == label)
    return correct / len(true)
