"""What Pillow does not know of BMP files: bit masks, such as four bits for each color, and color profiles."""

import struct
from typing import BinaryIO

import numpy as np

# The kinds of compression of pixels that are bit masks, without and with alpha (BITMAPINFOHEADER).
_BIT_FIELDS = (3, 6)
_WITH_ALPHA = 6
_MASKS = 54
# The smallest header that has the mask of alpha.
_HEADER_WITH_ALPHA = 56
# The header of version 4.
_HEADER = 108
# The number of bits of a pixel, and the masks of red, green, blue and alpha that Pillow knows.
_KNOWN = {
    (32, 0, 0, 0, 0),
    (16, 0xF800, 0x7E0, 0x1F, 0),
    (16, 0x7C00, 0x3E0, 0x1F, 0),
    (32, 0xFF0000, 0xFF00, 0xFF, 0),
    (32, 0xFF000000, 0xFF0000, 0xFF00, 0),
    (32, 0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    (32, 0xFF000000, 0xFF0000, 0xFF00, 0xFF),
    (32, 0xFF, 0xFF00, 0xFF0000, 0xFF000000),
}
# The header of version 5: its size, and where the file has the kind of color space, and the place of the
# profile from the header's beginning with its size.
_HEADER_WITH_PROFILE = 124
_COLOR_SPACE = 70
_PROFILE = 126
_EMBEDDED = b"DEBM"


def embedded_profile(file: BinaryIO, largest: int) -> bytes:
    """The ICC profile in a BMP; empty if there is none.

    Args:
        file: The file. It is read, and stays open.
        largest: The number of bytes above which a profile is ignored.
    """
    file.seek(0)
    head = file.read(_PROFILE + 8)
    if len(head) < _PROFILE + 8 or head[_COLOR_SPACE : _COLOR_SPACE + 4] != _EMBEDDED:
        return b""
    (header,) = struct.unpack_from("<I", head, 14)
    place, size = struct.unpack_from("<II", head, _PROFILE)
    if header < _HEADER_WITH_PROFILE or size > largest:
        return b""
    file.seek(14 + place)
    profile = file.read(size)
    return profile if len(profile) == size else b""


def has_unknown_masks(head: bytes) -> bool:
    """Whether a file is a BMP that `with_known_masks` changes.

    Args:
        head: The first bytes of the file, at least 70.
    """
    if not head.startswith(b"BM") or len(head) < _MASKS + 16:
        return False
    depth, compression = struct.unpack_from("<HI", head, 28)
    if compression not in _BIT_FIELDS or depth not in (16, 32):
        return False
    return compression == _WITH_ALPHA or (depth, *_masks(head)) not in _KNOWN


def with_known_masks(bmp: bytes) -> bytes:
    """Returns a BMP for which `has_unknown_masks` holds with 8 bits for each color and alpha.

    A truncated file stays truncated, which the decoder reports.
    """
    (start,) = struct.unpack_from("<I", bmp, 10)
    width, height = struct.unpack_from("<ii", bmp, 18)
    (depth,) = struct.unpack_from("<H", bmp, 28)
    row = (width * depth + 31) // 32 * 4
    if width < 1 or start > len(bmp):
        return bmp
    count = min(abs(height), (len(bmp) - start) // row)
    rows = np.frombuffer(bmp, np.uint8, row * count, start).reshape(count, row)
    pixels = rows.view(f"<u{depth // 8}")[:, :width]
    result = np.full((*pixels.shape, 4), 255, np.uint8)
    for channel, mask in zip((2, 1, 0, 3), _masks(bmp)):
        if mask or channel != 3:
            mask &= 2**depth - 1
            lowest = max(1, mask & -mask)
            values = (pixels & mask) // lowest
            result[..., channel] = np.round(values * np.float32(255 / max(1, mask // lowest)))
    info = struct.pack("<IiiHHIIiiII", _HEADER, width, height, 1, 32, 3, result.size, 0, 0, 0, 0)
    info = (info + struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)).ljust(_HEADER, b"\0")
    return (
        struct.pack("<2sIHHI", b"BM", 14 + _HEADER + result.size, 0, 0, 14 + _HEADER)
        + info
        + result.tobytes()
    )


def _masks(bmp: bytes) -> tuple[int, ...]:
    """The masks of red, green, blue and alpha."""
    size, compression = struct.unpack_from("<I12xI", bmp, 14)
    masks = struct.unpack_from("<4I", bmp, _MASKS)
    return masks if size >= _HEADER_WITH_ALPHA or compression == _WITH_ALPHA else (*masks[:3], 0)
