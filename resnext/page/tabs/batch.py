"""The tab of many photographs at once: files, or those in a ZIP, which is read and never unpacked."""

import csv
import dataclasses
import io
import lzma
import pathlib
import struct
import tempfile
import zipfile
import zlib
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from resnext.errors import ImageError
from resnext.page.i18n import fault, request_language, say, translated
from resnext.page.markup import Picture, table
from resnext.page.models import Model, Models
from resnext.page.uploads import printable, take_uploads, uploaded
from resnext.preprocessing import open_image, preprocess

MAX_FILES = 200
MAX_BYTES = 64 * 2**20  # of one file, unpacked
MAX_UNPACKED = 512 * 2**20  # of one ZIP: photographs hardly shrink, and an upload is 64 MB at most
MAX_DIRECTORY = 4 * 2**20  # of a ZIP's list of entries, of which Python makes 20 times as much

# What zipfile and its unpackers raise on damaged files.
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


def batch_tab(models: Models, in_use: gr.State) -> tuple[gr.HTML, gr.DownloadButton]:
    """Files in, a table and a CSV out; returns these two."""

    def show_batch(paths: list[str] | None, name: str, request: gr.Request, progress=gr.Progress()):
        if not paths:
            return "", gr.DownloadButton(visible=False)
        language, chosen = request_language(request), models.get(name)
        rows = [classify_file(chosen, *file) for file in progress.tqdm(files_in(paths))]
        # Where Gradio keeps uploads, so that it is deleted with them.
        with tempfile.NamedTemporaryFile(
            "w", suffix=".csv", prefix="classes-", dir=results.GRADIO_CACHE, delete=False, encoding="utf-8"
        ) as file:
            file.write(to_csv(rows))
        return _table(rows, language), gr.DownloadButton(value=file.name, visible=True)

    def classify_batch(files: list[gr.FileData], model: str = "") -> list[dict[str, Any]]:
        """Classify many images at once.

        Args:
            files: up to 200 images, or ZIPs of them.
            model: one of the models that the page offers; its own if left out.

        Returns:
            For each image its file's name, and its likeliest class ("label") with the probability, or what is wrong ("error").
        """
        chosen, answers = models.get(model), []
        if not isinstance(files, list) or not all(
            isinstance(file, dict) and "path" in file for file in files
        ):
            raise gr.Error("files has to be a list of files.", print_exception=False)
        for name, source in files_in([uploaded(file["path"]) for file in files]):
            row = classify_file(chosen, name, source)
            answers.append(
                {"file": row.file, "error": row.error}
                if row.error
                else {"file": row.file, "label": row.label, "probability": row.probability}
            )
        return answers

    files = gr.File(
        label=translated("Photographs, or a ZIP of them"),
        file_count="multiple",
        type="filepath",
        height=220,
        elem_classes="many",
    )
    take_uploads(files)
    download = gr.DownloadButton(
        translated("Download as CSV"), visible=False, size="sm", elem_classes="as-csv"
    )
    results = gr.HTML()
    files.change(
        show_batch, (files, in_use), (results, download), api_visibility="private", show_progress_on=results
    )
    gr.api(classify_batch)
    return results, download


def _table(rows: list["Row"], language: str) -> str:
    cells = [
        (
            Picture(row.thumbnail, "") if row.thumbnail else "",
            row.file,
            fault(language, row.error) or row.label,
            "" if row.probability is None else f"{row.probability:.1%}",
        )
        for row in rows
    ]
    bad = sum(bool(row.error) for row in rows)
    title = say(language, "{count} files, {bad} of them could not be read.", count=len(rows), bad=bad)
    header = tuple(say(language, name) for name in ("thumbnail", "file", "class", "probability"))
    return table(title, header, cells, numbers=(3,))


@dataclasses.dataclass(frozen=True)
class Row:
    """A file and its likeliest class, or what is wrong with it."""

    file: str
    label: str = ""
    probability: float | None = None
    error: str = ""
    thumbnail: Image.Image | None = None


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file in a ZIP, which is read when its turn comes: all of them at once would fill the memory."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    def read(self, name: str) -> bytes:
        """Its content.

        Raises:
            ImageError: it cannot be unpacked, or is too large; calls it by the name given.
        """
        try:
            with self.archive.open(self.info) as file:
                content = file.read(MAX_BYTES + 1)  # whatever size the ZIP claims
        except _ZIP_ERRORS as error:
            fault = (
                "it is locked with a password"
                if "encrypted" in str(error)
                else "it is damaged or packed in a strange way"
            )
            raise ImageError(f"{name} cannot be unpacked: {fault}. Pack it again.") from None
        if len(content) > MAX_BYTES:
            raise ImageError(f"{name} is larger than {MAX_BYTES >> 20} MiB: make it smaller first.")
        return content


def files_in(paths: list[str]) -> list[tuple[str, str | Entry | ImageError]]:
    """The files that were dropped, with those in ZIPs in the place of the ZIP.

    Returns:
        Name, and a path, an entry of a ZIP, or the fault; at most `MAX_FILES`, the last one saying that there were more.
    """
    found: list[tuple[str, str | Entry | ImageError]] = []
    for path in paths:
        name = printable(pathlib.Path(path).name)
        if _is_zip(path):
            found += _entries(path, name, MAX_FILES + 1 - len(found))
        else:
            found.append((name, path))
        if len(found) > MAX_FILES:
            more = ImageError(f"Only the first {MAX_FILES} files are classified: drop the rest afterwards.")
            return [*found[:MAX_FILES], ("…", more)]
    return found


def _is_zip(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError:  # `open_image` will say so
        return False
    # `is_zipfile` alone also takes photographs that have a ZIP behind them.
    return start in (b"PK\3\4", b"PK\5\6") or (path.lower().endswith(".zip") and zipfile.is_zipfile(path))


def _entries(path: str, name: str, most: int) -> list[tuple[str, Entry | ImageError]]:
    try:
        if _directory_size(path) > MAX_DIRECTORY:
            return [(name, ImageError(f"{name} lists far more than {MAX_FILES} files: pack fewer."))]
        archive = zipfile.ZipFile(path)  # closed with the last of its entries
    except _ZIP_ERRORS:
        return [(name, ImageError(f"{name} is a damaged ZIP: pack it again."))]
    found, unpacked = [], 0
    for entry in archive.infolist():
        if entry.is_dir() or entry.filename.startswith("__MACOSX/"):
            continue
        short = printable(pathlib.PurePosixPath(entry.filename.replace("\\", "/")).name or entry.filename)
        unpacked += min(entry.file_size, MAX_BYTES)  # no more than it claims is ever read
        if unpacked > MAX_UNPACKED:
            found.append(
                (
                    short,
                    ImageError(f"{name} unpacks to more than {MAX_UNPACKED >> 20} MiB: pack fewer files."),
                )
            )
            break
        found.append((short, Entry(archive, entry)))
        if len(found) == most:
            break
    return found or [(name, ImageError(f"{name} holds no files: pack your photographs into it."))]


def _directory_size(path: str) -> int:
    """Bytes of a ZIP's list of entries, before Python makes objects of them."""
    with open(path, "rb") as file:
        file.seek(max(0, pathlib.Path(path).stat().st_size - 22 - 2**16))
        end = file.read()
    place = end.rfind(b"PK\5\6")
    return int.from_bytes(end[place + 12 : place + 16], "little") if place >= 0 else 0


def classify_file(model: Model, name: str, source: bytes | str | Entry | ImageError) -> Row:
    """One row of the table."""
    preprocessing = model.classifier.config.preprocessing
    try:
        if isinstance(source, ImageError):
            raise source
        if isinstance(source, Entry):
            source = source.read(name)
        image = open_image(source, preprocessing.resize_to)
    except ImageError as error:
        text = error.args[
            0
        ]  # before the error's own cut and clean-up, after which the path might not be found in it
        text = text.replace(source, name) if isinstance(source, str) else text.replace("The image", name, 1)
        return Row(name, error=str(ImageError(text)))
    pixels = preprocess(image, preprocessing)
    (best,) = model.classifier.top(model.classifier.run(pixels), 1)
    thumbnail = Image.fromarray(np.ascontiguousarray(pixels))
    thumbnail.thumbnail((72, 72))
    return Row(name, best.label, best.probability, thumbnail=thumbnail)


def to_csv(rows: list[Row]) -> str:
    """The table as CSV: file, label, probability, error."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "label", "probability", "error"))
    for row in rows:
        probability = "" if row.probability is None else f"{row.probability:.6f}"
        writer.writerow((_no_formula(row.file), row.label, probability, _no_formula(row.error)))
    return text.getvalue()


def _no_formula(text: str) -> str:
    return f"'{text}" if text[:1] in tuple("=+-@\t\r") else text  # or a spreadsheet would compute it
