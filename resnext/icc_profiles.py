"""ICC profiles (ICC.1:2001-04, version 2) of colors that an image file gives as numbers."""

import functools
import struct
from collections.abc import Mapping, Sequence

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
# The x and y of white, red, green and blue, by their numbers in ITU-T H.273: BT.709 (as sRGB), BT.2020 and
# Display P3.
BT_709 = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
PRIMARIES = {
    1: BT_709,
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    12: (0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
# The exponents of the other curves but sRGB's, also by number. That of video (BT.709, BT.2020) is the one of
# its displays (BT.1886). Those of HDR (16 and 18) are in `resnext.hdr`.
_EXPONENTS = {**dict.fromkeys((1, 6, 14, 15), 2.4), 4: 2.2, 5: 2.8, 8: 1.0}
_SRGB_CURVE = 13
# What AVIF and HEIC files of sRGB have, as browsers take them: the curves of video, or none.
UNSPECIFIED = 2
_VIDEO_CURVES = (1, 6, 14, 15, UNSPECIFIED)
_VALUES = np.arange(256) / 255
_SRGB_LIGHT = np.where(_VALUES <= 0.04045, _VALUES / 12.92, ((_VALUES + 0.055) / 1.055) ** 2.4)
# sRGB's gamma as programs round it, and how far its x and y may be off.
_SRGB_GAMMAS = (0.45, 0.46)
_SAME_XY = 0.001
# A gamma outside this range is invalid, and ignored.
_GAMMAS = (0.1, 10)


@functools.cache
def coded_profile(primaries: int, transfer: int) -> bytes:
    """The profile of a color space that has numbers in ITU-T H.273.

    Args:
        primaries: The number of the primaries.
        transfer: The number of the transfer characteristics, the curve.

    Returns:
        The profile; empty for HDR and for unknown numbers.
    """
    if primaries not in PRIMARIES or transfer not in (*_EXPONENTS, _SRGB_CURVE):
        return b""
    light = _SRGB_LIGHT if transfer == _SRGB_CURVE else _VALUES ** _EXPONENTS[transfer]
    return rgb_profile(_adapted(PRIMARIES[primaries]), curve(light))


def video_profile(primaries: int, transfer: int) -> bytes:
    """The profile of an image that is coded as video is: `coded_profile`, with the curve of browsers."""
    return coded_profile(primaries, _SRGB_CURVE if transfer in _VIDEO_CURVES else transfer)


def measured_profile(gamma: float, xy: Sequence[float]) -> bytes:
    """The profile of a display with that gamma and those primaries.

    Args:
        gamma: The exponent with which light was encoded, such as 0.45455.
        xy: The x and y of white, red, green and blue in CIE 1931.

    Returns:
        The profile; empty for sRGB's numbers, which stand for sRGB's own curve, and for impossible ones.
    """
    is_srgb = np.allclose(xy, BT_709, rtol=0, atol=_SAME_XY) and _SRGB_GAMMAS[0] <= gamma <= _SRGB_GAMMAS[1]
    if is_srgb or not _GAMMAS[0] <= gamma <= _GAMMAS[1] or min(xy[1::2]) <= 0:
        return b""
    try:
        return rgb_profile(_adapted(xy), curve(_VALUES ** (1 / gamma)))
    except (ValueError, OverflowError, struct.error):
        return b""


def rgb_profile(primaries: np.ndarray | Sequence[Sequence[float]], curve: bytes) -> bytes:
    """A profile of a display: a matrix and one curve.

    Args:
        primaries: (3, 3) XYZ of red, green and blue, a row each, adapted to D50.
        curve: The tag of the curve.
    """
    tags = {b"wtpt": xyz(D50), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    tags |= {name: xyz(color) for name, color in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries)}
    return write_profile(b"mntr", b"RGB ", b"XYZ ", tags)


def write_profile(kind: bytes, space: bytes, connection: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    """A profile.

    Args:
        kind: The kind of device.
        space: The color space of the device.
        connection: The color space that it is connected with.
        tags: The content of each tag.
    """
    text = b"resnext\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67),
        b"cprt": b"text" + bytes(4) + text,
        **tags,
    }
    place = 128 + 4 + 12 * len(tags)
    directory, data = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        directory += name + struct.pack(">II", place + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    header = struct.pack(">I4sI4s4s4s", place + len(data), b"", 0x02400000, kind, space, connection)
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", *(round(65536 * value) for value in D50))
    return header.ljust(128, b"\0") + directory + data


def xyz(color: Sequence[float]) -> bytes:
    """A color as a tag of a profile."""
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * value) for value in color))


def curve(light: np.ndarray) -> bytes:
    """A curve as a tag of a profile.

    Args:
        light: (values,) the light of evenly spaced values, from 0 to 1.
    """
    return (
        b"curv" + bytes(4) + struct.pack(">I", len(light)) + np.round(65535 * light).astype(">u2").tobytes()
    )


def primaries_xyz(xy: Sequence[float]) -> np.ndarray:
    """XYZ of primaries whose sum is white: rows red, green and blue.

    Args:
        xy: The x and y of white, red, green and blue in CIE 1931.
    """
    white, *colors = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in zip(xy[::2], xy[1::2]))
    return np.linalg.solve(np.transpose(colors), white)[:, None] * colors


def _adapted(xy: Sequence[float]) -> np.ndarray:
    """XYZ of primaries under D50 (ICC.1:2001-04, annex E): rows red, green and blue."""
    mixed = primaries_xyz(xy)
    cones = np.diag((_BRADFORD @ D50) / (_BRADFORD @ mixed.sum(0)))
    return mixed @ (np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD).T
