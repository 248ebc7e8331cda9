"""The scans of a JPEG file: how many it has, and whether they are complete without the marker at its end."""

import io
import itertools
import re
from collections.abc import Iterator

from PIL import Image, ImageChops

END = b"\xff\xd9"
# A marker. The other codes stand for a byte within a scan, or are fill bytes.
_MARKER = re.compile(rb"\xff[^\0\xd0-\xd7\xff]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
# Markers (ITU-T T.81, table B.1): those of frames, and of scans.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA
_COEFFICIENTS = 64
# Two ways in which a scan could continue.
_CONTINUATIONS = (b"\x5a\xc3\x2d\x96" * 16, b"\xa7\x1b\xe4\x78" * 16)


def count_scans(jpeg: bytes, limit: int) -> int:
    """Counts the scans of a file's first image, not of its thumbnail or of a video that follows it.

    Args:
        jpeg: The file.
        limit: The count stops at one scan above this.
    """
    scans = (marker for marker, _, _ in _segments(jpeg) if marker == _SCAN)
    return sum(1 for _ in itertools.islice(scans, limit + 1))


def lacks_only_its_end(jpeg: bytes) -> bool:
    """Whether a file has its whole image and lacks only the marker at its end.

    The pixels of a truncated scan depend on the data that follows it, so two continuations are compared.

    Args:
        jpeg: The file, without metadata.
    """
    if jpeg.endswith(END) or not _has_all_scans(jpeg):
        return False
    scan = jpeg[jpeg.rindex(bytes((0xFF, _SCAN))) :]
    restarts = _RESTART.findall(scan)
    following = restarts[-1][1] + 1 if restarts else 0
    markers = [bytes((0xFF, 0xD0 + (following + number) % 8)) for number in range(8)]
    jpeg = jpeg.removesuffix(b"\xff")
    try:
        image = _decoded(jpeg + END)
        for data in _CONTINUATIONS:
            other = _decoded(jpeg + data + b"".join(marker + data for marker in markers) + END)
            if ImageChops.difference(image, other).getbbox(alpha_only=False):
                return False
    except (OSError, ValueError):
        return False
    return True


def _decoded(jpeg: bytes) -> Image.Image:
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        image.load()
        return image


def _has_all_scans(jpeg: bytes) -> bool:
    """Whether a file without an end has a scan for the last bit of each coefficient of each component."""
    bits: dict[int, list[int]] = {}
    for marker, start, end in _segments(jpeg):
        data = jpeg[start:end]
        if marker == END[1]:
            return False
        try:
            if marker in _FRAMES:
                bits = {data[6 + 3 * number]: [1] * _COEFFICIENTS for number in range(data[5])}
            elif marker == _SCAN:
                components = data[1 : 1 + 2 * data[0] : 2]
                first, last, precision = data[1 + 2 * data[0] :]
                for component in components:
                    bits[component][first : last + 1] = [precision & 15] * (last + 1 - first)
        except (IndexError, KeyError, ValueError):
            return False
    return bool(bits) and not any(map(any, bits.values()))


def _segments(jpeg: bytes) -> Iterator[tuple[int, int, int]]:
    """The marker, and the start and the end of the data, of each segment up to the end of the image."""
    marker = _MARKER.search(jpeg, 2)
    while marker:
        end = marker.end() + int.from_bytes(jpeg[marker.end() : marker.end() + 2])
        yield marker[0][1], marker.end() + 2, end
        if marker[0] == END:
            return
        marker = _MARKER.search(jpeg, end)
