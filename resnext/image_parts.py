"""The parts of an image file that its pixels depend on, without the metadata that may be damaged.

Pillow parses comments, thumbnails, camera makers' notes and other metadata when it opens a file, and refuses
the whole file for some faults in them. Of the metadata, only orientation and color profile matter here.
"""

import dataclasses
import io
import re
import struct
import zlib

from PIL import Image

from resnext.bmp_masks import embedded_profile, has_unknown_masks, with_known_masks
from resnext.hdr import Hdr, hdr_colors
from resnext.icc_profiles import BT_709, UNSPECIFIED, coded_profile, measured_profile, video_profile

# Of an ICC profile. Those of printers have up to 3 MB.
MAX_PROFILE = 4 * 2**20
# The tag of TIFF and EXIF.
_ORIENTATION = 0x0112
# The byte orders of EXIF data, and the type of 16-bit numbers in them (TIFF 6.0, section 2).
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_SHORT = 3
_TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
# The JPEG segments of applications that name the color space, and their shortest data (libjpeg's jdmarker.c).
_COLOR_SEGMENTS = {0xE0: (b"JFIF\0", 14), 0xEE: (b"Adobe", 12)}
# The PNG chunks that describe the colors.
_COLOR_CHUNKS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM")
# The color information of an AVIF (ISO/IEC 14496-12, 12.1.5), which is in its first bytes.
_VIDEO_CODE = re.compile(rb"colrnclx(.{4})", re.DOTALL)
_VIDEO_CODE_WITHIN = 4096
_EXIF = b"Exif\0\0"
_ICC = b"ICC_PROFILE\0"


@dataclasses.dataclass(frozen=True)
class Parts:
    """An image file without metadata, and what was found in the metadata.

    Args:
        content: The file.
        exif: The EXIF data; empty if there are none.
        profile: The ICC profile, or the colors of high dynamic range; empty if there is none.
    """

    content: bytes
    exif: bytes = b""
    profile: bytes | Hdr = b""


def is_taken_apart(head: bytes) -> bool:
    """Whether `take_apart` changes a file.

    Args:
        head: The first bytes of the file, at least 70 if it has as many.
    """
    return head.startswith((_JPEG, _PNG)) or has_unknown_masks(head)


def take_apart(content: bytes) -> Parts:
    """Separates a JPEG or PNG file from its metadata. Other files are returned as Pillow can read them.

    Args:
        content: The file.
    """
    if has_unknown_masks(content):
        profile = embedded_profile(io.BytesIO(content), MAX_PROFILE)
        return Parts(with_known_masks(content), profile=profile)
    if content.startswith(_JPEG):
        return _take_jpeg_apart(content)
    return _take_png_apart(content) if content.startswith(_PNG) else Parts(content)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turns an image upright.

    Args:
        image: An image.
        orientation: EXIF's, from 1 to 8; any other number changes nothing.
    """
    method = _TRANSPOSED.get(orientation)
    return image if method is None else image.transpose(method)


def read_orientation(exif: bytes) -> int:
    """Returns the orientation in EXIF data, from 1 to 8, whatever else in them is faulty; 1 if there is none.

    Pillow's own reader also decodes the other entries, and fails on some of them.
    """
    exif = exif.removeprefix(_EXIF)
    order = _BYTE_ORDERS.get(exif[:4])
    if order is None or len(exif) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    count = int.from_bytes(exif[start : start + 2], "little" if order == "<" else "big")
    for place in range(start + 2, min(start + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind, values, value = struct.unpack_from(f"{order}HHIH", exif, place)
        if (tag, kind, values) == (_ORIENTATION, _SHORT, 1):
            return value if 1 <= value <= 8 else 1
    return 1


def orientation_of(image: Image.Image) -> int:
    """The orientation of an opened image that its decoder has not applied, as EXIF numbers it."""
    if image.format == "HEIF":
        return 1
    exif = image.info.get("exif")
    if isinstance(exif, bytes):
        return read_orientation(exif)
    orientation = getattr(image, "tag_v2", {}).get(_ORIENTATION)
    return orientation if isinstance(orientation, int) else 1


def leave_only_orientation(image: Image.Image, orientation: int) -> None:
    """Replaces the EXIF data of an opened TIFF by the orientation alone.

    Pillow turns a TIFF when it decodes it, and would fail on other tags that are faulty.
    """
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    image.getexif = lambda: exif  # type: ignore[method-assign]


def profile_of(image: Image.Image) -> bytes | Hdr:
    """The ICC profile of an opened image, or one of the numbers that stand for it; empty if there is none."""
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and len(profile) <= MAX_PROFILE:
        return profile
    if image.format in ("AVIF", "HEIF"):
        primaries, transfer = _video_code(image)
        primaries = 1 if primaries == UNSPECIFIED else primaries  # as browsers assume
        return hdr_colors(primaries, transfer) or video_profile(primaries, transfer)
    file = getattr(image, "fp", None)
    if image.format == "BMP" and file:
        return embedded_profile(file, MAX_PROFILE)
    gamma = image.info.get("gamma")
    if image.format != "PNG" or "srgb" in image.info or not isinstance(gamma, float):
        return b""
    return measured_profile(gamma, image.info.get("chromaticity", BT_709))


def _video_code(image: Image.Image) -> tuple[int, int]:
    """The numbers of an opened AVIF's or HEIF's primaries and curve; those of sRGB if there are none."""
    code = image.info.get("nclx_profile")
    if isinstance(code, dict):
        return code["color_primaries"], code["transfer_characteristics"]
    file = getattr(image, "fp", None)
    if image.format != "AVIF" or not file:
        return 1, 13
    file.seek(0)
    found = _VIDEO_CODE.search(file.read(_VIDEO_CODE_WITHIN))
    return struct.unpack(">HH", found[1]) if found else (1, 13)


def _take_jpeg_apart(content: bytes) -> Parts:
    """Leaves out all segments before the image that are metadata.

    Of several pictures in a file (MPO), the first remains.
    """
    kept = [content[:2]]
    exif = b""
    profile: dict[int, bytes] = {}
    place = 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        # The image begins, or the file is damaged, which the decoder reports.
        if marker == 0xDA or not 0xC0 <= marker <= 0xFE or 0xD0 <= marker <= 0xD9 or length < 2:
            break
        segment = content[place : place + 2 + length]
        data = segment[4:]
        if marker == 0xE1 and data.startswith(_EXIF):
            exif = exif or data
        elif marker == 0xE2 and data.startswith(_ICC) and len(data) > 14:
            profile.setdefault(data[12], data[14:])
        start, shortest = _COLOR_SEGMENTS.get(marker, (b"", 0))
        # From 0xe0 on, segments are applications' and comments.
        if marker < 0xE0 or (start and data.startswith(start) and len(data) >= shortest):
            kept.append(segment)
        place += 2 + length
    kept.append(content[place:])
    return Parts(b"".join(kept), exif, _joined(profile))


def _joined(profile: dict[int, bytes]) -> bytes:
    """A profile from its numbered pieces (ICC.1:2010, B.4); empty if some are missing or it is too large."""
    numbers = sorted(profile)
    whole = b"".join(profile[number] for number in numbers)
    return whole if numbers == list(range(1, len(numbers) + 1)) and len(whole) <= MAX_PROFILE else b""


def _take_png_apart(content: bytes) -> Parts:
    """Leaves out all chunks that do not change the pixels.

    Animations become their default image.
    """
    kept = [_PNG]
    exif = b""
    colors: dict[bytes, bytes] = {}
    drawn = False
    place = len(_PNG)
    kind = b""
    while place + 12 <= len(content) and kind != b"IEND":
        end = place + 12 + int.from_bytes(content[place : place + 4], "big")
        kind = content[place + 4 : place + 8]
        data = content[place + 8 : end - 4]
        if end > len(content):
            # Truncated, which the decoder reports.
            kept.append(content[place:])
            break
        # The names of chunks that can be ignored begin with a small letter.
        if not kind[0] & 0x20 or (kind == b"tRNS" and _is_intact(content[place:end])):
            kept.append(content[place:end])
        elif kind == b"eXIf":
            exif = exif or data
        elif kind in _COLOR_CHUNKS and not drawn and _is_intact(content[place:end]):
            colors.setdefault(kind, data)
        drawn = drawn or kind == b"IDAT"
        place = end
    return Parts(b"".join(kept), exif, _png_profile(colors))


def _png_profile(chunks: dict[bytes, bytes]) -> bytes | Hdr:
    """The profile that the color chunks of a PNG describe, the first by its specification; empty for sRGB."""
    code = chunks.get(b"cICP", b"")
    # The third and fourth number: RGB, and the whole range of values.
    if len(code) == 4 and code[2:] == b"\0\1":
        colors = hdr_colors(code[0], code[1]) or coded_profile(code[0], code[1])
        if colors:
            return colors
    if profile := _unpacked_profile(chunks.get(b"iCCP", b"")):
        return profile
    gamma, xy = chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b"")
    if b"sRGB" in chunks or len(gamma) != 4:
        return b""
    values = [value / 100_000 for value in struct.unpack(">8I", xy)] if len(xy) == 32 else BT_709
    return measured_profile(int.from_bytes(gamma) / 100_000, values)


def _is_intact(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _unpacked_profile(chunk: bytes) -> bytes:
    """The profile in the data of an iCCP chunk; empty if it is damaged or too large."""
    name, _, packed = chunk.partition(b"\0")
    try:
        # The first byte is the method, of which there is one.
        profile = zlib.decompressobj().decompress(packed[1:], MAX_PROFILE + 1)
    except zlib.error:
        return b""
    return profile if name and len(profile) <= MAX_PROFILE else b""
