"""The pixels of a decoded image in 8-bit sRGB, as a browser shows them."""

import dataclasses
import functools
import io
import sys
from collections.abc import Iterator

import numpy as np
from PIL import GifImagePlugin, Image, ImageCms, ImageFile, TiffImagePlugin

from resnext.hdr import Hdr
from resnext.image_parts import leave_only_orientation, orientation_of

# The number of pixels that are converted at a time.
_BAND = 2**22
# The values that stand for white in images of more than 8 bits: 8, 10, 12, 14, 16 or 32 bits in whole
# numbers; from 0 to 1, 8 or 16 bits in floating-point ones.
_WHITE_OF_14_BITS = 16383
_WHITE = (255, 1023, 4095, _WHITE_OF_14_BITS, 65535, 2**31 - 1, 2**32 - 1)
_WHITE_FLOAT = (1, 255, 65535)
_WHITE_SIGNED_16 = (255, 1023, 4095, _WHITE_OF_14_BITS, 32767)
# What a file may declare as its greatest value although it holds fewer bits: its whole range.
_WHOLE_RANGES = (65535, 2**31 - 1, 2**32 - 1)
# TIFF's tags (TIFF 6.0), and the values of two of them.
_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_MAX_SAMPLE_VALUE = 281
_SAMPLE_FORMAT = 339
_WHITE_IS_ZERO = 0
_UNSIGNED = 1
_SIGNED = 2
_TAGS = (_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE_VALUE, _SAMPLE_FORMAT)
# Pillow's names of channels of 16 bits, of which it decodes the upper byte: little-endian, big-endian, and as
# this machine has them. In the other byte order, it decodes the lower one.
_LITTLE, _BIG, _NATIVE = ";16L", ";16B", ";16N"
_SWAPPED = {_LITTLE: _BIG, _BIG: _LITTLE, _NATIVE: _BIG if sys.byteorder == "little" else _LITTLE}
_DEEP_MODES = ("RGB", "RGBX", "RGBA")
# A profile whose conversion changes every color by at most this, of 255, is one of the many forms of sRGB.
_SRGB_TOLERANCE = 2
# The mode of the images that a profile is for, by its color space (ICC.1:2010, 7.2.6).
_PROFILE_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_PROFILE_ERRORS = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


@dataclasses.dataclass(frozen=True)
class _Depth:
    """How the values of a grayscale image of more than 8 bits become 8 bits.

    Args:
        black: The value that stands for black.
        white: The value that stands for white.
        unsigned: Whether the values are unsigned 32-bit numbers, which Pillow takes for signed ones.
    """

    black: float
    white: float
    unsigned: bool = False

    def to_8_bits(self, image: Image.Image) -> Image.Image:
        """Converts an image to mode "L"."""
        values = (_values(image, self.unsigned) - self.black) * (255 / (self.white - self.black))
        return Image.fromarray(values.clip(0, 255).round().astype(np.uint8), "L")


def to_srgb(image: Image.Image, profile: bytes | Hdr = b"") -> Image.Image:
    """Decodes an image and converts it as a browser shows it on a white page.

    Args:
        image: An image of any mode.
        profile: Its ICC profile, or its colors of high dynamic range. A profile that is damaged or for
            another kind of images is ignored.

    Returns:
        An image in mode "RGB": 8 bits, sRGB, with transparency laid on white.
    """
    transparent = _transparent_color(image)
    frame = None
    if isinstance(image, GifImagePlugin.GifImageFile) and image.tell() == 0 and image.tile:
        frame = image.tile[0].extents
    image = _with_bits_in_use(image)
    image.load()
    image = _without_sign(image)
    # Programs that draw without alpha leave it at zero.
    if image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        image = image.convert("RGB")
    transform = _transform(profile, _profile_mode(image.mode)) if profile else None
    if image.mode == "RGB" and transparent is None and transform is None:
        return image
    depth = _depth(image) if image.mode == "F" or image.mode.startswith("I") else None
    rgb = Image.new("RGB", image.size)
    for box, band in _bands(image):
        rgb.paste(_band_to_rgb(band, transparent, depth, transform), box)
    if frame is None or frame == (0, 0, *image.size):
        return rgb
    # What the first frame of a GIF leaves out is transparent.
    page = Image.new("RGB", image.size, "white")
    page.paste(rgb.crop(frame), frame)
    return page


def _bands(image: Image.Image) -> Iterator[tuple[tuple[int, int, int, int], Image.Image]]:
    """Parts of an image from top to bottom, so that converting one takes little memory."""
    rows = max(1, _BAND // max(1, image.width))
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        yield box, image.crop(box)


def _band_to_rgb(
    image: Image.Image,
    transparent: int | tuple[int, ...] | None,
    depth: _Depth | None,
    transform: ImageCms.ImageCmsTransform | Hdr | None,
) -> Image.Image:
    alpha = None
    if transparent is not None:
        alpha = _alpha(image, transparent)
        del image.info["transparency"]
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if depth:
        image = depth.to_8_bits(image)
    if transform:
        image = transform.apply(image.convert(transform.input_mode))
    image = image.convert("RGB")
    if alpha:
        image.putalpha(alpha)
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image


def _transparent_color(image: Image.Image) -> int | tuple[int, ...] | None:
    """The color that is transparent in an image without a palette or alpha; None if there is none.

    PNG gives it at the depth of the file; the result is at the depth of the image, before it is decoded.
    """
    color = image.info.get("transparency")
    if image.mode not in ("1", "L", "I;16", "RGB") or not isinstance(color, (int, tuple)):
        return None
    tile = getattr(image, "tile", None)
    encoding = str(tile[0].args) if image.format == "PNG" and tile else image.mode
    if isinstance(color, tuple):
        return tuple(value >> 8 for value in color) if encoding == "RGB;16B" else color
    return color * {"1": 255, "L;2": 85, "L;4": 17}.get(encoding, 1)


def _alpha(image: Image.Image, transparent: int | tuple[int, ...]) -> Image.Image:
    pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
    same = pixels == transparent
    return Image.fromarray(np.where(same.all(-1) if same.ndim == 3 else same, 0, 255).astype(np.uint8), "L")


def _values(image: Image.Image, unsigned: bool) -> np.ndarray:
    """The values of a grayscale image without NaN: (height, width) float64."""
    values = np.asarray(image)
    if unsigned:
        values = values.view(np.uint32)
    return np.nan_to_num(values.astype(np.float64), posinf=np.inf, neginf=-np.inf)


def _depth(image: Image.Image) -> _Depth:
    """Finds the values that stand for black and white in a grayscale image of more than 8 bits."""
    # Pillow has scaled the whole numbers of PPM.
    if image.format == "PNG" or (image.format == "PPM" and image.mode == "I"):
        return _Depth(0, 65535)
    found = getattr(image, "tag_v2", {})
    # Not all of them: others may be faulty.
    tags = {tag: _first(found[tag]) for tag in _TAGS if tag in found}
    bits = tags.get(_BITS_PER_SAMPLE)
    unsigned = bits == 32 and image.mode == "I" and tags.get(_SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED
    black, white = _range(image, unsigned)
    # Values below zero are of measurements, which have no black of their own.
    if black >= 0:
        black, white = 0, _full_scale(image.mode, white, tags)
    if not white > black:
        white = black + 1
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        black, white = white, black
    return _Depth(black, white, unsigned)


def _range(image: Image.Image, unsigned: bool) -> tuple[float, float]:
    """The least and the greatest value of a grayscale image that are finite; zeros if none is."""
    least, greatest = np.inf, -np.inf
    for _, band in _bands(image):
        values = _values(band, unsigned)
        finite = values[np.isfinite(values)]
        least = min(least, float(finite.min(initial=np.inf)))
        greatest = max(greatest, float(finite.max(initial=-np.inf)))
    return (least, greatest) if least <= greatest else (0.0, 0.0)


def _full_scale(mode: str, greatest: float, tags: dict[int, float]) -> float:
    """The value that stands for white, which the file declares, or the nearest usual one above all others."""
    declared = tags.get(_MAX_SAMPLE_VALUE, 0)
    if tags.get(_BITS_PER_SAMPLE) == 12:
        declared = declared or 4095
    usual: tuple[int, ...] = _WHITE_FLOAT if mode == "F" else _WHITE
    if (tags.get(_BITS_PER_SAMPLE), tags.get(_SAMPLE_FORMAT)) == (16, _SIGNED):
        usual = _WHITE_SIGNED_16
    if declared in _WHOLE_RANGES:
        declared = 0
    return next((white for white in (declared, *usual) if white and white >= greatest), greatest)


def _without_sign(image: Image.Image) -> Image.Image:
    """A gray TIFF of signed bytes, which Pillow takes for unsigned ones, made unsigned; another as it is."""
    tags = getattr(image, "tag_v2", {})
    if image.mode != "L" or _first(tags.get(_SAMPLE_FORMAT)) != _SIGNED:
        return image
    values = np.asarray(image).view(np.int8).astype(np.int16)
    # As of more bits (`_depth`): values below zero are of measurements.
    black, white = (int(values.min()), int(values.max())) if values.min() < 0 else (0, 127)
    scaled = (values - black) * (255 / max(1, white - black))
    return Image.fromarray(scaled.round().astype(np.uint8), "L")


def _with_bits_in_use(image: Image.Image) -> Image.Image:
    """A TIFF of 16 bits a channel as 8 bits of those that are in use; another image as it is.

    Pillow decodes the upper bytes, in which an image of 12 bits is nearly black.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return image
    upper = _reopened(image)
    if upper is None:
        return image
    upper.load()
    if np.array(upper.getextrema())[:3].max() > _WHITE_OF_14_BITS >> 8:
        return upper
    lower = _reopened(image, lower=True)
    assert lower is not None  # as `upper`
    tags = {tag: _first(image.tag_v2[tag]) for tag in _TAGS if tag in image.tag_v2}
    greatest = np.zeros(len(upper.getbands()))
    for box, band in _bands(upper):
        greatest = np.maximum(greatest, _joined(band, lower.crop(box)).max((0, 1)))
    # Transparency may have another range than the colors.
    whites = [_full_scale(image.mode, top, tags) for top in (greatest[:3].max(), greatest[-1])]
    scale = np.array([255 / whites[0]] * 3 + [255 / whites[1]] * (len(greatest) - 3), np.float32)
    result = Image.new(upper.mode, upper.size)
    for box, band in _bands(upper):
        values = _joined(band, lower.crop(box)) * scale
        result.paste(Image.fromarray(values.clip(0, 255).round().astype(np.uint8), upper.mode), box)
    return result


def _joined(upper: Image.Image, lower: Image.Image) -> np.ndarray:
    """The values of channels of 16 bits from both of their bytes: (height, width, channels) uint16."""
    return np.asarray(upper, np.uint16) * 256 + np.asarray(lower)


def _reopened(image: TiffImagePlugin.TiffImageFile, lower: bool = False) -> Image.Image | None:
    """A TIFF of 16 bits a channel that is not decoded yet, once more; None for another image.

    Args:
        image: An opened TIFF.
        lower: Whether the lower bytes of the channels are to be decoded, not the upper ones.
    """
    file = image.fp
    if not file or not image.tile or image.mode not in ("RGB", "RGBA"):
        return None
    if _first(image.tag_v2.get(_BITS_PER_SAMPLE)) != 16:
        return None
    names = [_raw_mode(tile) for tile in image.tile]
    # Pillow forgets the depth of planes that are not compressed, and decodes noise.
    order = _LITTLE if image.tag_v2.prefix == b"II" else _BIG
    names = [name + order if len(name) == 1 else name for name in names]
    if names[0][:-4] not in (*_DEEP_MODES, *"RGBA"):
        return None
    if lower:
        names = [name[:-4] + _SWAPPED[name[-4:]] for name in names]
    again = Image.open(file, formats=("TIFF",))
    again.seek(image.tell())
    leave_only_orientation(again, orientation_of(image))
    tiles = zip(again.tile, names)
    again.tile = [tile._replace(args=(name, *(tile.args or ())[1:])) for tile, name in tiles]
    return again


def _raw_mode(tile: ImageFile._Tile) -> str:
    return str(tile.args[0]) if tile.args else ""


def _first(value: object) -> float:
    """The number that a TIFF's tag has for its first channel; 0 if it is not a number."""
    first = value[0] if isinstance(value, tuple) and value else value
    return float(first) if isinstance(first, (int, float)) else 0


def _profile_mode(mode: str) -> str:
    """The mode of the images that a profile has to be for, to fit an image of a mode."""
    if mode == "CMYK":
        return mode
    return "L" if mode in ("1", "L", "LA", "La", "F") or mode.startswith("I") else "RGB"


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes | Hdr, mode: str) -> ImageCms.ImageCmsTransform | Hdr | None:
    """The conversion from a profile to sRGB; None if the profile is sRGB's or cannot be used."""
    if isinstance(profile, Hdr):
        return profile
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = _PROFILE_MODES.get(source.profile.xcolor_space)
        if (mode, space) == ("L", "RGB"):
            mode = "RGB"  # A photograph made gray, whose profile was left in the file.
        if space != mode:
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "CMYK":
            return transform
        samples = _samples(mode)
        converted = np.asarray(transform.apply(samples), np.int16)
    except _PROFILE_ERRORS:
        return None
    change = np.abs(converted - np.asarray(samples.convert("RGB"), np.int16)).max()
    return transform if change > _SRGB_TOLERANCE else None


def _samples(mode: str) -> Image.Image:
    """Colors that tell whether a profile changes any: all grays, and for "RGB" a grid of colors."""
    grays = np.arange(256, dtype=np.uint8)[None]
    if mode == "L":
        return Image.fromarray(grays, "L")
    levels = np.arange(0, 256, 51, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    return Image.fromarray(np.concatenate([np.repeat(grays[..., None], 3, -1), grid], 1), "RGB")
