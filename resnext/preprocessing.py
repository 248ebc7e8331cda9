"""The only way from an image file to the pixels that a network sees, shared by evaluation and serving."""

import contextlib
import io
import os
import pathlib
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageFile

from resnext.config import Preprocessing
from resnext.errors import ImageError, UnsupportedImageError
from resnext.image_colors import to_srgb
from resnext.image_formats import (
    FORMATS,
    HEAD,
    describe_tiff,
    describe_unreadable,
    is_heif,
    is_irregular,
    is_tiff,
    register_heif,
    unsupported,
)
from resnext.image_parts import (
    Parts,
    is_taken_apart,
    leave_only_orientation,
    orientation_of,
    profile_of,
    read_orientation,
    take_apart,
    upright,
)
from resnext.jpeg_scans import END, count_scans, lacks_only_its_end

# Width x height. A larger image is refused before it is decoded.
MAX_PIXELS = 100_000_000
# The scans of a JPEG. Each passes over all pixels, so that 600 KB can keep a processor busy for minutes.
MAX_SCANS = 100
# What Pillow says of a decoder without a message of its own.
_DECODER_STATUS = re.compile(
    r"(?:decoder|codec) error -?\d+(?: when reading image file)?|could not create decoder object"
)
# Images of more pixels than this are decoded one at a time: each takes up to 1 GB meanwhile.
_LARGE = 25_000_000
_one_large_image = threading.Lock()
# How many times as long as the resize a JPEG's shorter side stays when it is decoded at reduced scale. With
# 2, sharp photographs differ by up to 1 of 255 from those decoded at full scale.
_DRAFT_MARGIN = 4
# A plain-text image of a million pixels takes 4 s to decode.
_MAX_PLAIN_PIXELS = 250_000
# The longest side that a resize may result in, divided by the shorter side.
_MAX_ASPECT_RATIO = 64
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
# What Pillow's decoders raise on damaged files.
_DECODER_ERRORS = (
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
)
# Pillow's own limit of pixels is lower, but only warns.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def open_image(
    source: str | os.PathLike | bytes | Image.Image, shorter_side: int | None = None, *, name: str = ""
) -> Image.Image:
    """Decodes an image as a person would see it.

    Args:
        source: A path, the bytes of an encoded file, or an image that Pillow has opened.
        shorter_side: The length in pixels that the shorter side will be resized to. If it is given, a JPEG
            may be decoded at 1/2, 1/4 or 1/8 scale as long as its shorter side stays at least four times this
            long. That is faster, and the pixels after the resize differ by less than half of 1 of 255.
        name: The name of the file in error messages; the path if left out.

    Returns:
        The first frame in mode "RGB", in sRGB, upright (EXIF orientation applied), with transparency laid on
        white. Faults in the metadata are ignored.

    Raises:
        ImageError: It is not an image, its format is not supported, it is damaged, has more than `MAX_PIXELS`
            pixels, or would take very long to decode. The message names the file and the fault.
    """
    name = name or (str(source) if isinstance(source, (str, os.PathLike)) else "The image")
    with _explained(name):
        if isinstance(source, Image.Image):
            _check_pixels(source, name)
            with _memory_for(source):
                rgb = to_srgb(source, profile_of(source))
            # Pillow turns a TIFF when it decodes it.
            turned = rgb if source.format == "TIFF" else upright(rgb, orientation_of(source))
            return turned.copy() if turned is source else turned
        file, parts, head = _read(source, name)
        with _open(file, head, name) as image:
            _check_pixels(image, name)
            _refuse_slow(image, parts.content, name)
            if shorter_side and image.format == "JPEG":
                _draft(image, _DRAFT_MARGIN * shorter_side)
            orientation = read_orientation(parts.exif) if parts.exif else orientation_of(image)
            profile = parts.profile or profile_of(image)
            if image.format == "TIFF":
                leave_only_orientation(image, orientation)
                orientation = 1
            with _memory_for(image):
                # The decoder reads from the copy in memory, which it has only read the beginning of.
                if (
                    isinstance(file, io.BytesIO)
                    and image.format == "JPEG"
                    and lacks_only_its_end(parts.content)
                ):
                    file.seek(0, io.SEEK_END)
                    file.write(END)
                return upright(to_srgb(image, profile), orientation)


def load_pixels(
    source: str | os.PathLike | bytes | Image.Image, preprocessing: Preprocessing, *, name: str = ""
) -> np.ndarray:
    """Decodes and prepares an image: the one way from a file to the input of the network.

    Args:
        source: A path, the bytes of an encoded file, or an image that Pillow has opened.
        preprocessing: The preprocessing of the model.
        name: The name of the file in error messages; the path if left out.

    Returns:
        `(image_size, image_size, 3)` uint8 RGB.

    Raises:
        ImageError: See `open_image`.
    """
    return preprocess(open_image(source, preprocessing.resize_to, name=name), preprocessing)


def resize(image: Image.Image, shorter_side: int, interpolation: str) -> Image.Image:
    """Resizes an image so that its shorter side has that length, antialiased (torchvision's `Resize`)."""
    width, height = image.size
    if width <= height:
        size = (shorter_side, max(shorter_side, int(shorter_side * height / width)))
    else:
        size = (max(shorter_side, int(shorter_side * width / height)), shorter_side)
    # A strip of 1 x 10,000 would grow into gigabytes, and only its center is kept anyway.
    if max(size) > _MAX_ASPECT_RATIO * shorter_side:
        side = max(1, min(width, height) * _MAX_ASPECT_RATIO // 2)
        image = _crop_middle(image, min(width, side), min(height, side))
        return resize(image, shorter_side, interpolation)
    return image if image.size == size else image.resize(size, _FILTERS[interpolation])


def center_crop(image: Image.Image, size: int) -> Image.Image:
    """Crops the square of that size from the middle (torchvision's `CenterCrop`)."""
    return _crop_middle(image, size, size)


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Resizes an image and crops its middle (timm's `transforms_imagenet_eval`). The network normalizes.

    Args:
        image: An image in mode "RGB", as `open_image` returns it.
        preprocessing: The preprocessing of the model.

    Returns:
        `(image_size, image_size, 3)` uint8 RGB, the input of the network.
    """
    length = preprocessing.resize_to
    size = preprocessing.image_size
    if preprocessing.crop_mode == "center":
        return np.asarray(center_crop(resize(image, length, preprocessing.interpolation), size))
    if preprocessing.crop_mode == "squash":
        both = (length, length)
    else:
        ratio = max(image.width / length, image.height / length)
        both = (max(1, round(image.width / ratio)), max(1, round(image.height / ratio)))
    image = image.resize(both, _FILTERS[preprocessing.interpolation])
    red, green, blue = (round(255 * value) for value in preprocessing.mean)
    square = Image.new("RGB", (size, size), (red, green, blue))
    square.paste(image, (_margin(image.width, size), _margin(image.height, size)))
    return np.asarray(square)


def seen_part(width: int, height: int, preprocessing: Preprocessing) -> tuple[float, float]:
    """Returns the fractions of an image's width and height that the network sees, always the middle.

    A fraction is above 1 where margins are added.
    """
    part = preprocessing.image_size / preprocessing.resize_to
    if preprocessing.crop_mode == "squash":
        return part, part
    side = part * (min if preprocessing.crop_mode == "center" else max)(width, height)
    return side / width, side / height


def _margin(length: int, size: int) -> int:
    # timm pads with the smaller half before the image, and crops as torchvision does: half to even.
    return (size - length) // 2 if length < size else -round((length - size) / 2)


def _crop_middle(image: Image.Image, width: int, height: int) -> Image.Image:
    # timm and torchvision round half to even here.
    left = round((image.width - width) / 2)
    top = round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turns whatever Pillow raises into one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist: check the path.") from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"{name} has far more than the {MAX_PIXELS:,} pixels allowed: make it smaller first."
        ) from None
    except _DECODER_ERRORS as error:
        raise ImageError(f"{name} cannot be read as an image: {_reason(error)}.") from None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        # Without the path, which the whole text of the error has, too.
        return error.strerror.lower()
    text = "".join(character if character.isprintable() else " " for character in str(error))
    text = " ".join(text.split()).rstrip(".")
    if not text or _DECODER_STATUS.fullmatch(text):
        return "it is damaged or of a kind that is not supported"
    return text


def _check_pixels(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} has {width} x {height} pixels, more than the {MAX_PIXELS:,} allowed: "
            "make it smaller first."
        )


def _memory_for(image: Image.Image) -> contextlib.AbstractContextManager:
    large = image.width * image.height > _LARGE
    return _one_large_image if large else contextlib.nullcontext()


def _read(source: str | os.PathLike | bytes, name: str) -> tuple[io.BytesIO | pathlib.Path, Parts, bytes]:
    """What Pillow is to open, the parts of a JPEG or PNG file, and the file's first bytes."""
    if isinstance(source, bytes):
        head, parts = source[:HEAD], take_apart(source)
    else:
        if is_irregular(source):
            raise ImageError(
                f"{name} is not a regular file but a pipe, a socket or a device: save the image first."
            )
        with pathlib.Path(source).open("rb") as file:
            head = file.read(HEAD)
            parts = take_apart(head + file.read()) if is_taken_apart(head) else Parts(b"")
    if kind := unsupported(head, name):
        raise _unsupported_error(name, kind)
    if isinstance(source, bytes) or parts.content:
        return io.BytesIO(parts.content), parts, head
    return pathlib.Path(source), parts, head


def _open(file: io.BytesIO | pathlib.Path, head: bytes, name: str) -> ImageFile.ImageFile:
    """Opens a file with the decoder of its format."""
    formats: tuple[str, ...] = tuple(name for name in FORMATS if name != "HEIF")
    if is_heif(head):
        register_heif()
        formats = ("HEIF",)
    try:
        image = Image.open(file, formats=formats)
    except Image.UnidentifiedImageError:
        kind = "TIFF" if is_tiff(head) else "HEIF file" if is_heif(head) else ""
        if kind:
            raise ImageError(
                f"{name} is a {kind} that is damaged or of a kind that is not supported: "
                "convert it to JPEG or PNG."
            ) from None
        raise ImageError(f"{name} cannot be read as an image: {describe_unreadable(head)}.") from None
    if kind := describe_tiff(image):
        image.close()
        raise _unsupported_error(name, kind)
    return image


def _unsupported_error(name: str, kind: str) -> UnsupportedImageError:
    return UnsupportedImageError(f"{name} is {kind}, which is not supported: convert it to JPEG or PNG.")


def _draft(image: ImageFile.ImageFile, shorter_side: int) -> None:
    """Makes a JPEG decode at reduced scale, with at least that shorter side."""
    for scale in (8, 4, 2):
        # A side that the scale does not divide would be rounded up, which shifts the content of the image.
        divides = image.width % scale == image.height % scale == 0
        if divides and min(image.size) >= scale * shorter_side:
            image.draft(None, (image.width // scale, image.height // scale))
            return


def _refuse_slow(image: ImageFile.ImageFile, content: bytes, name: str) -> None:
    is_plain_text = bool(image.tile) and image.tile[0][0] == "ppm_plain"
    if is_plain_text and image.width * image.height > _MAX_PLAIN_PIXELS:
        raise ImageError(f"{name} is a large image in the form of text: save it as PNG first.")
    # Not only a progressive JPEG: a sequential one, too, may come in many scans.
    if image.format == "JPEG" and count_scans(content, MAX_SCANS) > MAX_SCANS:
        raise ImageError(f"{name} draws its image more than {MAX_SCANS} times over: save it again first.")
