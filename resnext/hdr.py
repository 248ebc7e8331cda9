"""Images of high dynamic range (PQ and HLG, ITU-R BT.2100) on an ordinary display, as browsers show them."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image

from resnext.icc_profiles import BT_709, PRIMARIES, primaries_xyz

# The numbers of the curves in ITU-T H.273.
_PQ, _HLG = 16, 18
# The luminance of white in a page, and of the brightest color, in candela per square meter (ITU-R BT.2408).
_REFERENCE_WHITE = 203
_PEAK = 1000 / _REFERENCE_WHITE
_VALUES = np.arange(256) / 255
# How the brightest channel is reduced, as Chromium does it (SMPTE ST 2094-50): by a half up to the white of a
# page, and from there to the peak by a Bezier curve with these points.
_CURVE = ((1, 0.5), (0.35 + 0.65 * 2, 0.35 * 0.5 + 0.65), (_PEAK, 1))
_BT_2020 = PRIMARIES[9]
_LUMINANCE = primaries_xyz(_BT_2020)[:, 1].astype(np.float32)
_DARK = 1e-6  # instead of a division by zero


def _pq_light() -> np.ndarray:
    """The light of each value, 1 for a page's white (ITU-R BT.2100, table 4)."""
    root = _VALUES ** (32 / 2523)
    light = np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)
    return light ** (16384 / 2610) * 10000 / _REFERENCE_WHITE


def _hlg_light() -> np.ndarray:
    """The light of the scene for each value, 1 for the brightest (ITU-R BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(_VALUES <= 0.5, _VALUES**2 / 3, (np.exp((_VALUES - c) / a) + b) / 12)


_LIGHT = {_PQ: _pq_light().astype(np.float32), _HLG: _hlg_light().astype(np.float32)}


@dataclasses.dataclass(frozen=True)
class Hdr:
    """The colors of an image of high dynamic range.

    Args:
        primaries: The number of the primaries in ITU-T H.273.
        transfer: The number of the transfer characteristics: PQ or HLG.

    Attributes:
        input_mode: The mode of the images that `apply` takes.
    """

    primaries: int
    transfer: int
    input_mode = "RGB"

    def apply(self, image: Image.Image) -> Image.Image:
        """Converts an image in mode "RGB" to sRGB."""
        light = _LIGHT[self.transfer][np.asarray(image)] @ _matrix(PRIMARIES[self.primaries], _BT_2020)
        if self.transfer == _HLG:
            # From the light of the scene to that of a display of 1,000 cd/m2 (table 5).
            luminance = np.maximum(light @ _LUMINANCE, _DARK)
            light *= _PEAK * luminance[..., None] ** 0.2
        brightest = np.maximum(light.max(-1, keepdims=True), _DARK)
        light *= _reduced(brightest) / brightest
        light = (light @ _matrix(_BT_2020, BT_709)).clip(0, 1)
        values = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        return Image.fromarray((255 * values).round().astype(np.uint8), "RGB")


def hdr_colors(primaries: int, transfer: int) -> Hdr | None:
    """The colors that numbers in ITU-T H.273 stand for; None if they are not of high dynamic range.

    Args:
        primaries: The number of the primaries.
        transfer: The number of the transfer characteristics.
    """
    return Hdr(primaries, transfer) if primaries in PRIMARIES and transfer in _LIGHT else None


def _matrix(source: Sequence[float], target: Sequence[float]) -> np.ndarray:
    """(3, 3) float32: what light of these primaries is multiplied by for that of others."""
    return (primaries_xyz(source) @ np.linalg.inv(primaries_xyz(target))).astype(np.float32)


def _reduced(light: np.ndarray) -> np.ndarray:
    (x0, y0), (x1, y1), (x2, y2) = _CURVE
    t = np.linspace(0, 1, 65)
    x, y = ((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c for a, b, c in ((x0, x1, x2), (y0, y1, y2)))
    return np.interp(light, [0, *x], [0, *y]).astype(np.float32)
