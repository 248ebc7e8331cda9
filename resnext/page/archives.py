"""The files of an upload: those in ZIP archives are read in place, and never unpacked to the disk."""

import dataclasses
import lzma
import pathlib
import struct
import zipfile
import zlib

from resnext.errors import ImageError
from resnext.image_formats import is_hidden
from resnext.page.uploads import printable

MAX_FILES = 200
# Of one file, unpacked.
MAX_BYTES = 64 * 2**20
# Of one archive: photographs hardly shrink when packed, and an upload has 64 MB at most.
MAX_UNPACKED = 512 * 2**20
# Of an archive's list of entries: Python's objects for it take 20 times as much memory.
MAX_DIRECTORY = 4 * 2**20
# The end record of a ZIP archive without its comment, and the longest comment (APPNOTE.TXT 6.3.10, 4.3.16).
_END_RECORD = 22
_MAX_COMMENT = 2**16

# What zipfile and its decompressors raise on corrupt files.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file in a ZIP archive, which is read when its turn comes: all at once would fill the memory."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    def read(self, name: str) -> bytes:
        """The unpacked content.

        Args:
            name: What error messages call the file.

        Raises:
            ImageError: The file cannot be unpacked or is too large.
        """
        try:
            with self.archive.open(self.info) as file:
                # One byte more than the limit, whatever size the archive claims.
                content = file.read(MAX_BYTES + 1)
        except _ZIP_ERRORS as error:
            if "encrypted" in str(error):
                raise ImageError(f"{name} is encrypted: pack it again without a password.") from None
            raise ImageError(
                f"{name} cannot be unpacked: it is corrupt or its compression is unknown. Pack it again."
            ) from None
        if len(content) > MAX_BYTES:
            raise ImageError(f"{name} is larger than {MAX_BYTES >> 20} MiB: make it smaller first.")
        return content


def files_in(paths: list[str], most: int = MAX_FILES) -> list[tuple[str, str | Entry | ImageError]]:
    """Lists the files of an upload, with the entries of a ZIP archive in place of the archive.

    Args:
        paths: The uploaded files.
        most: The largest number of files.

    Returns:
        At most `most` files, each with its name and a path, an entry or an error. If there were more, an
        error follows that says so.
    """
    found: list[tuple[str, str | Entry | ImageError]] = []
    for path in paths:
        name = printable(pathlib.Path(path).name)
        if is_zip(path):
            found += _entries(path, name, most + 1 - len(found), most)
        else:
            found.append((name, path))
        if len(found) > most:
            error = ImageError(f"Only the first {most} files are classified: upload the rest separately.")
            return [*found[:most], ("…", error)]
    return found


def is_zip(path: str) -> bool:
    """Whether a file is a ZIP archive, and not a photograph with one behind it."""
    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError:
        # `open_image` will report it.
        return False
    # `is_zipfile` alone also accepts photographs with an archive behind them.
    return start in (b"PK\3\4", b"PK\5\6") or (path.lower().endswith(".zip") and zipfile.is_zipfile(path))


def _entries(path: str, name: str, most: int, allowed: int) -> list[tuple[str, Entry | ImageError]]:
    """The entries of an archive, or an error in their place."""
    try:
        if _directory_size(path) > MAX_DIRECTORY:
            return [(name, ImageError(f"{name} contains far more than {allowed} files: pack fewer files."))]
        # Closed together with the last of its entries.
        archive = zipfile.ZipFile(path)
    except _ZIP_ERRORS:
        return [(name, ImageError(f"{name} is a corrupt ZIP file: pack it again."))]
    found: list[tuple[str, Entry | ImageError]] = []
    unpacked = 0
    for entry in archive.infolist():
        path_inside = pathlib.PurePosixPath(entry.filename.replace("\\", "/"))
        if entry.is_dir() or any(is_hidden(part) for part in path_inside.parts if part != ".."):
            continue
        file = printable(path_inside.name or entry.filename)
        # No more than the claimed size is ever read.
        unpacked += min(entry.file_size, MAX_BYTES)
        if unpacked > MAX_UNPACKED:
            text = f"{name} unpacks to more than {MAX_UNPACKED >> 20} MiB: pack fewer files."
            found.append((file, ImageError(text)))
            break
        found.append((file, Entry(archive, entry)))
        if len(found) == most:
            break
    return found or [(name, ImageError(f"{name} contains no files: pack your photographs into it."))]


def _directory_size(path: str) -> int:
    """The size in bytes of an archive's list of entries, before Python makes objects of them."""
    with open(path, "rb") as file:
        file.seek(max(0, pathlib.Path(path).stat().st_size - _END_RECORD - _MAX_COMMENT))
        end = file.read()
    place = end.rfind(b"PK\5\6")
    return int.from_bytes(end[place + 12 : place + 16], "little") if place >= 0 else 0
