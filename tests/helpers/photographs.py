"""Small image files and folders of images."""

import pathlib

import numpy as np
from PIL import Image

CLASSES = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}


def save_image(path: pathlib.Path, seed: int = 0, size: tuple[int, int] = (90, 70)) -> pathlib.Path:
    """Writes an image file of random colors.

    Args:
        path: The file to write. Its suffix chooses the format.
        seed: The seed of the colors.
        size: The number of random pixels, (height, width), before they are resized to 180 x 140.

    Returns:
        The path of the file.
    """
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).resize((180, 140)).save(path)
    return path


def paint(folder: pathlib.Path, classes=CLASSES, train=12, val=4, test=4, seed=0) -> pathlib.Path:
    """Writes a data set of noisy images, in which every class has a color of its own.

    Args:
        folder: The folder to create: `split/class/number.jpg`.
        classes: The RGB color of each class, by the name of the class.
        train: The number of training images per class.
        val: The number of validation images per class.
        test: The number of test images per class.
        seed: The seed of the noise.

    Returns:
        The folder.
    """
    rng = np.random.default_rng(seed)
    for split, count in {"train": train, "val": val, "test": test}.items():
        for name, color in classes.items() if count else ():
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = np.clip(rng.normal(color, 40, (40, 48, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{index}.jpg")
    return folder
