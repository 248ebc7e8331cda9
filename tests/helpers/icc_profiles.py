"""ICC profiles for tests of color conversion, and the conversion in floating-point arithmetic."""

import struct

import numpy as np

from resnext import icc_profiles
from resnext.icc_profiles import D50, write_profile, xyz

# The primaries adapted to D50, rows red, green and blue; and the gamma (0: sRGB's own curve).
SRGB = (
    (0.4360747, 0.2225045, 0.0139322),
    (0.3850649, 0.7168786, 0.0971045),
    (0.1430804, 0.0606169, 0.7141733),
)
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
ADOBE_RGB = (
    (0.6097559, 0.3111242, 0.0194811),
    (0.2052401, 0.6256560, 0.0608902),
    (0.1492240, 0.0632197, 0.7448387),
)
PROPHOTO = ((0.7976749, 0.2880402, 0.0), (0.1351917, 0.7118741, 0.0), (0.0313534, 0.0000857, 0.8252100))


def rgb_profile(primaries=SRGB, gamma: float = 0) -> bytes:
    """A profile of a display: a matrix and one curve.

    Args:
        primaries: XYZ of red, green and blue, adapted to D50.
        gamma: The exponent of the curve; 0 for sRGB's.
    """
    curve = _gamma(gamma) if gamma else icc_profiles.curve(_linear(np.arange(1024) / 1023, 0))
    return icc_profiles.rgb_profile(primaries, curve)


def gray_profile(gamma: float) -> bytes:
    """A profile of grayscale images with a gamma."""
    return write_profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": xyz(D50), b"kTRC": _gamma(gamma)})


def cmyk_profile() -> bytes:
    """A profile of a printer whose inks are not those that the plain formula for CMYK assumes."""
    levels = np.arange(3) / 2
    c, m, y, k = np.meshgrid(levels, levels, levels, levels, indexing="ij")
    light = 1 - 0.9 * k
    lab = np.stack(
        [
            100 * light * (1 - 0.35 * c) * (1 - 0.5 * m) * (1 - 0.08 * y),
            light * (-35 * c + 70 * m - 5 * y),
            light * (-45 * c - 5 * m + 85 * y),
        ],
        axis=-1,
    )
    # 8-bit Lab (ICC.1:2001-04, table 41).
    table = np.clip(np.round(lab * [2.55, 1, 1] + [0, 128, 128]), 0, 255).astype(np.uint8).tobytes()
    identity = struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
    ramp = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 3, 0)) + identity + ramp * 4 + table + ramp * 3
    return write_profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": xyz(D50), b"A2B0": lut})


def to_srgb(pixels: np.ndarray, primaries, gamma: float = 0) -> np.ndarray:
    """Converts colors from a profile of `rgb_profile` to sRGB with floating-point arithmetic.

    Args:
        pixels: (..., 3) RGB from 0 to 255 in the color space of the profile.
        primaries: The primaries of the profile.
        gamma: The gamma of the profile.

    Returns:
        (..., 3) float64 RGB from 0 to 255 in sRGB.
    """
    light = _linear(np.asarray(pixels, np.float64) / 255, gamma)
    light = light @ np.array(primaries) @ np.linalg.inv(np.array(SRGB))
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _gamma(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(256 * gamma)) + bytes(2)


def _linear(values: np.ndarray, gamma: float) -> np.ndarray:
    if gamma:
        return values**gamma
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
