"""Which image formats are read, and the names of those that are not, by the first bytes of a file."""

import os
import threading

from PIL import Image, ImageFile

# The formats whose decoders are tried, which photographs come in. Others can do harm: EPS runs Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF")
# The suffixes of these formats.
SUFFIXES = frozenset(
    [
        ".apng",
        ".avif",
        ".avifs",
        ".bmp",
        ".gif",
        ".heic",
        ".heics",
        ".heif",
        ".heifs",
        ".hif",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pfm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
# Formats that are not read, by their suffixes. Raw files of most cameras are TIFF files whose first image is
# a small preview, which must not stand in for the photograph.
_RAW = "a camera's raw file"
_RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".mef", ".mos", ".mrw", ".nef"),
    *(".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)
UNSUPPORTED_SUFFIXES = {
    **dict.fromkeys((".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"), "a JPEG 2000 image"),
    ".jxl": "a JPEG XL image",
    **dict.fromkeys((".jxr", ".wdp", ".hdp"), "a JPEG XR image"),
    **dict.fromkeys((".psd", ".psb"), "a Photoshop image"),
    ".xcf": "a GIMP image",
    **dict.fromkeys((".svg", ".svgz"), "an SVG drawing"),
    **dict.fromkeys((".eps", ".ps", ".ai"), "a PostScript drawing"),
    ".pdf": "a PDF document",
    **dict.fromkeys((".ico", ".cur", ".icns"), "an icon"),
    ".exr": "an OpenEXR image",
    ".hdr": "a Radiance image",
    ".dds": "a DirectDraw image",
    ".tga": "a Targa image",
    ".pcx": "a PCX image",
    ".qoi": "a QOI image",
    ".pam": "a PAM image",
    ".bpg": "a BPG image",
    ".dcm": "a DICOM image",
    **dict.fromkeys((".fits", ".fit"), "a FITS image"),
    **dict.fromkeys((".wmf", ".emf"), "a Windows metafile"),
    **dict.fromkeys(_RAW_SUFFIXES, _RAW),
}
# The first bytes of formats that are not read: offset, bytes and name.
_SIGNATURES = (
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"II\xbc", "a JPEG XR image"),
    (0, b"8BPS", "a Photoshop image"),
    (0, b"gimp xcf", "a GIMP image"),
    (0, b"%!PS", "a PostScript drawing"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript drawing"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\0\0\1\0", "an icon"),
    (0, b"\0\0\2\0\1", "an icon"),  # of one picture; with 0, it is a Targa image
    (0, b"icns", "an icon"),
    (0, b"v/1\1", "an OpenEXR image"),
    (0, b"#?RADIANCE", "a Radiance image"),
    (0, b"DDS ", "a DirectDraw image"),
    (0, b"qoif", "a QOI image"),
    (0, b"P7\n", "a PAM image"),
    (0, b"PF\n", "a PFM image in color"),
    (12, b"CgBI", "a PNG image of an iPhone app"),
    (0, b"BPG\xfb", "a BPG image"),
    (0, b"SIMPLE  =", "a FITS image"),
    (128, b"DICM", "a DICOM image"),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile"),
    (0, b"FUJIFILMCCD-RAW", _RAW),
    (0, b"FOVb", _RAW),
    (0, b"IIRO", _RAW),
    (0, b"IIRS", _RAW),
    (0, b"MMOR", _RAW),
    (0, b"IIU\0", _RAW),
    (0, b"II\x1a\0\0\0HEAPCCDR", _RAW),
    (8, b"CR\2", _RAW),
    (4, b"ftypcrx ", _RAW),
    (4, b"ftypqt  ", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIF_BRANDS = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 msf1 mif2 miaf".split())
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
# TIFF tags. Raw files have a DNG version, or a small picture before others (NewSubfileType, SubIFDs).
_DNG_VERSION = 50706
_SUBFILE_TYPE = 254
_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_YCBCR = 6  # a value of it
_SUB_IFDS = 330
# What files are that are often found in place of images, by their first bytes.
_OTHERS = (
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"version https://git-lfs", "a pointer of Git LFS: run `git lfs pull`"),
    (b"pk\3\4", "a ZIP file"),
)
_NAMES = (
    (b"\xff\xd8\xff", "a JPEG"),
    (b"\x89PNG", "a PNG"),
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
)
# Files and folders that operating systems and network storage leave among others; hidden ones begin with a
# dot. In lower case.
_SYSTEM_NAMES = {
    "__macosx",
    "@eadir",
    "@recycle",
    "@recently-snapshot",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "__pycache__",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
}
# The bytes that tell a format; an SVG drawing may begin with comments.
HEAD = 1024
_registration = threading.Lock()


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or left by an operating system or network storage."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def is_irregular(file: str | os.PathLike) -> bool:
    """Whether it is a pipe, a socket or a device: opening a pipe would block forever."""
    return os.path.exists(file) and not os.path.isfile(file) and not os.path.isdir(file)


def unsupported(head: bytes, name: str) -> str:
    """Returns what a file is if its format is known but not read, such as "a JPEG 2000 image"; "" otherwise.

    Args:
        head: The first `HEAD` bytes of the file.
        name: The name of the file, whose suffix counts if the content tells nothing or is a TIFF.
    """
    for offset, signature, kind in _SIGNATURES:
        if head.startswith(signature, offset):
            return kind
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml", b"<!doctype svg", b"<!--")) and b"<svg" in text:
        return "an SVG drawing"
    if head[4:8] == b"ftyp":
        return "" if _brands(head) & (_HEIF_BRANDS | _AVIF_BRANDS) else "a video"
    by_name = UNSUPPORTED_SUFFIXES.get(os.path.splitext(name)[1].lower(), "")
    if is_tiff(head):
        return by_name if by_name == _RAW else ""
    return by_name if head and not _is_read(head) else ""


def describe_unreadable(head: bytes) -> str:
    """Returns what a file is that no decoder of `FORMATS` takes, as the end of a sentence."""
    if not head:
        return "it is empty"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, kind in _OTHERS:
        if text.startswith(start):
            return f"it is {kind}"
    for start, kind in _NAMES:
        if head.startswith(start):
            return f"it is {kind} that is damaged or of a kind that is not supported"
    return "it is not an image of a known format"


def is_heif(head: bytes) -> bool:
    """Whether a file that begins so is HEIC or HEIF, and not AVIF, which has the same container."""
    brands = _brands(head)
    return bool(brands & _HEIF_BRANDS) and not brands & _AVIF_BRANDS


def is_tiff(head: bytes) -> bool:
    """Whether a file begins like a TIFF, which most cameras' raw files do, too."""
    return head.startswith(_TIFF)


def shown_by_browsers(head: bytes) -> bool:
    """Whether browsers show an image that begins so, if it is one that `FORMATS` has."""
    netpbm = head[:1] == b"P" and head[1:2].isalnum()
    return not (is_heif(head) or is_tiff(head) or netpbm)


def describe_tiff(image: ImageFile.ImageFile) -> str:
    """Returns what an opened TIFF is if it cannot be shown: a raw file, or what Pillow decodes as noise."""
    tags = getattr(image, "tag_v2", {})
    separate = any(tile.args and tile.args[0] == "C" for tile in image.tile)
    if separate and image.mode == "CMYK" and tags.get(_BITS_PER_SAMPLE, ())[:1] == (16,):
        return "a CMYK image in separate planes of 16 bits"
    uncompressed = any(tile.codec_name == "raw" for tile in image.tile)
    if uncompressed and tags.get(_PHOTOMETRIC) == _YCBCR:
        return "an uncompressed TIFF of YCbCr colors"
    preview_in_front = tags.get(_SUBFILE_TYPE) == 1 and _SUB_IFDS in tags
    return _RAW if _DNG_VERSION in tags or preview_in_front else ""


def register_heif() -> None:
    """Makes Pillow open HEIC and HEIF files, with libheif's own limits (a gigapixel, 768 MiB of memory).

    The library is loaded when the first such file is opened. Thumbnails, depth maps and other images in a
    file are not read.
    """
    with _registration:
        if "HEIF" not in Image.OPEN:
            import pillow_heif

            pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


def _brands(head: bytes) -> frozenset[bytes]:
    """The major and the compatible brands of a file in the ISO base media format (ISO/IEC 14496-12, 4.3)."""
    if head[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return frozenset([head[8:12], *(head[place : place + 4] for place in range(16, end - 3, 4))])


def _is_read(head: bytes) -> bool:
    """Whether a file begins like one of `FORMATS`."""
    starts = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF")
    return head.startswith(starts) or (head[:1] == b"P" and head[1:2] in b"123456fFy")
