"""Small image files of every kind that people have, each with the pixels that a person sees in it.

For formats of browsers, those are what Chromium shows (`shown_by_chromium`). For the others, they are known:
a TIFF or PPM is written here from an array by the specification of its format, and a HEIC file is encoded
from one.
"""

import base64
import dataclasses
import functools
import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pillow_heif
from PIL import Image

from resnext.errors import ImageError
from resnext.preprocessing import open_image
from tests.helpers.icc_profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    PROPHOTO,
    cmyk_profile,
    gray_profile,
    rgb_profile,
    to_srgb,
)

WIDTH, HEIGHT = 48, 32
# Of the mean difference of all values, from 0 to 255: files without loss; color conversion and scaling, which
# round; and decoders of lossy formats, which may interpolate colors differently.
EXACT, ROUNDED, LOSSY = 0.0, 0.5, 1.5
# The numbers of high dynamic range in ITU-T H.273.
HDR_CODES = {"PQ": (9, 16), "HLG": (9, 18), "PQ with sRGB's primaries": (1, 16), "PQ alone": (2, 16)}
# Draws an image on white, and returns its width, height and pixels; nothing if the browser cannot show it.
_DRAW = """async (data) => {
    const image = new Image();
    image.src = data;
    try { await image.decode(); } catch { return null; }
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d", {colorSpace: "srgb"});
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    let text = "";
    for (const value of pixels) text += String.fromCharCode(value);
    return [canvas.width, canvas.height, btoa(text)];
}"""


@dataclasses.dataclass(frozen=True)
class Case:
    """An image file.

    Args:
        name: What it is, in a few words; unique.
        suffix: The suffix of its name.
        content: The bytes of the file.
        tolerance: The largest mean difference from the expected pixels that is accepted.
        expected: (height, width, 3) RGB from 0 to 255; None if Chromium shows what is expected.
    """

    name: str
    suffix: str
    content: bytes
    tolerance: float
    expected: np.ndarray | None = None


def shown_by_chromium(page, content: bytes) -> np.ndarray | None:
    """The pixels that a Playwright page shows for an image: (height, width, 3) uint8; None if it cannot."""
    drawn = page.evaluate(_DRAW, f"data:image/png;base64,{base64.b64encode(content).decode()}")
    if drawn is None:
        return None
    width, height, pixels = drawn
    return np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 4)[..., :3]


@functools.cache
def corpus() -> tuple[Case, ...]:
    """All files."""
    makers = (_jpeg, _jpeg_metadata, _png, _png_metadata, _other_browser_formats, _tiff, _netpbm, _heif)
    return tuple(case for make in makers for case in make())


@functools.cache
def colors() -> np.ndarray:
    """A smooth picture in which every corner differs: (HEIGHT, WIDTH, 3) uint8 RGB."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] / 48
    pixels = np.stack([210 * x + 20, 120 * y + 60 * np.sin(5 * x) + 70, 235 - 160 * x - 90 * y], axis=-1)
    return pixels.clip(0, 255).astype(np.uint8)


def gray(top: float = 255) -> np.ndarray:
    """A smooth ramp from 0 to a value: (HEIGHT, WIDTH) float64."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return top * (x + y) / (WIDTH + HEIGHT - 2)


def _on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return 255 - (255 - rgb.astype(float)) * alpha[..., None] / 255


def _as_rgb(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(values, np.float64)[..., None], 3, axis=-1)


def _encoded(image: Image.Image | np.ndarray, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, form, **options)
    return buffer.getvalue()


# --- JPEG ---------------------------------------------------------------------------------------------------


def _segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def _with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def _jpeg() -> Iterator[Case]:
    image = Image.fromarray(colors())
    save = functools.partial(_encoded, form="JPEG", quality=95)
    yield Case("JPEG, 4:4:4", "jpg", save(image, subsampling=0), LOSSY)
    yield Case("JPEG, 4:2:0", "jpg", save(image, subsampling=2), LOSSY)
    yield Case("JPEG, progressive", "jpg", save(image, progressive=True), LOSSY)
    yield Case("JPEG, gray", "jpg", save(image.convert("L")), LOSSY)
    yield Case("JPEG, CMYK", "jpg", save(image.convert("CMYK")), LOSSY)
    yield Case("JPEG, restart markers", "jpg", save(image, restart_marker_blocks=1), LOSSY)
    yield Case("JPEG, components R, G and B", "jpg", save(image, keep_rgb=True), LOSSY)
    yield Case(
        "JPEG, two pictures (MPO)",
        "jpg",
        _encoded(image, "MPO", quality=95, save_all=True, append_images=[image.rotate(180)]),
        LOSSY,
    )
    jpeg = save(image, subsampling=0)
    for name, profile in (
        ("sRGB", rgb_profile()),
        ("Display P3", rgb_profile(DISPLAY_P3)),
        ("Adobe RGB", rgb_profile(ADOBE_RGB, 2.2)),
        ("ProPhoto", rgb_profile(PROPHOTO, 1.8)),
    ):
        yield Case(f"JPEG, profile {name}", "jpg", save(image, icc_profile=profile, subsampling=0), LOSSY)
    gray_photograph = save(image.convert("L"), icc_profile=rgb_profile(PROPHOTO, 1.8))
    yield Case("JPEG, gray, profile ProPhoto", "jpg", gray_photograph, ROUNDED)
    yield Case("JPEG, gray, gamma 1", "jpg", save(image.convert("L"), icc_profile=gray_profile(1.0)), LOSSY)
    yield Case(
        "JPEG, CMYK, a profile of CMYK", "jpg", save(image.convert("CMYK"), icc_profile=cmyk_profile()), 3
    )
    whole = rgb_profile(PROPHOTO, 1.8)
    first, second = (
        _segment(0xE2, b"ICC_PROFILE\0" + bytes((number, 2)) + part)
        for number, part in ((1, whole[:200]), (2, whole[200:]))
    )
    yield Case("JPEG, a profile in two pieces", "jpg", _with_segments(jpeg, second, first), LOSSY)
    yield Case("JPEG, half a profile", "jpg", _with_segments(jpeg, second), LOSSY)
    broken = b"ICC_PROFILE\0\1\1" + whole[:60] + bytes(90)
    yield Case("JPEG, a damaged profile", "jpg", _with_segments(jpeg, _segment(0xE2, broken)), LOSSY)
    cmyk = _segment(0xE2, b"ICC_PROFILE\0\1\1" + cmyk_profile())
    yield Case("JPEG, RGB, a profile of CMYK", "jpg", _with_segments(jpeg, cmyk), LOSSY)


def exif(*entries: tuple[int, int, int, int | bytes], tail: bytes = b"", order: str = "<") -> bytes:
    """EXIF data of one directory.

    Args:
        entries: Tag, type, count, and the value or its place, as a number or four bytes.
        tail: What follows the directory.
        order: "<" for little-endian, ">" for big-endian.
    """
    start = b"II*\0" if order == "<" else b"MM\0*"
    content = start + struct.pack(f"{order}IH", 8, len(entries))
    for tag, kind, count, value in entries:
        content += struct.pack(f"{order}HHI", tag, kind, count)
        content += value if isinstance(value, bytes) else struct.pack(f"{order}I", value)
    return content + bytes(4) + tail


TURN = (274, 3, 1, 6)
# EXIF data whose orientation is good, and of which something else is not.
FAULTY_EXIF: dict[str, bytes] = {
    "the maker is a number": exif((271, 3, 1, 7), TURN),
    "the model is of an unknown type": exif((272, 99, 4, 1), TURN),
    "the resolution is a text": exif(TURN, (282, 2, 4, b"abc\0")),
    "the resolution is divided by zero": exif(TURN, (282, 5, 1, 38), tail=bytes(8)),
    "the resolution is a float": exif(TURN, (282, 11, 1, struct.pack("<f", 72))),
    "the date is a fraction": exif(TURN, (306, 5, 1, 38), tail=struct.pack("<II", 1, 3)),
    "a text is far beyond the end": exif(TURN, (305, 2, 50, 2**31)),
    "a text of 4 GB": exif(TURN, (305, 2, 2**32 - 1, 2**32 - 1)),
    "a text that is not UTF-8": exif(TURN, (315, 2, 4, b"\xff\xfe\x80\0")),
    "the EXIF directory is itself": exif(TURN, (34665, 4, 1, 8)),
    "the EXIF directory is a text": exif(TURN, (34665, 2, 4, b"abc\0")),
    "the GPS directory is nowhere": exif(TURN, (34853, 4, 1, 2**31)),
    "a broken maker's note": exif(
        TURN, (34665, 4, 1, 38), tail=struct.pack("<HHHII", 1, 37500, 7, 500, 2**31) + b"Nikon\0\2\xff" * 9
    ),
    "a comment of the wrong type": exif(TURN, (37510, 5, 9, 4)),
    "a broken thumbnail": exif(TURN, (513, 4, 1, 2**31), (514, 4, 1, 2**31)),
    "a second directory that is nowhere": exif(TURN)[:-4] + struct.pack("<I", 2**31),
    "fewer entries than it says": exif(TURN).replace(b"\1\0\x12\1", b"\x09\0\x12\1"),
    "1,000 copyrights": exif(TURN, (33432, 3, 1000, 0)),
    "the software is a signed number": exif(TURN, (305, 9, 1, 2**31)),
    "entries in the wrong order": exif((700, 1, 1, 0), (305, 2, 1, 0), TURN, (1, 2, 1, 0)),
}


def _jpeg_metadata() -> Iterator[Case]:
    jpeg = _encoded(colors(), "JPEG", quality=95, subsampling=0)
    for orientation in range(1, 9):
        data = _segment(0xE1, b"Exif\0\0" + exif((274, 3, 1, orientation)))
        yield Case(f"JPEG, orientation {orientation}", "jpg", _with_segments(jpeg, data), LOSSY)
    big = exif((274, 3, 1, struct.pack(">HH", 8, 0)), order=">")
    yield Case("JPEG, big-endian EXIF", "jpg", _with_segments(jpeg, _segment(0xE1, b"Exif\0\0" + big)), LOSSY)
    for name, data in FAULTY_EXIF.items():
        content = _with_segments(jpeg, _segment(0xE1, b"Exif\0\0" + data))
        yield Case(f"JPEG, EXIF: {name}", "jpg", content, LOSSY)
    segments = {
        "a broken index of pictures": _segment(
            0xE2, b"MPF\0" + exif((45056, 7, 4, 0), (45057, 4, 1, 999), (45058, 7, 16, 2**31))
        ),
        "broken Photoshop data": _segment(0xED, b"Photoshop 3.0\x008BIM" + bytes(3) + b"abc"),
        "a broken preview (JFXX)": _segment(0xE0, b"JFXX\0\x10\xff\xd8\xff"),
        "an unknown segment": _segment(0xEB, b"unknown" * 99),
        "100 comments": _segment(0xFE, b"<b>comment" * 50) * 100,
        "XMP that is not XML": _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta \xff"),
    }
    for name, data in segments.items():
        yield Case(f"JPEG, {name}", "jpg", _with_segments(jpeg, data), LOSSY)
    yield Case("JPEG, a film behind it", "jpg", jpeg + b"\0\0\0\x18ftypmp42" + bytes(999), LOSSY)


# --- PNG ----------------------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples: np.ndarray, depth: int, color: int, *chunks: bytes, after: bytes = b"") -> bytes:
    """A PNG file.

    Args:
        samples: (height, width) or (height, width, channels), from 0 to 2**depth - 1.
        depth: The number of bits of a sample.
        color: The color type.
        chunks: Chunks between the header and the pixels.
        after: Chunks between the pixels and the end.
    """
    height, width = samples.shape[:2]
    rows = samples.reshape(height, -1)
    if depth == 16:
        packed = rows.astype(">u2").view(np.uint8)
    elif depth == 8:
        packed = rows.astype(np.uint8)
    else:
        bits = np.unpackbits(rows.astype(np.uint8)[..., None], axis=-1)[..., -depth:]
        packed = np.packbits(bits.reshape(height, -1), axis=-1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    pixels = chunk(b"IDAT", data[: len(data) // 2]) + chunk(b"IDAT", data[len(data) // 2 :])
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + after + chunk(b"IEND", b"")


def _png() -> Iterator[Case]:
    for depth in (1, 2, 4, 8, 16):
        top = 2**depth - 1
        samples = gray(top).round().astype(int)
        yield Case(f"PNG, gray of {depth} bits", "png", png(samples, depth, 0), ROUNDED)
        clear = chunk(b"tRNS", struct.pack(">H", samples[9, 9]))
        yield Case(f"PNG, gray of {depth} bits with tRNS", "png", png(samples, depth, 0, clear), ROUNDED)
    for depth in (1, 2, 4, 8):
        count = 2**depth
        indices = gray(count - 1).round().astype(int)
        places = np.linspace(0, HEIGHT * WIDTH - 1, count).astype(int)
        palette = chunk(b"PLTE", colors().reshape(-1, 3)[places].tobytes())
        clear = chunk(b"tRNS", bytes(np.linspace(0, 255, count).astype(np.uint8)))
        yield Case(f"PNG, palette of {count}", "png", png(indices, depth, 3, palette), EXACT)
        yield Case(
            f"PNG, palette of {count} with tRNS", "png", png(indices, depth, 3, palette, clear), ROUNDED
        )
    rgb = colors()
    deep = rgb.astype(int) * 257
    blocks = np.repeat(np.repeat(rgb[::8, ::8], 8, 0), 8, 1)
    color = blocks[10, 10].astype(int)
    clear = chunk(b"tRNS", struct.pack(">3H", *color))
    yield Case("PNG, RGB", "png", png(rgb, 8, 2), EXACT)
    yield Case("PNG, RGB with tRNS", "png", png(blocks, 8, 2, clear), EXACT)
    yield Case("PNG, RGB of 16 bits", "png", png(deep, 16, 2), ROUNDED)
    clear = chunk(b"tRNS", struct.pack(">3H", *(257 * color)))
    yield Case("PNG, RGB of 16 bits with tRNS", "png", png(blocks.astype(int) * 257, 16, 2, clear), ROUNDED)
    alpha = gray()[::-1].round().astype(int)[..., None]
    yield Case("PNG, RGBA", "png", png(np.concatenate([rgb, alpha], -1), 8, 6), ROUNDED)
    yield Case("PNG, RGBA of 16 bits", "png", png(np.concatenate([deep, 257 * alpha], -1), 16, 6), ROUNDED)
    luminance = gray().round().astype(int)[..., None]
    yield Case("PNG, gray with alpha", "png", png(np.concatenate([luminance, alpha], -1), 8, 4), ROUNDED)
    both = np.concatenate([257 * luminance, 257 * alpha], -1)
    yield Case("PNG, gray of 16 bits with alpha", "png", png(both, 16, 4), ROUNDED)
    frames = {"save_all": True, "append_images": [Image.new("RGB", (WIDTH, HEIGHT), "blue")]}
    yield Case("PNG, animated", "png", _encoded(rgb, "PNG", **frames), EXACT)


def profile_chunk(profile: bytes) -> bytes:
    """A PNG chunk with an ICC profile."""
    return chunk(b"iCCP", b"test\0\0" + zlib.compress(profile))


def _png_metadata() -> Iterator[Case]:
    rgb = colors()
    wide = profile_chunk(rgb_profile(PROPHOTO, 1.8))
    alpha = gray()[::-1].round().astype(int)[..., None]
    yield Case("PNG, profile ProPhoto", "png", png(rgb, 8, 2, wide), 1)
    yield Case("PNG, RGBA, profile ProPhoto", "png", png(np.concatenate([rgb, alpha], -1), 8, 6, wide), 1)
    yield Case("PNG, profile Display P3", "png", png(rgb, 8, 2, profile_chunk(rgb_profile(DISPLAY_P3))), 1)
    indices = gray(255).round().astype(int)
    palette = chunk(b"PLTE", rgb.reshape(-1, 3)[:: HEIGHT * WIDTH // 256][:256].tobytes())
    yield Case("PNG, palette, profile ProPhoto", "png", png(indices, 8, 3, wide, palette), 1)
    yield Case("PNG, gray, gamma 1", "png", png(indices, 8, 0, profile_chunk(gray_profile(1.0))), 1)
    large = rgb_profile(PROPHOTO, 1.8)
    large = struct.pack(">I", 2_000_000) + large[4:].ljust(1_999_996, b"\0")
    chunks = {
        "2 MB of text": chunk(b"tEXt", b"Comment\0" + b"x" * 2_000_000),
        "2 MB of packed text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2_000_000))),
        "100 MB of packed text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000))),
        "80 texts of 1 MB": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1_000_000))) * 80,
        "2 MB of international text": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(2_000_000))),
        "a text that cannot be unpacked": chunk(b"zTXt", b"Comment\0\0not packed"),
        "a text with a wrong checksum": chunk(b"tEXt", b"Comment\0abc")[:-1] + b"\0",
        "a text without a name": chunk(b"tEXt", b""),
        "a profile of 2 MB": profile_chunk(large),
        "a profile that cannot be unpacked": chunk(b"iCCP", b"test\0\0not packed"),
        "a profile that is none": profile_chunk(b"not a profile" * 20),
        "a profile of gray": profile_chunk(gray_profile(1.0)),
        "a resolution with a wrong checksum": chunk(b"pHYs", bytes(9))[:-1] + b"\0",
        "a resolution that is too short": chunk(b"pHYs", bytes(3)),
        "a gamma that is too short": chunk(b"gAMA", b"\0"),
        "primaries that are too short": chunk(b"cHRM", b"\0"),
        "an unknown chunk": chunk(b"abCd", b"x" * 99),
        "orientation 6": chunk(b"eXIf", exif(TURN)),
        "orientation 6 beside a faulty entry": chunk(b"eXIf", FAULTY_EXIF["the resolution is a text"]),
        "a broken EXIF": chunk(b"eXIf", b"MM\0\x2a\0\0\0\x08\xff\xff" + bytes(50)),
        "transparency with a wrong checksum": chunk(b"tRNS", bytes(rgb[0, 0].astype(">u2").data))[:-1]
        + b"\0",
    }
    for name, more in chunks.items():
        yield Case(f"PNG, {name}", "png", png(rgb, 8, 2, more), 1 if name == "a profile of 2 MB" else EXACT)
    yield from _png_colors()
    late = (
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2_000_000))) + chunk(b"tEXt", b"ab")[:-1] + b"\0"
    )
    yield Case("PNG, damaged texts behind the pixels", "png", png(rgb, 8, 2, after=late), EXACT)


def color_chunks(gamma: int = 0, xy: tuple[int, ...] = (), code: tuple[int, ...] = ()) -> bytes:
    """The chunks of a PNG that tell the colors by numbers.

    Args:
        gamma: The gamma in units of 1/100,000; 0 for none.
        xy: The x and y of white, red, green and blue in such units; empty for none.
        code: The numbers of ITU-T H.273; empty for none.
    """
    chunks = chunk(b"gAMA", struct.pack(">I", gamma)) if gamma else b""
    chunks += chunk(b"cHRM", struct.pack(">8I", *xy)) if xy else b""
    return chunks + (chunk(b"cICP", bytes(code)) if code else b"")


# The x and y of sRGB and of Display P3, as cHRM has them.
SRGB_XY = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_XY = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


def _png_colors() -> Iterator[Case]:
    rgb = colors()
    indices = gray().round().astype(int)
    palette = chunk(b"PLTE", rgb.reshape(-1, 3)[:: HEIGHT * WIDTH // 256][:256].tobytes())
    linear = color_chunks(100_000)
    p3 = color_chunks(45455, P3_XY)
    wide = profile_chunk(rgb_profile(PROPHOTO, 1.8))
    srgb = chunk(b"sRGB", b"\0")
    for name, chunks in {
        "gamma 1": linear,
        "gamma 1/1.8": color_chunks(55556),
        "gamma 1 of a wrong checksum": linear[:-1] + b"\0",
        "gamma 1 and sRGB": linear + srgb,
        "gamma zero": chunk(b"gAMA", bytes(4)),
        "primaries without a gamma": color_chunks(xy=P3_XY),
        "primaries of Display P3": p3,
        "primaries of Display P3, twice": p3 + color_chunks(45455, SRGB_XY),
        "primaries of Display P3 and a profile": p3 + profile_chunk(rgb_profile()),
        "primaries that are zero": color_chunks(45455, (0,) * 8),
        "primaries on a line": color_chunks(45455, (31270, 32900) + (30000, 30000) * 3),
        "primaries beyond measure": color_chunks(45455, (2**31 - 1,) * 8),
        "the code of sRGB and a profile": color_chunks(code=(1, 13, 0, 1)) + wide,
        "the code of Display P3": color_chunks(code=(12, 13, 0, 1)),
        "the code of Display P3 and sRGB": color_chunks(code=(12, 13, 0, 1)) + srgb,
        "the code of BT.709": color_chunks(code=(1, 1, 0, 1)),
        "the code of BT.2020": color_chunks(code=(9, 14, 0, 1)),
        "the code of linear light": color_chunks(code=(1, 8, 0, 1)),
        "the code of nothing": color_chunks(code=(2, 2, 0, 1)),
        "the code of a part of the range": color_chunks(code=(12, 13, 0, 0)),
        "half a code": color_chunks(code=(12, 13)),
        **{f"the code of {name}": color_chunks(code=(*code, 0, 1)) for name, code in HDR_CODES.items()},
        "the code of PQ and a profile": color_chunks(code=(9, 16, 0, 1)) + wide,
    }.items():
        yield Case(f"PNG, {name}", "png", png(rgb, 8, 2, chunks), ROUNDED)
    alpha = np.concatenate([rgb, gray()[::-1].round().astype(int)[..., None]], -1)
    yield Case("PNG, gray, gamma 1 by gAMA", "png", png(indices, 8, 0, linear), ROUNDED)
    yield Case("PNG, gray of 16 bits, gamma 1 by gAMA", "png", png(257 * indices, 16, 0, linear), ROUNDED)
    yield Case("PNG, palette, gamma 1", "png", png(indices, 8, 3, linear, palette), ROUNDED)
    yield Case("PNG, RGB of 16 bits, gamma 1", "png", png(rgb.astype(int) * 257, 16, 2, linear), ROUNDED)
    yield Case("PNG, RGBA, gamma 1", "png", png(alpha, 8, 6, linear), ROUNDED)
    yield Case("PNG, gray, profile ProPhoto", "png", png(indices, 8, 0, wide), ROUNDED)
    bright = color_chunks(code=(9, 18, 0, 1))
    yield Case("PNG, gray, the code of HLG", "png", png(indices, 8, 0, bright), ROUNDED)
    yield Case("PNG, RGBA, the code of HLG", "png", png(alpha, 8, 6, bright), ROUNDED)
    yield Case("PNG, colors behind the pixels", "png", png(rgb, 8, 2, after=linear + wide), EXACT)
    # Chromium shows the gamma 2.2 instead of sRGB's curve; programs mean sRGB with these numbers.
    for gamma in (45000, 45455, 45500):
        content = png(rgb, 8, 2, color_chunks(gamma, SRGB_XY))
        yield Case(f"PNG, gamma {gamma} and primaries of sRGB", "png", content, EXACT, rgb)


# --- other formats of browsers ------------------------------------------------------------------------------


def _other_browser_formats() -> Iterator[Case]:
    rgb = colors()
    rgba = np.concatenate([rgb, gray()[::-1].round().astype(np.uint8)[..., None]], -1)
    wide = rgb_profile(PROPHOTO, 1.8)
    palette = Image.fromarray(rgb).quantize(64)
    moving = {"save_all": True, "append_images": [Image.new("RGB", (WIDTH, HEIGHT), "blue")]}
    yield Case("WEBP", "webp", _encoded(rgb, "WEBP", quality=95), LOSSY)
    yield Case("WEBP, lossless", "webp", _encoded(rgb, "WEBP", lossless=True), EXACT)
    yield Case("WEBP, RGBA", "webp", _encoded(rgba, "WEBP", lossless=True), ROUNDED)
    yield Case("WEBP, animated", "webp", _encoded(rgb, "WEBP", lossless=True, **moving), EXACT)
    yield Case("WEBP, profile ProPhoto", "webp", _encoded(rgb, "WEBP", lossless=True, icc_profile=wide), 1)
    # Chromium does not turn WEBP files, but Firefox and Safari do.
    faulty = _encoded(rgb, "WEBP", lossless=True, exif=b"Exif\0\0" + FAULTY_EXIF["the resolution is a text"])
    yield Case("WEBP, orientation 6 beside a faulty entry", "webp", faulty, EXACT, np.rot90(rgb, -1))
    yield Case("GIF", "gif", _encoded(palette, "GIF"), EXACT)
    yield Case("GIF, transparent", "gif", _encoded(palette, "GIF", transparency=20), EXACT)
    yield Case("GIF, a first frame smaller than the screen", "gif", _framed_gif(), EXACT)
    interlaced = _encoded(palette, "GIF", interlace=True)
    yield Case("GIF, interlaced", "gif", interlaced, EXACT)
    clear = {"save_all": True, "append_images": [Image.fromarray(rgba)]}
    for form in ("GIF", "WEBP", "AVIF", "PNG"):
        moved = _encoded(Image.new("RGBA", (WIDTH, HEIGHT), (255, 0, 0, 0)), form, **clear)
        yield Case(f"{form}, animated, clear at first", form.lower(), moved, EXACT)
    yield Case("GIF, animated", "gif", _encoded(palette, "GIF", **moving), EXACT)
    yield Case("BMP", "bmp", _encoded(rgb, "BMP"), EXACT)
    yield Case("BMP, palette", "bmp", _encoded(palette, "BMP"), EXACT)
    yield Case("BMP, 1 bit", "bmp", _encoded(Image.fromarray(rgb).convert("1"), "BMP"), EXACT)
    blue, green, red = np.moveaxis(rgb[::-1, :, ::-1].astype("<u4"), -1, 0)
    alpha = rgba[::-1, :, 3].astype("<u4")
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    bits = alpha << 24 | red << 16 | green << 8 | blue
    yield Case("BMP, RGBA", "bmp", _bmp(bits, 32, *masks), ROUNDED)
    # Chromium 150 shows the colors, as programs for pictures do, and Chromium 156 nothing.
    yield Case("BMP, RGBA, alpha zero", "bmp", _bmp(bits & 0xFFFFFF, 32, *masks), EXACT, rgb)
    bits = red << 24 | green << 16 | blue << 8 | alpha
    masks = (0xFF000000, 0xFF0000, 0xFF00, 0xFF)
    yield Case("BMP, RGBA, alpha last", "bmp", _bmp(bits, 32, *masks), ROUNDED)
    bits = (red >> 3 << 11 | green >> 2 << 5 | blue >> 3).astype("<u2")
    yield Case("BMP, 16 bits", "bmp", _bmp(bits, 16, 0xF800, 0x7E0, 0x1F), 1)
    four = (alpha >> 4 << 12 | red >> 4 << 8 | green >> 4 << 4 | blue >> 4).astype("<u2")
    masks = (0xF00, 0xF0, 0xF)
    yield Case("BMP, 4 bits a color", "bmp", _bmp(four, 16, *masks), EXACT)
    yield Case("BMP, 4 bits a color, alpha", "bmp", _bmp(four, 16, *masks, 0xF000), EXACT)
    upside_down = _bmp(four[::-1], 16, *masks)
    upside_down = upside_down[:22] + struct.pack("<i", -HEIGHT) + upside_down[26:]
    yield Case("BMP, 4 bits a color, from the top", "bmp", upside_down, EXACT)
    odd = _bmp(four, 16, *masks)
    odd = odd[:18] + struct.pack("<i", WIDTH - 1) + odd[22:]
    yield Case("BMP, 4 bits a color, an odd width", "bmp", odd, EXACT)
    bits = (alpha >> 7 << 15 | red >> 3 << 10 | green >> 3 << 5 | blue >> 3).astype("<u2")
    yield Case("BMP, 5 bits a color, 1 of alpha", "bmp", _bmp(bits, 16, 0x7C00, 0x3E0, 0x1F, 0x8000), EXACT)
    deep = [value.astype("<u4") * 1023 // 255 for value in (red, green, blue)]
    bits = deep[0] << 20 | deep[1] << 10 | deep[2]
    yield Case("BMP, 10 bits a color", "bmp", _bmp(bits, 32, 0x3FF00000, 0xFFC00, 0x3FF), EXACT)
    profiled = with_profile(_bmp(bits, 32, 0x3FF00000, 0xFFC00, 0x3FF), wide)
    yield Case("BMP, 10 bits a color, profile ProPhoto", "bmp", profiled, 1)
    yield Case("BMP, profile ProPhoto", "bmp", with_profile(_encoded(rgb, "BMP"), wide), 1)
    yield Case("BMP, palette, profile ProPhoto", "bmp", with_profile(_encoded(palette, "BMP"), wide), 1)
    damaged = with_profile(_encoded(rgb, "BMP"), wide[:100])
    yield Case("BMP, a damaged profile", "bmp", damaged, EXACT, rgb)
    bits = blue << 16 | green << 8 | red
    yield Case("BMP, blue first", "bmp", _bmp(bits, 32, 0xFF, 0xFF00, 0xFF0000), EXACT)
    avif = functools.partial(_encoded, form="AVIF", quality=95, subsampling="4:4:4")
    yield Case("AVIF", "avif", avif(rgb), LOSSY)
    # Chromium 156 takes this alpha, from 0 to 255, for one from 16 to 235.
    yield Case("AVIF, RGBA", "avif", avif(rgba), LOSSY, _on_white(rgb, rgba[..., 3]))
    yield Case("AVIF, orientation 6", "avif", avif(rgb, exif=exif(TURN)), LOSSY)
    for name, code in (
        ("Display P3", (12, 13)),
        ("BT.2020", (9, 14)),
        ("linear light", (2, 8)),
        ("video", (1, 1)),
        *HDR_CODES.items(),
    ):
        yield Case(f"AVIF, the code of {name}", "avif", with_code(avif(rgb), *code), LOSSY)
    grays = avif(gray().astype(np.uint8), icc_profile=wide)
    yield Case("AVIF, gray, profile ProPhoto", "avif", grays, LOSSY)
    yield Case("AVIF, profile ProPhoto", "avif", avif(rgb, icc_profile=wide), LOSSY)


def with_code(content: bytes, primaries: int, transfer: int) -> bytes:
    """An AVIF or HEIF file with other numbers of ITU-T H.273."""
    place = content.index(b"colrnclx") + 8
    return content[:place] + struct.pack(">HH", primaries, transfer) + content[place + 4 :]


def with_profile(bmp: bytes, profile: bytes) -> bytes:
    """A BMP with an embedded profile, which takes a header of version 5."""
    (start,) = struct.unpack_from("<I", bmp, 10)
    (size,) = struct.unpack_from("<I", bmp, 14)
    pixels = bmp[start:]
    # Sizes, compression and masks; the color space; then a palette, which the pixels' place is behind.
    header = struct.pack("<I", 124) + bmp[18 : 14 + min(size, 56)].ljust(52, b"\0") + b"DEBM"
    palette = bmp[14 + size : start]
    place = len(header) + 48 + 16 + len(palette)
    header += bytes(48) + struct.pack("<4I", 4, place + len(pixels), len(profile), 0)
    total = 14 + place + len(pixels) + len(profile)
    return struct.pack("<2sIHHI", b"BM", total, 0, 0, 14 + place) + header + palette + pixels + profile


def _framed_gif() -> bytes:
    """A GIF of 80 x 60 pixels whose only frame begins at (10, 12)."""
    content = bytearray(_encoded(Image.fromarray(colors()).quantize(64), "GIF"))
    frame = content.index(struct.pack("<BHHHH", 0x2C, 0, 0, WIDTH, HEIGHT))
    content[6:10] = struct.pack("<HH", 80, 60)
    content[frame + 1 : frame + 5] = struct.pack("<HH", 10, 12)
    return bytes(content)


def _bmp(pixels: np.ndarray, depth: int, *masks: int) -> bytes:
    """A BMP of version 4 with bit masks.

    Args:
        pixels: (height, width), from bottom to top.
        depth: The number of bits of a pixel.
        masks: The bits of red, green, blue and alpha.
    """
    height, width = pixels.shape
    sizes = (len(pixels.tobytes()), 2835, 2835, 0, 0)
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, depth, 3, *sizes)
    header = (header + struct.pack(f"<{len(masks)}I", *masks)).ljust(108, b"\0")
    start = struct.pack("<2sIHHI", b"BM", 14 + len(header) + sizes[0], 0, 0, 14 + len(header))
    return start + header + pixels.tobytes()


# --- TIFF ---------------------------------------------------------------------------------------------------


def tiff(
    samples: np.ndarray,
    photometric: int,
    *,
    separate: bool = False,
    deflate: bool = False,
    **tags: int | tuple | bytes,
) -> bytes:
    """A little-endian TIFF of one strip.

    Args:
        samples: (height, width) or (height, width, channels), of the numbers' type in the file.
        photometric: The photometric interpretation.
        separate: Whether each channel is a strip of its own, not compressed.
        deflate: Whether the strip is compressed.
        tags: More tags, or other values, by names such as `t281`: a number, numbers of 16 bits, or bytes.
    """
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    planes = np.moveaxis(samples, -1, 0) if separate else samples[None]
    strips = [zlib.compress(plane.tobytes()) if deflate else plane.tobytes() for plane in planes]
    formats = {"u": 1, "i": 2, "f": 3}
    found: dict[int, int | tuple | bytes] = {
        256: width,
        257: height,
        258: (8 * samples.itemsize,) * channels,
        259: 8 if deflate else 1,
        262: photometric,
        277: channels,
        278: height,
        279: struct.pack(f"<{len(strips)}I", *map(len, strips)),
        284: (2,) if separate else (1,),
        339: (formats[samples.dtype.kind],) * channels,
    }
    found |= {int(name[1:]): value for name, value in tags.items()}
    place = 8 + len(_directory(found | {273: bytes(4 * len(strips))}))
    places = [place + sum(map(len, strips[:number])) for number in range(len(strips))]
    directory = _directory(found | {273: struct.pack(f"<{len(strips)}I", *places)})
    return b"II*\0" + struct.pack("<I", 8) + directory + b"".join(strips)


def _directory(tags: dict[int, int | tuple | bytes]) -> bytes:
    """A TIFF directory at place 8 of its file, with the values that it points to."""
    tail_place = 8 + 2 + 12 * len(tags) + 4
    entries = tail = b""
    for tag, value in sorted(tags.items()):
        if isinstance(value, int):
            kind, count, packed = 4, 1, struct.pack("<I", value)
        elif isinstance(value, tuple):
            kind, count, packed = 3, len(value), struct.pack(f"<{len(value)}H", *value)
        elif tag in (273, 279):
            kind, count, packed = 4, len(value) // 4, value
        else:
            kind, count, packed = 7, len(value), value
        if len(packed) > 4:
            packed, tail = struct.pack("<I", tail_place + len(tail)), tail + packed + bytes(len(packed) % 2)
        entries += struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0")
    return struct.pack("<H", len(tags)) + entries + bytes(4) + tail


def _twelve_bits(values: np.ndarray) -> np.ndarray:
    """Values of 12 bits, two in three bytes: (height, width * 3 / 2) uint8."""
    first, second = values[:, ::2].astype(int), values[:, 1::2].astype(int)
    packed = np.stack([first >> 4, ((first & 15) << 4) | (second >> 8), second & 255], axis=-1)
    return packed.reshape(len(values), -1).astype(np.uint8)


def _tiff() -> Iterator[Case]:
    rgb = colors()
    ramp = _as_rgb(gray())
    save = functools.partial(_encoded, rgb, "TIFF")

    def case(name, content, tolerance, expected):
        return Case(f"TIFF, {name}", "tif", content, tolerance, expected)

    yield case("RGB", tiff(rgb, 2), EXACT, rgb)
    yield case("LZW", save(compression="tiff_lzw"), EXACT, rgb)
    yield case("deflate", save(compression="tiff_adobe_deflate"), EXACT, rgb)
    yield case("JPEG inside", save(compression="jpeg", quality=95), 3, rgb)
    bits = rgb[..., 0] > 128
    yield case(
        "1 bit, fax",
        _encoded(Image.fromarray(bits), "TIFF", compression="group4"),
        EXACT,
        _as_rgb(255 * bits),
    )
    yield case("RGB of 16 bits", tiff(rgb.astype("<u2") * 257, 2), ROUNDED, rgb)
    yield case("gray, white is zero", tiff(255 - gray().astype("u1"), 0), EXACT, _as_rgb(gray().astype("u1")))
    yield case("gray of 16 bits", tiff(gray(65535).astype("<u2"), 1), ROUNDED, ramp)
    yield case("gray of 16 bits, white is zero", tiff(65535 - gray(65535).astype("<u2"), 0), ROUNDED, ramp)
    yield case("12 bits in 16", tiff(gray(4095).astype("<u2"), 1), ROUNDED, ramp)
    declared = tiff(gray(1023).astype("<u2"), 1, t281=(1023,))
    yield case("10 bits in 16, declared", declared, ROUNDED, ramp)
    declared = tiff(gray(2000).astype("<u2"), 1, t281=(4095,))
    yield case("12 bits in 16, declared, dark", declared, ROUNDED, ramp * 2000 / 4095)
    packed = tiff(_twelve_bits(gray(4095)), 1, t256=WIDTH, t258=(12,))
    yield case("12 bits, packed", packed, ROUNDED, ramp)
    for bits in (8, 10, 12, 14):
        deep = (rgb / 255 * (2**bits - 1)).round().astype("<u2")
        yield case(f"RGB of {bits} bits in 16", tiff(deep, 2), ROUNDED, rgb)
        yield case(f"gray of {bits} bits in 16", tiff(gray(2**bits - 1).astype("<u2"), 1), ROUNDED, ramp)
    twelve = (rgb / 255 * 4095).round().astype("<u2")
    yield case("RGB of 12 bits in 16, deflate", tiff(twelve, 2, deflate=True), ROUNDED, rgb)
    yield case("RGB of 12 bits in 16, separate planes", tiff(twelve, 2, separate=True), ROUNDED, rgb)
    yield case("RGB of 12 bits in 16, orientation 6", tiff(twelve, 2, t274=(6,)), ROUNDED, np.rot90(rgb, -1))
    dark = tiff(twelve // 4, 2, t281=(4095,) * 3)
    yield case("RGB of 12 bits in 16, declared, dark", dark, ROUNDED, rgb / 4)
    yield case("RGB of 16 bits, black", tiff(0 * twelve, 2), EXACT, 0 * rgb)
    whole = rgb.astype("<u2") * 257
    yield case("RGB of 16 bits, deflate", tiff(whole, 2, deflate=True), ROUNDED, rgb)
    yield case("RGB, separate planes", tiff(rgb, 2, separate=True), EXACT, rgb)
    yield case("RGB of 16 bits, separate planes", tiff(whole, 2, separate=True), ROUNDED, rgb)
    yield case("8 bits in 16", tiff(gray(255).astype("<u2"), 1), ROUNDED, ramp)
    yield case("signed 16 bits", tiff(gray(32767).astype("<i2"), 1), ROUNDED, ramp)
    yield case("12 bits in signed 16", tiff(gray(4095).astype("<i2"), 1), ROUNDED, ramp)
    yield case("signed 8 bits", tiff(gray(127).round().astype("i1"), 1), 1, ramp)
    yield case("signed 8 bits, dark", tiff(gray(30).round().astype("i1"), 1), 1, ramp * 30 / 127)
    around = (gray(200) - 100).astype("i1")
    yield case("signed 8 bits around zero", tiff(around, 1), 1, ramp)
    around = (gray(60000) - 30000).astype("<i2")
    yield case("signed 16 bits around zero", tiff(around, 1), ROUNDED, ramp)
    yield case("signed 32 bits", tiff(gray(2**31 - 1).astype("<i4"), 1), ROUNDED, ramp)
    yield case("signed 32 bits around zero", tiff((gray(4e9) - 2e9).astype("<i4"), 1), ROUNDED, ramp)
    yield case("unsigned 32 bits", tiff(gray(2**32 - 1).astype("<u4"), 1), ROUNDED, ramp)
    yield case("16 bits in 32", tiff(gray(65535).astype("<i4"), 1), ROUNDED, ramp)
    yield case("8 bits in 32", tiff(gray(255).astype("<i4"), 1), ROUNDED, ramp)
    yield case("floats from 0 to 1", tiff(gray(1).astype("<f4"), 1), ROUNDED, ramp)
    yield case("floats from 0 to 255", tiff(gray(255).astype("<f4"), 1), ROUNDED, ramp)
    yield case("floats from 0 to 65535", tiff(gray(65535).astype("<f4"), 1), ROUNDED, ramp)
    yield case("floats from -1 to 1", tiff((gray(2) - 1).astype("<f4"), 1), ROUNDED, ramp)
    odd = gray(1).astype("<f4")
    odd[0, 0], odd[-1, -1] = np.nan, np.inf
    expected = _as_rgb(255 * np.nan_to_num(odd, posinf=1))
    yield case("floats with NaN and infinity", tiff(odd, 1), 1, expected)
    cmyk = np.asarray(Image.fromarray(rgb).convert("CMYK"))
    yield case("CMYK", tiff(cmyk, 5), 1, 255 - cmyk[..., :3].astype(float))
    turned = np.rot90(rgb, -1)
    yield case("orientation 6", tiff(rgb, 2, t274=(6,)), EXACT, turned)
    yield case("orientation 6, LZW", save(compression="tiff_lzw", tiffinfo={274: 6}), EXACT, turned)
    yield case("orientation 6, a maker of the wrong type", tiff(rgb, 2, t271=7, t274=(6,)), EXACT, turned)
    text = tiff(rgb, 2, t274=(6,), t282=b"abcd", t305=(1, 2, 3), t34665=2**31 - 1)
    yield case("orientation 6, faulty tags", text, EXACT, turned)
    deep = tiff(
        gray(4095).astype("<u2"), 1, t274=(6,), t271=7, t282=b"abcd", t305=(1, 2, 3), t34665=2**31 - 1
    )
    yield case("12 bits in 16, orientation 6, faulty tags", deep, ROUNDED, np.rot90(ramp, -1))
    wide = rgb_profile(PROPHOTO, 1.8)
    converted = to_srgb(rgb, PROPHOTO, round(256 * 1.8) / 256)
    yield case("profile ProPhoto", tiff(rgb, 2, t34675=wide), ROUNDED, converted)
    yield case("a damaged profile", tiff(rgb, 2, t34675=wide[:100]), EXACT, rgb)
    alpha = gray()[::-1].round().astype(np.uint8)
    over = _on_white(rgb, alpha)
    content = tiff(np.concatenate([rgb, alpha[..., None]], -1), 2, t338=(2,))
    yield case("RGBA", content, 1, over)
    for bits, top in (("12 bits in 16", 4095), ("16 bits", 65535), ("12 bits in 16, separate planes", 4095)):
        deep = (np.concatenate([rgb, alpha[..., None]], -1) / 255 * top).round().astype("<u2")
        content = tiff(deep, 2, t338=(2,), separate=bits.endswith("planes"))
        yield case(f"RGBA of {bits}", content, 1, over)


def _netpbm() -> Iterator[Case]:
    rgb = colors()
    ramp = _as_rgb(gray())
    header = f"{WIDTH} {HEIGHT}\n".encode()
    yield Case("PPM", "ppm", b"P6 " + header + b"255\n" + rgb.tobytes(), EXACT, rgb)
    text = b" ".join(b"%d" % value for value in rgb.ravel())
    yield Case("PPM, text", "ppm", b"P3 " + header + b"255\n" + text, EXACT, rgb)
    deep = gray(65535).astype(">u2").tobytes()
    yield Case("PGM of 16 bits", "pgm", b"P5 " + header + b"65535\n" + deep, ROUNDED, ramp)
    dark = gray(200).astype(">u2").tobytes()
    yield Case("PGM of 16 bits, dark", "pgm", b"P5 " + header + b"65535\n" + dark, ROUNDED, ramp * 0)
    rgb12 = (rgb / 255 * 4095).round().astype(">u2").tobytes()
    yield Case("PPM of 12 bits", "ppm", b"P6 " + header + b"4095\n" + rgb12, ROUNDED, rgb)
    twelve = gray(4095).astype(">u2").tobytes()
    yield Case("PGM of 12 bits", "pgm", b"P5 " + header + b"4095\n" + twelve, ROUNDED, ramp)
    floats = np.ascontiguousarray(gray(1).astype("<f4")[::-1]).tobytes()
    yield Case("PFM from 0 to 1", "pfm", b"Pf\n" + header + b"-1.0\n" + floats, ROUNDED, ramp)
    bits = rgb[..., 0] > 128
    packed = np.packbits(~bits, axis=-1).tobytes()
    yield Case("PBM", "pbm", b"P4 " + header + packed, EXACT, _as_rgb(255 * bits))


# --- HEIF ---------------------------------------------------------------------------------------------------


def heic(image: Image.Image | np.ndarray, **options) -> bytes:
    """A HEIC file, which is how iPhones store photographs."""
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return _encoded(image, "HEIF", **{"quality": 95, "chroma": 444, **options})


def _heif() -> Iterator[Case]:
    rgb = colors()

    def case(name, content, expected, tolerance=3.0):
        return Case(f"HEIC, {name}", "heic", content, tolerance, expected)

    yield case("4:4:4", heic(rgb), rgb)
    yield case("4:2:0", heic(rgb, chroma=420), rgb)
    yield case("gray", heic(gray().astype(np.uint8)), _as_rgb(gray()))
    yield case("odd size", heic(rgb[:31, :45]), rgb[:31, :45])
    alpha = gray()[::-1].round().astype(np.uint8)
    yield case("RGBA", heic(np.concatenate([rgb, alpha[..., None]], -1)), _on_white(rgb, alpha))
    large = np.asarray(Image.fromarray(rgb).resize((400, 300), Image.Resampling.BICUBIC))
    yield case("tiles", heic(large, tile_size=128), large)
    yield case("10 bits", _deep_heic(), rgb)
    for orientation, turned in ((3, np.rot90(rgb, 2)), (6, np.rot90(rgb, -1)), (8, np.rot90(rgb))):
        content = heic(rgb, exif=exif((274, 3, 1, orientation)))
        yield case(f"orientation {orientation}", content, turned)
    for name in ("the resolution is a text", "a broken maker's note", "a text of 4 GB"):
        yield case(f"EXIF: {name}", heic(rgb, exif=FAULTY_EXIF[name]), np.rot90(rgb, -1))
    p3 = rgb_profile(DISPLAY_P3)
    yield case("profile Display P3", heic(rgb, icc_profile=p3), to_srgb(rgb, DISPLAY_P3))
    yield case("a damaged profile", heic(rgb, icc_profile=p3[:100]), rgb)
    yield case("the code of Display P3", with_code(heic(rgb), 12, 13), to_srgb(rgb, DISPLAY_P3))
    second = Image.new("RGB", (WIDTH, HEIGHT), "blue")
    yield case("two pictures", heic(rgb, save_all=True, append_images=[second]), rgb)
    content = heic(rgb)
    yield case("of the general brand mif1", content[:8] + b"mif1" + content[12:], rgb)


def _deep_heic() -> bytes:
    deep = (colors().astype(np.uint16) * 257).tobytes()
    file = pillow_heif.from_bytes(mode="RGB;16", size=(WIDTH, HEIGHT), data=deep)
    buffer = io.BytesIO()
    file.save(buffer, quality=95, chroma=444)
    return buffer.getvalue()


@dataclasses.dataclass(frozen=True)
class Result:
    """How an image file was decoded.

    Args:
        name: What it is.
        reference: Where the expected pixels are from.
        difference: The mean difference from them, from 0 to 255; None if there is nothing to compare.
        tolerance: The largest mean difference that is accepted.
        fault: What is wrong; empty if nothing is.
    """

    name: str
    reference: str
    difference: float | None
    tolerance: float
    fault: str


def compared(case: Case, page) -> Result:
    """Decodes a file and compares its pixels with the expected ones.

    Args:
        case: The file.
        page: A Playwright page of Chromium.
    """
    reference = "Chromium" if case.expected is None else "specification"
    expected = shown_by_chromium(page, case.content) if case.expected is None else case.expected
    difference = None
    try:
        got = np.asarray(open_image(case.content), np.float64)
    except ImageError as error:
        fault = str(error)
    else:
        fault = ""
        if expected is None:
            fault = "Chromium does not show it"
        elif got.shape != expected.shape:
            fault = f"{got.shape[1]} x {got.shape[0]} pixels, not {expected.shape[1]} x {expected.shape[0]}"
        else:
            difference = float(np.abs(got - expected).mean())
            fault = "other pixels" if difference > case.tolerance else ""
    return Result(case.name, reference, difference, case.tolerance, fault)
