"""One eye: the only way from an image file to the pixels that a network sees, in training's checks and in serving."""

import io
import os
import pathlib
import warnings

import numpy as np
from PIL import Image, ImageOps

from resnext.config import Preprocessing
from resnext.errors import ImageError

MOST_PIXELS = 100_000_000  # width x height; a larger image is refused before it is decoded
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # Pillow's own, lower limit only warns
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
# Formats with decoders that photographs come in; others (EPS runs Ghostscript) are not even tried.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")


def open_image(source: str | os.PathLike | bytes | Image.Image, shorter_side: int | None = None) -> Image.Image:
    """Decodes an image the way a person would see it.

    Args:
        source: a path, an encoded file's bytes, or an image that Pillow has opened.
        shorter_side: if given, a JPEG may be decoded at 1/2, 1/4 or 1/8 scale as long as its shorter side stays
            at least twice this long: faster, and the pixels after the resize hardly differ.

    Returns:
        The first frame, upright (EXIF orientation applied), in mode "RGB"; transparency is laid on white.

    Raises:
        ImageError: not an image, damaged, or more than `MOST_PIXELS` pixels; names the file and the fault.
    """
    name = str(source) if isinstance(source, (str, os.PathLike)) else "The image"
    try:
        if isinstance(source, Image.Image):
            image = source
        else:
            file = io.BytesIO(source) if isinstance(source, bytes) else pathlib.Path(source)
            image = Image.open(file, formats=FORMATS)
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise ImageError(
                f"{name} has {width} x {height} pixels, more than the {MOST_PIXELS:,} allowed: make it smaller first."
            )
        if shorter_side and image is not source:  # a draft would shrink the caller's own image
            image.draft(None, (2 * shorter_side, 2 * shorter_side))
        return _to_rgb(ImageOps.exif_transpose(image))
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist: check the path.") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name} has far more than the {MOST_PIXELS:,} pixels allowed: make it smaller first.") from None
    except (OSError, SyntaxError, ValueError, ZeroDivisionError, EOFError, TypeError, IndexError, KeyError,
            OverflowError, MemoryError) as error:
        # Pillow's decoders raise all of these on damaged files.
        reason = "it is not an image of a known format" if isinstance(error, Image.UnidentifiedImageError) else error
        raise ImageError(f"{name} cannot be read as an image: {reason}.") from None


def resize(image: Image.Image, shorter_side: int, interpolation: str) -> Image.Image:
    """Resizes an image so that its shorter side has that length, antialiased as Pillow does (timm's `Resize`)."""
    width, height = image.size
    if width <= height:
        size = (shorter_side, max(shorter_side, int(shorter_side * height / width)))
    else:
        size = (max(shorter_side, int(shorter_side * width / height)), shorter_side)
    longest = 64 * shorter_side
    if max(size) > longest:  # a 1 x 10,000 strip would grow into gigabytes; its centre is all that is kept anyway
        side = max(1, min(width, height) * 32)
        image = _centre(image, min(width, side), min(height, side))
        return resize(image, shorter_side, interpolation)
    return image if image.size == size else image.resize(size, _FILTERS[interpolation])


def centre_crop(image: Image.Image, size: int) -> Image.Image:
    """The square of that size in the middle (timm's `CenterCrop`)."""
    return _centre(image, size, size)


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """What the network sees of an RGB image: shorter side resized, centre cropped.

    Args:
        image: mode "RGB", as `open_image` gives it.
        preprocessing: the model's.

    Returns:
        (image_size, image_size, 3) uint8 RGB. (The network itself normalises.)
    """
    image = resize(image, preprocessing.resize_to, preprocessing.interpolation)
    return np.asarray(centre_crop(image, preprocessing.image_size))


def _centre(image, width, height):
    # timm and torchvision round half to even here.
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode.startswith("I") or image.mode == "F":
        # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling.
        grey = np.asarray(image, np.float32)
        scale = 257 if image.mode.startswith("I;16") or grey.max(initial=0) > 255 else 1
        return Image.fromarray((grey / scale).clip(0, 255).round().astype(np.uint8), "L").convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
