"""About 850 hostile inputs for the page, the same ones in every run, and the client that sends them.

`images`, `names` and `archives` are files to upload, `addresses` are for `fetch_image`, `requests` are paths
to request from the page, and `server_files` are files of the server that were not uploaded. `Page` runs
app.py in a process of its own.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import http.client
import io
import json
import os
import pathlib
import random
import re
import signal
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator

import httpx
import numpy as np
import pillow_heif
from PIL import Image

from resnext.errors import ImageError
from tests.helpers.pages import free_port
from tests.helpers.paths import ROOT
from tests.helpers.website import PRIVATE, Website, fetched

PHOTOGRAPH = ROOT / "resnext" / "flowers" / "examples" / "tulips.jpg"
SCRIPT = b"<script>window.hacked = 1</script>"


@dataclasses.dataclass(frozen=True)
class Input:
    """A file to upload.

    Args:
        what: What is wrong with the file, in a few words; unique.
        name: The file name as the browser sends it, in UTF-8 or not.
        content: The bytes of the file.
        good: Whether the page has to classify it, because a person would see a picture.
    """

    what: str
    name: str | bytes
    content: bytes
    good: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
    """How the page responded to one input.

    Args:
        kind: "image", "name", "ZIP", "address", "server file" or "request".
        what: What the input was.
        got: The predicted class, the error message or the HTTP status.
        seconds: The time from sending the input to the response.
        accepted: Whether the page classified the input or granted the request.
        messages: The error messages that a visitor reads.
        name: The file name as the page has it.
        files: The number of pictures that were classified, one after another.
        good: Whether the page had to classify the input.
    """

    kind: str
    what: str
    got: str
    seconds: float
    accepted: bool
    messages: tuple[str, ...] = ()
    name: str = ""
    files: int = 1
    good: bool = False


# --- pictures -----------------------------------------------------------------------------------------------


def picture(mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A small picture of random colors in a mode of Pillow's."""
    pixels = np.random.default_rng(7).integers(0, 256, (6, 8, 3), np.uint8)
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    if mode in ("I;16", "F"):
        gray = np.asarray(image.convert("L"), np.float32)
        return Image.fromarray((gray * 257).astype(np.uint16) if mode == "I;16" else gray)
    if mode == "P":
        return image.quantize(16)
    if mode == "RGBA":
        image.putalpha(image.convert("L"))
        return image
    return image.convert(mode)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    """The bytes of a picture's file in a format of Pillow's."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@functools.cache
def pictures() -> dict[str, tuple[str, bytes]]:
    """Valid files of every format and many modes: description -> suffix and content."""
    exif = Image.Exif()
    exif[274] = 6  # the orientation
    exif[271] = "maker"
    rgb = picture()
    turned = picture().rotate(90)
    moving = {"save_all": True, "append_images": [turned, rgb]}
    found = {
        "JPEG with EXIF": ("jpg", encoded(rgb, "JPEG", exif=exif)),
        "progressive JPEG": ("jpg", encoded(rgb, "JPEG", progressive=True)),
        "gray JPEG": ("jpg", encoded(picture("L"), "JPEG")),
        "CMYK JPEG": ("jpg", encoded(picture("CMYK"), "JPEG")),
        "two pictures in a JPEG (MPO)": ("jpg", encoded(rgb, "MPO", save_all=True, append_images=[turned])),
        "PNG with EXIF": ("png", encoded(rgb, "PNG", exif=exif)),
        "16-bit PNG": ("png", encoded(picture("I;16"), "PNG")),
        "1-bit PNG": ("png", encoded(picture("1"), "PNG")),
        "PNG with palette and transparency": ("png", encoded(picture("P"), "PNG", transparency=1)),
        "gray PNG with alpha": ("png", encoded(picture("LA"), "PNG")),
        "RGBA PNG": ("png", encoded(picture("RGBA"), "PNG")),
        "animated PNG": ("png", encoded(rgb, "PNG", **moving)),
        "WEBP with EXIF": ("webp", encoded(rgb, "WEBP", exif=exif)),
        "lossless RGBA WEBP": ("webp", encoded(picture("RGBA"), "WEBP", lossless=True)),
        "animated WEBP": ("webp", encoded(rgb, "WEBP", **moving)),
        "GIF": ("gif", encoded(rgb, "GIF")),
        "animated GIF with transparency": ("gif", encoded(picture("P"), "GIF", transparency=2, **moving)),
        "BMP": ("bmp", encoded(rgb, "BMP")),
        "BMP with palette": ("bmp", encoded(picture("P"), "BMP")),
        "TIFF": ("tif", encoded(rgb, "TIFF")),
        "16-bit TIFF": ("tif", encoded(picture("I;16"), "TIFF")),
        "32-bit float TIFF": ("tif", encoded(picture("F"), "TIFF")),
        "CMYK TIFF": ("tif", encoded(picture("CMYK"), "TIFF")),
        "LAB TIFF": ("tif", encoded(picture("LAB"), "TIFF")),
        "TIFF, LZW": ("tif", encoded(rgb, "TIFF", compression="tiff_lzw")),
        "TIFF, JPEG inside": ("tif", encoded(rgb, "TIFF", compression="jpeg")),
        "TIFF, fax": ("tif", encoded(picture("1"), "TIFF", compression="group4")),
        "binary PPM": ("ppm", encoded(rgb, "PPM")),
    }
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    heic = functools.partial(encoded, form="HEIF")
    found["HEIC with EXIF"] = ("heic", heic(rgb, exif=exif))
    found["HEIC in tiles"] = ("heic", heic(picture(size=(256, 192)), tile_size=64))
    found["RGBA HEIC"] = ("heic", heic(picture("RGBA")))
    found["two pictures in a HEIC"] = ("heif", heic(rgb, save_all=True, append_images=[turned]))
    with contextlib.suppress(KeyError, OSError):  # Pillow may be built without AVIF
        found["AVIF"] = ("avif", encoded(rgb, "AVIF", exif=exif))
        found["RGBA AVIF"] = ("avif", encoded(picture("RGBA"), "AVIF"))
        found["animated AVIF"] = ("avif", encoded(rgb, "AVIF", **moving))
    return found


def images() -> Iterator[Input]:
    """Files that are, or claim to be, pictures."""
    rng = random.Random(0)
    for what, (suffix, content) in pictures().items():
        yield Input(what, f"picture.{suffix}", content, good=True)
        for part in (0.03, 0.3, 0.9):
            yield Input(f"{what}, cut at {part:.0%}", f"cut.{suffix}", content[: int(part * len(content))])
        for flips in (1, 2, 8, 32):
            damaged = bytearray(content)
            for _ in range(flips):
                place = rng.randrange(len(content) if flips > 2 else min(len(content), 160))
                damaged[place] = rng.choice((0, 127, 128, 255, damaged[place] ^ (1 << rng.randrange(8))))
            yield Input(f"{what}, {flips} bytes changed", f"changed.{suffix}", bytes(damaged))
    yield from _not_pictures()
    yield from _sizes()
    yield from _crafted_png()
    yield from _crafted_jpeg()
    yield from _crafted_tiff()
    yield from _crafted_others()


def _not_pictures():
    """Files of other kinds, and files that are a picture and something else."""
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)">' + SCRIPT + b"</svg>"
    entity = b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>'
    entity += b'<svg xmlns="http://www.w3.org/2000/svg">&b;</svg>'
    contents = {
        "an empty file": b"",
        "one byte": b"\xff",
        "text": b"not a picture " * 99,
        "zeros": bytes(5000),
        "noise": random.Random(1).randbytes(5000),
        "HTML": b"<!doctype html>" + SCRIPT,
        "SVG with a script": svg,
        "SVG with an entity that names a file": entity,
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        "PS with a pipe": b"%!PS\n(%pipe%id) (w) file\n",
        "PDF": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n%%EOF",
        "ImageMagick's MVG": b"push graphic-context\nfill 'url(https://127.0.0.1/\"|id\")'\npop",
        "a program": b"\x7fELF" + bytes(200),
        "XML bomb": b"<!DOCTYPE a ["
        + b"".join(b'<!ENTITY e%d "%s">' % (i, b"&e%d;" % (i - 1) * 9) for i in range(1, 9))
        + b"]>",
        "an icon": encoded(picture(size=(32, 32)), "ICO"),
        "a PCX": encoded(picture(), "PCX"),
        "JPEG 2000": encoded(picture(), "JPEG2000"),
        "JPEG XL": b"\xff\x0a" + bytes(99),
        "Photoshop's PSD": b"8BPS\0\1" + bytes(99),
        "Canon's CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(99),
        "a DNG": _tiff({50706: 0x401}),
        "a film": b"\0\0\0\x14ftypqt  \0\0\2\0qt  " + bytes(99),
        "pickle": b"\x80\x04\x95\x1e" + bytes(7) + b"\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.",
    }
    for what, content in contents.items():
        suffix = {"SVG": "svg", "EPS": "eps", "PS ": "ps", "PDF": "pdf", "HTM": "html", "tex": "txt"}.get(
            what[:3], "bin"
        )
        yield Input(what, f"file.{suffix}", content)
        yield Input(f"{what}, named as a JPEG", "file.jpg", content)
    for what, (suffix, content) in list(pictures().items())[::3]:
        for wrong in ("exe", "html") if suffix != "ppm" else ("svg",):
            yield Input(f"{what}, named .{wrong}", f"picture.{wrong}", content, good=True)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inside.jpg", pictures()["gray JPEG"][1])
    jpeg, gif, png = (pictures()[what][1] for what in ("JPEG with EXIF", "GIF", "RGBA PNG"))
    yield Input("JPEG and ZIP at once", "both.jpg", jpeg + packed.getvalue(), good=True)
    yield Input("JPEG and HTML at once", "both.jpg", jpeg + SCRIPT, good=True)
    yield Input("PNG and PDF at once", "both.png", png + b"%PDF-1.7\n%%EOF", good=True)
    yield Input("GIF and JavaScript at once", "both.gif", gif[:6] + b"/*" + gif[8:] + b"*/=1;alert(1)")
    yield Input("BMP header, then text", "both.bmp", b"BM" + b"alert(1);//" * 50)


def _sizes():
    """Pictures of extreme sizes, and files that claim them."""
    for width, height in (
        (1, 1),
        (1, 2),
        (1, 5000),
        (5000, 1),
        (1, 60_000),
        (60_000, 1),
        (3, 20_000),
        (4000, 2),
    ):
        for form in ("PNG", "JPEG", "GIF"):
            yield Input(
                f"{form} of {width} x {height}",
                f"strip.{form.lower()}",
                encoded(Image.new("RGB", (width, height), "red"), form),
                good=True,
            )
    side = 50_000
    found = pictures()
    png, bmp, ppm = (found[what][1] for what in ("RGBA PNG", "BMP", "binary PPM"))
    claims = {
        "png": _png(png, IHDR=struct.pack(">II", side, side) + png[24:29]),
        "bmp": bmp[:18] + struct.pack("<ii", side, side) + bmp[26:],
        "ppm": b"P6 50000 50000 255\n" + ppm[-100:],
        "gif": b"GIF89a" + struct.pack("<HH", side, side) + found["GIF"][1][10:],
        "jpg": re.sub(
            rb"(\xff\xc0..\x08)....",
            lambda m: m[1] + struct.pack(">HH", side, side),
            found["JPEG with EXIF"][1],
            flags=re.DOTALL,
        ),
        "tif": _tiff({256: side, 257: side}),
        "webp": b"RIFF\x1a\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x10\x00\x00\x00"
        + 2 * (side - 1).to_bytes(3, "little")
        + b"ANIM",
        "avif": found.get("AVIF", ("", b""))[1].replace(
            struct.pack(">II", 64, 48), struct.pack(">II", side, side)
        ),
        "heic": _sized_heic(side),
    }
    for suffix, content in claims.items():
        yield Input(f"{suffix.upper()} that claims 50,000 x 50,000", f"claims.{suffix}", content)
    yield Input("HEIC that claims 8 x 8", "claims.heic", _sized_heic(8))
    yield Input("HEIC that claims 0 x 0", "claims.heic", _sized_heic(0))
    yield Input("PNG of 0 x 0", "nothing.png", _png(png, IHDR=struct.pack(">II", 0, 0) + png[24:29]))
    yield Input("BMP of a negative height", "upside.bmp", bmp[:22] + struct.pack("<i", -(2**31)) + bmp[26:])
    yield Input("BMP of 0 x 0", "nothing.bmp", bmp[:18] + bytes(8) + bmp[26:])
    yield Input("TIFF of 0 x 0", "nothing.tif", _tiff({256: 0, 257: 0}))
    yield Input("text PPM of a million numbers", "text.ppm", b"P3 1000 1000 255\n" + b"1 2 3\n" * 1_000_000)
    yield Input("text PPM with HTML", "text.ppm", b"P3 4 4 255\n" + SCRIPT)


def _sized_heic(side: int) -> bytes:
    """A HEIC file of 64 x 64 pixels that claims to be as large as that."""
    content = encoded(picture(size=(64, 64)), "HEIF")
    return content.replace(struct.pack(">II", 64, 64), struct.pack(">II", side, side))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(content: bytes, more: bytes = b"", IHDR: bytes = b"") -> bytes:
    """A PNG with another header, if given, and with more chunks after the header."""
    return content[:8] + (_chunk(b"IHDR", IHDR) if IHDR else content[8:33]) + more + content[33:]


def _crafted_png():
    """PNGs with wrong, huge or many chunks."""
    png = pictures()["RGBA PNG"][1]
    squeeze = functools.cache(lambda size: zlib.compress(bytes(size), 1))
    chunks = {
        "100 MB in zTXt": _chunk(b"zTXt", b"Comment\0\0" + squeeze(100_000_000)),
        "100 MB in iTXt": _chunk(b"iTXt", b"Comment\0\1\0\0\0" + squeeze(100_000_000)),
        "100 MB in iCCP": _chunk(b"iCCP", b"icc\0\0" + squeeze(100_000_000)),
        "zTXt of 1 MB, 80 times": _chunk(b"zTXt", b"Comment\0\0" + squeeze(1_000_000)) * 80,
        "20,000 tEXt": _chunk(b"tEXt", b"Comment\0" + SCRIPT) * 20_000,
        "a broken EXIF": _chunk(b"eXIf", b"MM\0\x2a\0\0\0\x08\xff\xff" + bytes(50)),
        "a broken profile": _chunk(b"iCCP", b"icc\0\0" + zlib.compress(SCRIPT)),
        "50,000 empty IDAT": _chunk(b"IDAT", b"") * 50_000,
        "an unknown critical chunk": _chunk(b"ABCD", b"x"),
        "a palette that it cannot have": _chunk(b"PLTE", bytes(5)),
        "4 GB in a chunk": struct.pack(">I", 0xFFFFFFFF) + b"tEXt",
        "2 GB in a chunk": struct.pack(">I", 0x7FFFFFFF) + b"IDAT",
        "a million frames": _chunk(b"acTL", struct.pack(">II", 1_000_000, 0)),
    }
    for what, more in chunks.items():
        good = what.startswith(("100 MB", "zTXt", "20,000", "a broken", "50,000", "a million"))
        yield Input(f"PNG with {what}", "crafted.png", _png(png, more), good=good)
    for depth, color in ((16, 3), (3, 2), (8, 7), (0, 0), (255, 255)):
        header = png[16:24] + bytes((depth, color, 0, 0, 0))
        yield Input(f"PNG of depth {depth}, color type {color}", "crafted.png", _png(png, IHDR=header))
    bomb = _chunk(b"IDAT", squeeze(100_000_000))
    yield Input("PNG of 64 x 48 with 100 MB of pixels", "bomb.png", png[:33] + bomb + _chunk(b"IEND", b""))


def _crafted_jpeg():
    """JPEGs with wrong, huge or many segments and scans."""
    jpeg = encoded(picture(), "JPEG")
    header = jpeg.index(b"\xff\xc0") + 4
    many = encoded(Image.new("L", (3000, 3000), 77), "JPEG", progressive=True)
    scan = many.rindex(b"\xff\xda")
    end = many.rindex(b"\xff\xd9")

    def segment(marker: int, data: bytes) -> bytes:
        return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data

    def exif(*entries: tuple[int, int, int, int]) -> bytes:
        return segment(0xE1, b"Exif\0\0" + _ifd(entries))

    segments = {
        "HTML in its comment": segment(0xFE, SCRIPT),
        "5,000 comments": segment(0xFE, SCRIPT) * 5000,
        "orientation 0": exif((274, 3, 1, 0)),
        "orientation 9": exif((274, 3, 1, 9)),
        "orientation 65,535": exif((274, 3, 1, 65535)),
        "a text as orientation": exif((274, 2, 2, 0x3600)),
        "a fraction as orientation": exif((274, 5, 1, 0)),
        "1,000 orientations": exif((274, 3, 1000, 8)),
        "an EXIF that points to itself": exif((274, 3, 1, 6), (34665, 4, 1, 8), (34853, 4, 1, 8)),
        "an EXIF that points nowhere": exif((274, 3, 1, 6), (271, 2, 2**31, 2**32 - 1)),
        "an EXIF of text": segment(0xE1, b"Exif\0\0" + SCRIPT),
        "an EXIF of 64 KB": segment(0xE1, b"Exif\0\0" + _ifd([(40000 + i, 4, 1, i) for i in range(5000)])),
        "half a profile": segment(0xE2, b"ICC_PROFILE\0\x01\xff" + SCRIPT),
        "Photoshop's text": segment(0xED, b"Photoshop 3.0\x008BIM" + bytes(3) + SCRIPT),
        "a broken MPO": segment(
            0xE2, b"MPF\0" + _ifd([(45056, 7, 4, 0), (45057, 4, 1, 999), (45058, 7, 16, 2**31)])
        ),
        "a truncated quantization table": segment(0xDB, b"\x07" + bytes(9)),
        "a Huffman table too large": segment(0xC4, b"\x00" + b"\xff" * 16 + bytes(99)),
    }
    for what, more in segments.items():
        good = what not in ("a truncated quantization table", "a Huffman table too large")
        yield Input(f"JPEG with {what}", "crafted.jpg", jpeg[:2] + more + jpeg[2:], good=good)
    yield Input(
        "progressive JPEG of 1,000 scans", "scans.jpg", many[:end] + many[scan:end] * 1000 + many[end:]
    )
    scan = jpeg.index(b"\xff\xda")
    end = len(jpeg) - 2
    yield Input("JPEG of 1,000 scans", "scans.jpg", jpeg[:end] + jpeg[scan:end] * 1000 + jpeg[end:])
    yield Input("JPEG with a film behind it", "motion.jpg", jpeg + b"\xff\xda" * 1000, good=True)
    yield Input("JPEG of 12 bits", "crafted.jpg", jpeg[:header] + b"\x0c" + jpeg[header + 1 :])
    yield Input("JPEG of height 0", "crafted.jpg", jpeg[: header + 1] + b"\0\0" + jpeg[header + 3 :])
    yield Input("JPEG with arithmetic coding", "crafted.jpg", jpeg.replace(b"\xff\xc0", b"\xff\xc9", 1))
    yield Input("lossless JPEG", "crafted.jpg", jpeg.replace(b"\xff\xc0", b"\xff\xc3", 1))
    yield Input("JPEG of nothing but its start", "crafted.jpg", b"\xff\xd8\xff" + b"\xff" * 10_000)


def _ifd(entries, after: int = 0) -> bytes:
    """A little-endian TIFF of one directory of (tag, type, count, value)."""
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + struct.pack("<I", after)


def _tiff(changed: dict[int, int], after: int = 0) -> bytes:
    """A gray TIFF of 4 x 4 pixels, some tags of which have other values."""
    tags = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 4, 279: 16} | changed
    return _ifd([(tag, 4, 1, value) for tag, value in sorted(tags.items())], after) + bytes(64)


def _crafted_tiff():
    """TIFFs with wrong tags and directories."""
    largest = 2**32 - 1
    contents = {
        "a directory that follows itself": _tiff({}, after=8),
        "a directory far beyond its end": b"II*\0\xff\xff\xff\x7f",
        "65,535 entries": b"II*\0\x08\0\0\0\xff\xff" + bytes(3000),
        "a child that is its parent": _ifd([(256, 4, 1, 4), (257, 4, 1, 4), (330, 4, 1, 8)]),
        "4 billion samples": _tiff({277: largest}),
        "4 billion bits": _tiff({258: largest}),
        "a strip far beyond its end": _tiff({273: largest}),
        "a strip of 4 GB": _tiff({279: largest}),
        "strips of no rows": _tiff({278: 0}),
        "tiles of 2 billion": _tiff({322: 2**31, 323: 2**31, 324: 8, 325: largest}),
        "tiles of nothing": _tiff({322: 0, 323: 0, 324: 8, 325: 8}),
        "LZW of zeros": _tiff({259: 5}),
        "fax of zeros": _tiff({259: 4, 258: 1}),
        "old JPEG": _tiff({259: 6}),
        "JPEG of zeros": _tiff({259: 7}),
        "ZIP of zeros": _tiff({259: 8}),
        "unknown packing": _tiff({259: 12345}),
        "a palette that it lacks": _tiff({262: 3}),
        "orientation 99": _tiff({274: 99}),
        "a planar configuration of 9": _tiff({284: 9}),
        "64-bit offsets to nowhere": b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63),
        "big-endian nonsense": b"MM\0*" + SCRIPT,
    }
    for what, content in contents.items():
        yield Input(f"TIFF with {what}", "crafted.tif", content)
    numbers = np.array([[np.nan, np.inf], [-np.inf, 1e38]], np.float32).repeat(20, 0).repeat(20, 1)
    yield Input("TIFF of NaN and infinity", "crafted.tif", encoded(Image.fromarray(numbers), "TIFF"))


def _crafted_others():
    """GIF, WEBP, BMP, AVIF, HEIC and PPM files with wrong fields."""
    gif = pictures()["GIF"][1]
    webp = pictures()["lossless RGBA WEBP"][1]
    frame = gif.index(b",", 13 + 3 * 256)
    contents = {
        "frame.gif": (
            "GIF whose frame is outside of it",
            gif[:frame] + b"," + b"\xff" * 4 + gif[frame + 5 :],
        ),
        "code.gif": ("GIF of code size 200", gif[: frame + 10] + b"\xc8" + gif[frame + 11 :]),
        "none.gif": ("GIF without a frame", gif[:frame] + b";"),
        "comments.gif": (
            "GIF with 20,000 comments",
            gif[:frame] + b"!\xfe\x05<b>hi\0" * 20_000 + gif[frame:],
        ),
        "frames.gif": ("GIF of 2,000 frames", gif[:frame] + gif[frame:-1] * 2000 + b";"),
        "size.webp": ("WEBP that claims 4 GB", webp[:4] + b"\xff" * 4 + webp[8:]),
        "odd.webp": ("WEBP of odd chunks", webp[:12] + b"EXIF\x05\0\0\0<b>hi\0" * 3 + webp[12:]),
        "palette.bmp": (
            "BMP with 4 billion colors",
            encoded(picture("P"), "BMP")[:46] + b"\xff" * 8 + bytes(99),
        ),
        "rle.bmp": (
            "BMP with endless RLE",
            encoded(picture("P"), "BMP")[:30] + b"\1" + bytes(23) + b"\0\2\xff\xff" * 999,
        ),
        "box.avif": (
            "AVIF of boxes in boxes",
            b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0\0\1\0meta" * 5000,
        ),
        "box.heic": (
            "HEIC of boxes in boxes",
            b"\0\0\0\x1cftypheic\0\0\0\0heicmif1miaf" + b"\0\0\1\0meta" * 5000,
        ),
        "empty.heic": ("HEIC of nothing but its start", b"\0\0\0\x1cftypheic\0\0\0\0heicmif1miaf"),
        "name.heic": ("HEIC whose codec is AV1", pictures()["HEIC with EXIF"][1].replace(b"hvc1", b"av01")),
        "long.ppm": ("PPM with an endless number", b"P6 " + b"9" * 100_000),
        "comment.ppm": ("PPM with an endless comment", b"P6 #" + b"x" * 1_000_000),
        "dots.pbm": ("PBM of letters", b"P1 9 9\n" + SCRIPT),
        "float.pfm": ("PFM of the scale NaN", b"Pf\n4 4\nnan\n" + bytes(64)),
    }
    for name, (what, content) in contents.items():
        yield Input(what, name, content)


# --- names --------------------------------------------------------------------------------------------------

NAMES = {
    "HTML": "<img src=x onerror=alert(1)>.jpg",
    "a script": "<script>alert(1)</script>.jpg",
    "an entity": "&lt;b&gt;&#60;.jpg",
    "double quotes": 'a"onload="alert(1).jpg',
    "single quotes": "a'b'.jpg",
    "backquotes": "`id`.jpg",
    "a command": "$(id);|id&.jpg",
    "Markdown": "[a](javascript:alert(1))![b](http://127.0.0.1/b.png).jpg",
    "a formula": "=HYPERLINK(1).jpg",
    "a template": "{{7*7}}${7*7}.jpg",
    "a format": "%s%n{0.__class__}.jpg",
    "SQL": "';DROP TABLE a;--.jpg",
    "RTL override": "\u202egpj.exe",
    "an isolate": "\u2066a\u2069.jpg",
    "zero width": "a\u200b\ufeffb.jpg",
    "a control character": "a\x01\x07b.jpg",
    "an escape": "\x1b[31mred\x1b[0m.jpg",
    "DEL": "a\x7f.jpg",
    "C1": "a\x9bb.jpg",
    "a line feed": "a%0ab.jpg",
    "NUL": "a\0b.jpg",
    "percent NUL": "a%00b.jpg",
    "255 bytes": "x" * 251 + ".jpg",
    "255 bytes of Chinese": "花" * 83 + ".jpg",
    "a long suffix": "a." + "x" * 250,
    "1,000 bytes": "y" * 1000,
    "only dots": "....",
    "a dot": ".",
    "two dots": "..",
    "a dotfile": ".htaccess",
    "only a suffix": ".jpg",
    "no suffix": "picture",
    "spaces": "   .jpg",
    "nothing": "",
    "..%2f": "..%2f..%2f..%2fevil.jpg",
    "../": "../../../evil.jpg",
    "..\\": "..\\..\\evil.jpg",
    "double percent": "%252e%252e%252fevil.jpg",
    "an absolute path": "/etc/evil.jpg",
    "a drive": "C:\\Windows\\evil.jpg",
    "a share": "\\\\127.0.0.1\\c$\\evil.jpg",
    "a stream": "a.jpg:evil",
    "a device": "NUL.jpg",
    "a URL": "http://127.0.0.1/evil.jpg",
    "emoji": "\U0001f339\u200d\U0001f525.jpg",
    "combining marks": "a" + "\u0301" * 60 + ".jpg",
    "noncharacters": "\ufdd0\uffff.jpg",
    "bytes that are not UTF-8": b"\xff\xfe\x80.jpg",
    "overlong UTF-8": b"..\xc0\xaf..\xc0\xafevil.jpg",
}


def names() -> Iterator[Input]:
    """A picture and a text file under each hostile name."""
    for what, name in NAMES.items():
        yield Input(f"a picture, its name with {what}", name, pictures()["gray JPEG"][1], good=True)
        yield Input(f"a text, its name with {what}", name, b"not a picture")


# --- ZIPs ---------------------------------------------------------------------------------------------------


def archives() -> Iterator[Input]:
    """ZIP files: bombs, links, wrong headers, and hostile names inside."""
    jpeg = encoded(picture(size=(32, 24)), "JPEG")

    def packed(entries, method=zipfile.ZIP_DEFLATED) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method, compresslevel=1) as archive:
            for name, content in entries:
                archive.writestr(name, content)
        return buffer.getvalue()

    def changed(content: bytes, local: int, central: int, form: str, *values) -> bytes:
        """Changes a field in both the local and the central header of the first entry."""
        data = bytearray(content)
        struct.pack_into(form, data, local, *values)
        struct.pack_into(form, data, content.index(b"PK\1\2") + central, *values)
        return bytes(data)

    one = packed([("folder/one.jpg", jpeg)])
    stored = packed([("one.jpg", jpeg)], zipfile.ZIP_STORED)
    yield Input("ZIP of one picture", "one.zip", one, good=True)
    for what, name in NAMES.items():
        if isinstance(name, str) and name and len(name) < 500:
            yield Input(
                f"ZIP, an entry's name with {what}",
                "name.zip",
                packed([(name, jpeg), ("<b>" + name, b"not a picture")]),
            )
    for method in ("STORED", "BZIP2", "LZMA"):
        content = packed([("one.jpg", jpeg * 50)], getattr(zipfile, f"ZIP_{method}"))
        yield Input(f"ZIP, {method}", "method.zip", content, good=True)
        damaged = bytearray(content)
        for place in range(50, 90):
            damaged[place] ^= 0x55
        yield Input(f"ZIP, {method}, damaged", "method.zip", bytes(damaged))
    link = zipfile.ZipInfo("link.jpg")
    link.create_system = 3  # Unix, whose file type follows
    link.external_attr = 0o120777 << 16
    device = zipfile.ZipInfo("device.jpg")
    device.create_system = 3
    device.external_attr = 0o060777 << 16
    bomb = packed([("bomb.jpg", bytes(300_000_000))])
    contents = {
        "a link to /etc/passwd": packed([(link, b"/etc/passwd"), ("one.jpg", jpeg)]),
        "a device": packed([(device, b"")]),
        "a ZIP inside": packed([("inner.zip", packed([("one.jpg", jpeg)]))]),
        "100 ZIPs in each other": _nested(packed, 100),
        "a bomb of 300 MB": bomb,
        "5 bombs of 60 MB": packed((f"{index}.jpg", bytes(60_000_000)) for index in range(5)),
        "200 overlapping entries": _overlapping(200, 50_000_000),
        "itself, nearly": _overlapping(1, 0)[:-22] + b"PK\5\6" + bytes(18),
        "a password": changed(one, 6, 8, "<H", 1),
        "a wrong CRC": changed(one, 14, 16, "<I", 0x12345678),
        "an unknown packing": changed(one, 8, 10, "<H", 77),
        "a claimed size of 4 GB": changed(one, 22, 24, "<I", 0xFFFFFFFE),
        "a claimed size of 10 bytes": changed(one, 22, 24, "<I", 10),
        "a claimed packed size of 4 GB": changed(one, 18, 20, "<I", 0xFFFFFFFE),
        "a bomb that claims 10 bytes": changed(bomb, 22, 24, "<I", 10),
        "version 255 needed": changed(one, 4, 6, "<H", 255),
        "names that differ": one.replace(b"folder/one.jpg", b"folder/two.jpg", 1),
        "half its directory": one[: one.index(b"PK\1\2") + 20] + one[-22:],
        "no directory": one[: one.index(b"PK\1\2")],
        "a directory far beyond its end": one[:-6] + b"\xff\xff\xff\x7f" + one[-2:],
        "a broken extra field": stored.replace(b"one.jpg", b"one.jp\x00"),
        "its first half": one[: len(one) // 2],
        "text before it": SCRIPT + one,
        "text after it": one + SCRIPT,
        "a comment of HTML": one[:-2] + struct.pack("<H", len(SCRIPT)) + SCRIPT,
        "10,000 entries": packed((f"{index}.jpg", b"") for index in range(10_000)),
        "300,000 entries": _overlapping(300_000, 0),
        "250 files": packed(
            (f"{index}.jpg", b"not a picture" if index % 50 else jpeg) for index in range(250)
        ),
        "duplicate names": packed([("one.jpg", jpeg), ("two.jpg", jpeg)]).replace(b"two.jpg", b"one.jpg"),
        "nothing": packed([]),
        "only folders": packed([("folder/", b""), ("__MACOSX/._one.jpg", b"x")]),
        "an entry without a name": packed([("none", jpeg), ("folder//", b"")]).replace(b"none", b"////"),
        "a name that is not UTF-8": changed(stored, 6, 8, "<H", 0x800).replace(
            b"one.jpg", b"\xff\xfe\xfd.jpg"
        ),
        "an empty picture": packed([("empty.jpg", b"")]),
        "a bad picture in a folder": packed([("secret/folder/bad.jpg", b"not a picture")]),
        "a truncated picture": packed([("half.jpg", jpeg[:300])]),
    }
    for what, content in contents.items():
        yield Input(f"ZIP with {what}", "archive.zip", content)
    yield Input("text named .zip", "text.zip", SCRIPT)
    yield Input("picture named .zip", "picture.zip", jpeg, good=True)
    yield Input("an empty file named .zip", "empty.zip", b"")


def _nested(packed, depth: int) -> bytes:
    content = b"end"
    for level in range(depth):
        content = packed([(f"{level}.zip", content)])
    return content


def _overlapping(count: int, size: int) -> bytes:
    """A ZIP whose entries share the same few bytes (Fifield, A better zip bomb, USENIX WOOT 2019)."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = squeezer.compress(bytes(size)) + squeezer.flush()
    crc = zlib.crc32(bytes(size))
    fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, crc, len(content), size, 5, 0)
    central = b"PK\1\2\x14\0" + fields + bytes(14) + b"a.jpg"
    total = len(central) * count
    start = 35 + len(content)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, min(count, 65535), min(count, 65535), total, start, 0)
    return b"PK\3\4" + fields + b"a.jpg" + content + central * count + end


# --- addresses, requests, files of the server ---------------------------------------------------------------


def addresses(website: Website) -> dict[str, str]:
    """URLs for `fetch_image`, by what each is: none may be fetched."""
    odd = [
        "file:///etc/passwd",
        "ftp://example.com/a.jpg",
        "data:image/png;base64,iVBORw0KGgo=",
        "javascript:alert(1)",
        "gopher://127.0.0.1:6379/_PING",
        "http://nobody.invalid/a.jpg",
        "http://1.1.1.1:22/",
        "",
        website.address("/picture.jpg", "user:password@photos.example"),
    ]
    odd += [website.address("/picture.jpg", host) for host in PRIVATE]
    found = {url.replace(f":{website.server_port}", "") or "nothing": url for url in odd}
    for index, url in enumerate(odd):
        found[f"redirect to {url.replace(f':{website.server_port}', '') or 'nothing'}"] = website.redirect(
            f"/{index}", url
        )
    found["redirects in a circle"] = website.redirect("/circle", "/circle")
    return found


def requests(repository: pathlib.Path) -> list[str]:
    """Paths to request from the page that would lead to files of the server."""
    files = [
        "/etc/passwd",
        "/proc/self/environ",
        str(ROOT / "app.py"),
        str(repository / "config.json"),
        str(repository),
    ]
    files += [
        f"{'../' * 12}etc/passwd",
        f"{'..%2f' * 12}etc/passwd",
        f"{'%2e%2e/' * 12}etc/passwd",
        f"{'..%5c' * 9}etc%5cpasswd",
    ]
    files += [
        "app.py",
        "./app.py",
        "resnext/flowers/config.json",
        ".git/config",
        "//etc/passwd",
        "/etc/passwd%00.jpg",
        "~/.bashrc",
    ]
    files += [
        "file:///etc/passwd",
        "http://127.0.0.1:1/",
        "http://localhost/",
        "http://169.254.169.254/latest/meta-data/",
    ]
    found = [f"/gradio_api/file={file}" for file in files]
    found += [f"/file={file}" for file in files[:6]] + [f"/gradio_api/file/{file}" for file in files[:6]]
    found += [
        f"/{folder}/{'../' * 12}etc/passwd"
        for folder in ("static", "assets", "gradio_api/static", "theme.css", "svelte")
    ]
    found += [f"/{folder}/{'%2e%2e%2f' * 12}etc/passwd" for folder in ("static", "assets")]
    found += [
        "/static//etc/passwd",
        "/assets//etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/../../../../etc/passwd",
    ]
    return [*found, "/app.py", "/resnext/flowers/config.json", "/.git/config"]


def server_files() -> dict[str, dict]:
    """Files for /classify that were not uploaded, as a program may name them."""
    mark = {"meta": {"_type": "gradio.FileData"}}
    found = {}
    paths = {
        "a picture of the repository": str(PHOTOGRAPH),
        "/etc/passwd": "/etc/passwd",
        "a file that is not there": "/nowhere/a.jpg",
        "/dev/zero": "/dev/zero",
        "/proc/self/environ": "/proc/self/environ",
        "a relative path": "app.py",
        "..": "../../../../etc/passwd",
        "a private address": "http://127.0.0.1:1/a.jpg",
        "a cloud's secrets": "http://169.254.169.254/latest/",
    }
    for what, path in paths.items():
        found[what] = {"path": path, **mark}
        found[f"{what}, unmarked"] = {"path": path}
        found[f"{what}, marked otherwise"] = {"path": path, "meta": {"_type": "other"}}
    return found


def everything(page: "Page", website: Website, folder: pathlib.Path, workers: int = 3) -> Iterator[Result]:
    """Sends all inputs and yields the result of each.

    Args:
        page: The running page.
        website: The running website, which redirects to some addresses.
        folder: The folder into which a fetched file would be written.
        workers: The number of inputs that are sent at the same time.
    """
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        yield from pool.map(functools.partial(page.classify, "image"), images())
        yield from pool.map(functools.partial(page.classify, "name"), names())
        yield from pool.map(page.classify_batch, archives())
        yield from pool.map(page.request, requests(ROOT / "resnext" / "flowers"))
    for what, url in addresses(website).items():
        start = time.perf_counter()
        try:
            got = str(fetched(url, folder, website.server_port))
            messages = ()
        except ImageError as error:
            got = str(error)
            messages = (got,)
        got = got.replace(f":{website.server_port}", "")
        yield Result("address", what, got, time.perf_counter() - start, not messages, messages)
    # Last, because Gradio itself writes a traceback for some of them.
    for what, file in server_files().items():
        yield page.classify_server_file(what, file)


# --- the page -----------------------------------------------------------------------------------------------


class Page:
    """app.py as users start it, in a process and in folders of its own.

    Args:
        folder: An empty folder. Uploads go into its subfolder "uploads".
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.uploads = folder / "uploads"
        for name in ("uploads", "temporary", "home", "work"):
            (folder / name).mkdir()
        self.port = free_port()
        environment = os.environ | {
            "GRADIO_TEMP_DIR": str(self.uploads),
            "TMPDIR": str(folder / "temporary"),
            "HOME": str(folder / "home"),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "HF_HUB_OFFLINE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._errors = (folder / "errors").open("w+", errors="replace")
        command = [sys.executable, "-u", str(ROOT / "app.py"), "--port", str(self.port)]
        # On a busy machine, Gradio exits if its own first request takes three seconds.
        for _ in range(3):
            self._errors.truncate(0)
            self._process = subprocess.Popen(
                command,
                cwd=folder / "work",
                env=environment,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
            )
            if any("public link" in line for line in self._process.stdout):
                break
            self._process.wait()
        else:
            raise RuntimeError(f"app.py does not start: {self.errors()[-500:]}")
        address = f"http://127.0.0.1:{self.port}/gradio_api/"
        # A connection that is kept may be one that the server is about to close.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(base_url=address, timeout=60, trust_env=False, limits=limits)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process.stdout.close()
        self._errors.close()

    def errors(self) -> str:
        """What the page has written to standard error so far."""
        self._errors.seek(0)
        return self._errors.read()

    def memory(self, field: str = "VmRSS") -> int:
        """The page's memory in megabytes, from a field of /proc/PID/status (Linux only)."""
        status = pathlib.Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s*(\d+)", status)[1]) // 1024

    def peak_memory(self) -> int:
        """The most megabytes that the page has held."""
        return self.memory("VmHWM")

    def files(self) -> set[str]:
        """The files in the page's folders, relative, without the uploads."""
        found = (path for path in self.folder.rglob("*") if not path.is_relative_to(self.uploads))
        return {str(path.relative_to(self.folder)) for path in found}

    def upload(self, name: str | bytes, content: bytes) -> str | None:
        """Uploads a file as a browser does; returns its path on the server, None if its name is refused."""
        name = name if isinstance(name, bytes) else name.encode()
        quoted = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        head = b'--part\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n' % quoted
        kind = {"Content-Type": "multipart/form-data; boundary=part"}
        response = self._client.post("upload", content=head + content + b"\r\n--part--\r\n", headers=kind)
        return response.json()[0] if response.is_success else None

    def call(self, endpoint: str, *values) -> tuple[bool, object]:
        """Calls an endpoint; returns whether it succeeded, and its output or the error message."""
        started = self._client.post(f"call/{endpoint}", json={"data": values})
        if not started.is_success:
            return False, f"HTTP {started.status_code}"
        try:
            events = self._client.get(f"call/{endpoint}/{started.json()['event_id']}").text
        except httpx.TimeoutException:
            return False, "no response within a minute"
        kind, data = re.search(r"^event: (complete|error)\ndata: (.*)$", events, re.MULTILINE).groups()
        data = json.loads(data)
        return (True, data[0]) if kind == "complete" else (False, data and data.get("error"))

    def classify(self, kind: str, given: Input) -> Result:
        """Uploads a picture and has it classified."""
        start = time.perf_counter()
        path = self.upload(given.name, given.content)
        if path is None:
            return Result(kind, given.what, "HTTP 400", time.perf_counter() - start, False)
        succeeded, output = self.call("classify", marked(path), 1, None)
        seconds = time.perf_counter() - start
        name = pathlib.Path(path).name
        if succeeded:
            return Result(kind, given.what, output["label"], seconds, True, name=name, good=given.good)
        return Result(kind, given.what, str(output), seconds, False, (str(output),), name, good=given.good)

    def classify_batch(self, given: Input) -> Result:
        """Uploads a ZIP and has the pictures in it classified."""
        start = time.perf_counter()
        path = self.upload(given.name, given.content)
        succeeded, rows = self.call("classify_batch", [marked(path)], "")
        seconds = time.perf_counter() - start
        name = pathlib.Path(path).name
        if not succeeded:
            return Result("ZIP", given.what, str(rows), seconds, False, (str(rows),), name)
        messages = tuple(row["error"] for row in rows if "error" in row)
        classified = len(rows) - len(messages)
        got = "; ".join([f"{classified} classified", *messages[:1]])
        return Result("ZIP", given.what, got, seconds, classified > 0, messages, name, len(rows), given.good)

    def classify_server_file(self, what: str, file: dict) -> Result:
        """Asks for the class of a file that was not uploaded."""
        start = time.perf_counter()
        accepted, output = self.call("classify", file, 1, None)
        if not accepted:
            read, rows = self.call("classify_batch", [file], "")
            accepted = read and rows != []  # even an error message about the file would reveal that it exists
        return Result("server file", what, str(output), time.perf_counter() - start, accepted)

    def request(self, path: str) -> Result:
        """Requests a path, which is sent unchanged."""
        start = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", path)
        response = connection.getresponse()
        status = response.status
        body = response.read(100_000)
        connection.close()
        leaked = b"root:" in body or b"import gradio" in body or b"label_names" in body
        what = path.replace(str(ROOT), "(checkout)")
        got = f"HTTP {status}" + leaked * " and the file"
        return Result("request", what, got, time.perf_counter() - start, status < 400)


def marked(path: str) -> dict:
    """A file as Gradio's clients describe it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def faults(result: Result, folder: pathlib.Path) -> list[str]:
    """What is wrong with the page's response to an input: too slow, or a message that is unclear or unsafe.

    Args:
        result: The response.
        folder: The page's folder, which no message may name.
    """
    found = [] if result.seconds < 10 + 0.2 * result.files else [f"took {result.seconds:.0f} s"]
    for text in result.messages:
        if not re.fullmatch(r"[^\n]+\.", text) or "Traceback" in text or text in ("None.", "None"):
            found.append(f"not a sentence: {text!r}")
        if "<" in text and result.kind in ("image", "name"):
            found.append(f"HTML: {text!r}")
        if result.kind != "address" and (
            str(folder) in text or re.search(r"/(tmp|home|root|etc|usr|proc)/\w", text)
        ):
            found.append(f"names a folder: {text!r}")
        if not text.isprintable():
            found.append(f"unprintable: {text!r}")
    if result.kind in ("image", "name") and result.messages and result.name.isprintable():
        name = result.name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        if name not in result.messages[0]:
            found.append(f"does not name the file: {result.messages[0]!r}")
    return found
