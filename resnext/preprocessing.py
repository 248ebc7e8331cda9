"""One eye: the only way from an image file to the pixels that a network sees, in training's checks and in serving."""

import contextlib
import io
import os
import pathlib
import re
import struct
import threading
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps

from resnext.config import Preprocessing
from resnext.errors import ImageError

MAX_PIXELS = 100_000_000  # width x height; a larger image is refused before it is decoded
MAX_SCANS = (
    100  # of a JPEG; each goes over all its pixels, so that 600 KB can keep a processor busy for minutes
)
_MARKER = re.compile(
    rb"\xff[^\0\xd0-\xd7\xff]"
)  # in a JPEG; the others stand for a byte, within a scan, or fill
_BAND = 2**22  # pixels that are converted at a time
_LARGE = (
    25_000_000  # pixels; as many as these take up to 1 GB while they are decoded, so one such image at a time
)
_one_large_image = threading.Lock()
_DRAFT_MARGIN = 4  # with 2, sharp photographs differ by up to 1 of 255 from those decoded in full
warnings.filterwarnings(
    "ignore", category=Image.DecompressionBombWarning
)  # Pillow's own, lower limit only warns
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
# Formats with decoders that photographs come in; others (EPS runs Ghostscript) are not even tried.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")


def open_image(
    source: str | os.PathLike | bytes | Image.Image, shorter_side: int | None = None
) -> Image.Image:
    """Decodes an image the way a person would see it.

    Args:
        source: a path, an encoded file's bytes, or an image that Pillow has opened.
        shorter_side: if given, a JPEG may be decoded at 1/2, 1/4 or 1/8 scale as long as its shorter side stays at
            least four times this long: faster, and the pixels after the resize differ by less than half of 1 of 255.

    Returns:
        The first frame, upright (EXIF orientation applied), in mode "RGB"; transparency is laid on white.

    Raises:
        ImageError: not an image, damaged, made to keep the machine busy, or more than `MAX_PIXELS` pixels; names the
            file and the fault.
    """
    name = str(source) if isinstance(source, (str, os.PathLike)) else "The image"
    try:
        if isinstance(source, Image.Image):
            image = source
        else:
            file = io.BytesIO(source) if isinstance(source, bytes) else pathlib.Path(source)
            image = Image.open(file, formats=FORMATS)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ImageError(
                f"{name} has {width} x {height} pixels, more than the {MAX_PIXELS:,} allowed: make it smaller first."
            )
        if image is not source:
            _refuse_slow(image, name)
        if shorter_side and image is not source:  # a draft would shrink the caller's own image
            _draft(image, _DRAFT_MARGIN * shorter_side)
        large = image.width * image.height > _LARGE
        with _one_large_image if large else contextlib.nullcontext():
            if image is source:
                image = ImageOps.exif_transpose(image)
            else:
                ImageOps.exif_transpose(image, in_place=True)  # without a copy
            return _to_rgb(image)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist: check the path.") from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"{name} has far more than the {MAX_PIXELS:,} pixels allowed: make it smaller first."
        ) from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        ZeroDivisionError,
        EOFError,
        TypeError,
        IndexError,
        KeyError,
        OverflowError,
        MemoryError,
        RuntimeError,
        AttributeError,
        AssertionError,
        struct.error,
        zlib.error,
    ) as error:
        # Pillow's decoders raise all of these on damaged files.
        if isinstance(error, Image.UnidentifiedImageError):
            reason = "it is not an image of a known format"
        elif isinstance(error, OSError) and error.strerror:
            reason = error.strerror.lower()  # its text has the path, too
        else:
            reason = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split()).rstrip(".")
        raise ImageError(f"{name} cannot be read as an image: {reason or 'it is damaged'}.") from None


def load_pixels(source: str | os.PathLike | bytes | Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Decodes and prepares an image: the one way from a file to the input of the network.

    Args:
        source: a path, an encoded file's bytes, or an image that Pillow has opened.
        preprocessing: that of the model.

    Returns:
        (image_size, image_size, 3) uint8 RGB.

    Raises:
        ImageError: see `open_image`.
    """
    return preprocess(open_image(source, preprocessing.resize_to), preprocessing)


def resize(image: Image.Image, shorter_side: int, interpolation: str) -> Image.Image:
    """Resizes an image so that its shorter side has that length, antialiased as Pillow does (torchvision's `Resize`)."""
    width, height = image.size
    if width <= height:
        size = (shorter_side, max(shorter_side, int(shorter_side * height / width)))
    else:
        size = (max(shorter_side, int(shorter_side * width / height)), shorter_side)
    longest = 64 * shorter_side
    if (
        max(size) > longest
    ):  # a 1 x 10,000 strip would grow into gigabytes; its centre is all that is kept anyway
        side = max(1, min(width, height) * 32)
        image = _centre(image, min(width, side), min(height, side))
        return resize(image, shorter_side, interpolation)
    return image if image.size == size else image.resize(size, _FILTERS[interpolation])


def centre_crop(image: Image.Image, size: int) -> Image.Image:
    """The square of that size in the middle (torchvision's `CenterCrop`)."""
    return _centre(image, size, size)


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """What the network sees of an RGB image: resized, and the middle cropped (timm's `transforms_imagenet_eval`).

    Args:
        image: mode "RGB", as `open_image` gives it.
        preprocessing: the model's.

    Returns:
        (image_size, image_size, 3) uint8 RGB. (The network itself normalises.)
    """
    length, size = preprocessing.resize_to, preprocessing.image_size
    if preprocessing.crop_mode == "center":
        return np.asarray(centre_crop(resize(image, length, preprocessing.interpolation), size))
    if preprocessing.crop_mode == "squash":
        both = length, length
    else:
        ratio = max(image.width / length, image.height / length)
        both = max(1, round(image.width / ratio)), max(1, round(image.height / ratio))
    image = image.resize(both, _FILTERS[preprocessing.interpolation])
    square = Image.new("RGB", (size, size), tuple(round(255 * value) for value in preprocessing.mean))
    square.paste(image, (_margin(image.width, size), _margin(image.height, size)))
    return np.asarray(square)


def seen_part(width: int, height: int, preprocessing: Preprocessing) -> tuple[float, float]:
    """How much of an image's width and of its height the network sees, always the middle; above 1 with margins added."""
    part = preprocessing.image_size / preprocessing.resize_to
    if preprocessing.crop_mode == "squash":
        return part, part
    side = part * (min if preprocessing.crop_mode == "center" else max)(width, height)
    return side / width, side / height


def _margin(length: int, size: int) -> int:
    # timm pads with the smaller half before the image, and crops as torchvision does: half to even.
    return (size - length) // 2 if length < size else -round((length - size) / 2)


def _centre(image, width, height):
    # timm and torchvision round half to even here.
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _draft(image: Image.Image, shorter_side: int) -> None:
    for scale in (8, 4, 2):
        # A side that the scale does not divide would be rounded up and shift all that is in the image.
        if image.width % scale == image.height % scale == 0 and min(image.size) >= scale * shorter_side:
            image.draft(None, (image.width // scale, image.height // scale))
            return


def _refuse_slow(image: Image.Image, name: str) -> None:
    if (
        image.tile and image.tile[0][0] == "ppm_plain" and image.width * image.height > 250_000
    ):  # 4 s for a million
        raise ImageError(f"{name} is a large image in the form of text: save it as PNG first.")
    if image.format in ("JPEG", "MPO"):  # a sequential one, too, may come in many scans
        start = image.fp.tell()
        image.fp.seek(0)
        scans = _count_scans(image.fp.read())
        image.fp.seek(start)
        if scans > MAX_SCANS:
            raise ImageError(f"{name} draws its image more than {MAX_SCANS} times over: save it anew first.")


def _count_scans(jpeg: bytes) -> int:
    """Scans of the image that a file begins with, not of its thumbnail or of a film behind it; no further than one too many."""
    scans, marker = 0, _MARKER.search(jpeg, 2)
    while marker and marker[0] != b"\xff\xd9" and scans <= MAX_SCANS:
        scans += marker[0] == b"\xff\xda"
        marker = _MARKER.search(jpeg, marker.end() + int.from_bytes(jpeg[marker.end() : marker.end() + 2]))
    return scans


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode == "RGB":
        return image
    # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling.
    deep = image.mode.startswith("I;16") or (image.mode in ("I", "F") and image.getextrema()[1] > 255)
    rgb = Image.new("RGB", image.size)
    rows = max(1, _BAND // max(1, image.width))
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        rgb.paste(_band_to_rgb(image.crop(box), 257 if deep else 1), box)
    return rgb


def _band_to_rgb(image: Image.Image, scale: int) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.nan_to_num(np.asarray(image, np.float32))
        return Image.fromarray((grey / scale).clip(0, 255).round().astype(np.uint8), "L").convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
