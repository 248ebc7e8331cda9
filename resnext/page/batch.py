"""The tab of many photographs at once: files, or those in a ZIP, which is read and never unpacked."""

import csv
import dataclasses
import io
import pathlib
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from resnext.errors import ImageError
from resnext.page.markup import Picture, table
from resnext.page.models import Model, Models
from resnext.page.words import language, say, translated
from resnext.preprocessing import open_image, preprocess

MOST_FILES = 200
MOST_BYTES = 64 * 2**20  # of one file, unpacked


def batch_tab(models: Models, model: gr.Dropdown) -> tuple[gr.HTML, gr.DownloadButton]:
    """Files in, a table and a CSV out; returns these two."""

    def show_batch(paths: list[str] | None, name: str, request: gr.Request, progress=gr.Progress()):
        if not paths:
            return "", gr.DownloadButton(visible=False)
        tongue, chosen = language(request), models.get(name)
        rows = [classify_file(chosen, *file) for file in progress.tqdm(files_in(paths))]
        # Where Gradio keeps uploads, so that it is deleted with them.
        with tempfile.NamedTemporaryFile("w", suffix=".csv", prefix="classes-", dir=results.GRADIO_CACHE, delete=False, encoding="utf-8") as file:
            file.write(to_csv(rows))
        return _table(rows, tongue), gr.DownloadButton(value=file.name, visible=True)

    def classify_batch(files: list[gr.FileData], model: str = "") -> list[dict[str, Any]]:
        """Classify many images at once.

        Args:
            files: up to 200 images, or ZIPs of them.
            model: one of the models that the page offers; its own if left out.

        Returns:
            For each image its file's name, and its likeliest class ("label") with the probability, or what is wrong ("error").
        """
        chosen, answers = models.get(model), []
        for name, source in files_in([file["path"] for file in files]):
            row = classify_file(chosen, name, source)
            answers.append({"file": row.file, "error": row.error} if row.error else {"file": row.file, "label": row.label, "probability": row.probability})
        return answers

    files = gr.File(label=translated("Photographs, or a ZIP of them"), file_count="multiple", type="filepath", elem_classes="many")
    results = gr.HTML()
    download = gr.DownloadButton(translated("Download as CSV"), visible=False, size="sm")
    files.change(show_batch, (files, model), (results, download), api_visibility="private", show_progress_on=results)
    gr.api(classify_batch)
    return results, download


def _table(rows: list["Row"], tongue: str) -> str:
    cells = [
        (
            Picture(row.thumbnail, "") if row.thumbnail else "",
            row.file,
            row.error or row.label,
            "" if row.probability is None else f"{row.probability:.1%}",
        )
        for row in rows
    ]
    bad = sum(bool(row.error) for row in rows)
    title = say(tongue, "{count} files, {bad} of them could not be read.", count=len(rows), bad=bad)
    header = tuple(say(tongue, name) for name in ("thumbnail", "file", "class", "probability"))
    return table(title, header, cells, numbers=(3,))


@dataclasses.dataclass(frozen=True)
class Row:
    """A file and its likeliest class, or what is wrong with it."""

    file: str
    label: str = ""
    probability: float | None = None
    error: str = ""
    thumbnail: Image.Image | None = None


def files_in(paths: list[str]) -> list[tuple[str, bytes | str | ImageError]]:
    """The files that were dropped, with those in ZIPs in the place of the ZIP.

    Returns:
        Name, and a path, a file's content, or the fault; at most `MOST_FILES`, the last one saying that there were more.
    """
    found: list[tuple[str, bytes | str | ImageError]] = []
    for path in paths:
        name = pathlib.Path(path).name
        if zipfile.is_zipfile(path):
            found += _unzip(path, MOST_FILES + 1 - len(found))
        else:
            found.append((name, path))
        if len(found) > MOST_FILES:
            more = ImageError(f"Only the first {MOST_FILES} files are classified: drop the rest afterwards.")
            return [*found[:MOST_FILES], ("…", more)]
    return found


def _unzip(path: str, most: int) -> Iterator[tuple[str, bytes | ImageError]]:
    name = pathlib.Path(path).name
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if not e.is_dir() and not e.filename.startswith("__MACOSX/")]
            for entry in entries[:most]:
                short = pathlib.PurePosixPath(entry.filename.replace("\\", "/")).name or entry.filename
                yield short, _content(archive, entry, short)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        yield name, ImageError(f"{name} is a damaged ZIP ({error}): pack it again.")


def _content(archive, entry, name) -> bytes | ImageError:
    try:
        with archive.open(entry) as file:
            content = file.read(MOST_BYTES + 1)  # whatever size the ZIP claims
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, RuntimeError, NotImplementedError, zipfile.zlib.error) as error:
        return ImageError(f"{name} cannot be unpacked ({error}): pack it again, without a password.")
    if len(content) > MOST_BYTES:
        return ImageError(f"{name} is larger than {MOST_BYTES >> 20} MiB: make it smaller first.")
    return content


def classify_file(model: Model, name: str, source: bytes | str | ImageError) -> Row:
    """One row of the table."""
    if isinstance(source, ImageError):
        return Row(name, error=str(source))
    preprocessing = model.classifier.config.preprocessing
    try:
        image = open_image(source, preprocessing.resize_to)
    except ImageError as error:
        message = str(error).replace(source, name) if isinstance(source, str) else str(error).replace("The image", name, 1)
        return Row(name, error=message)
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
        writer.writerow((row.file, row.label, probability, row.error))
    return text.getvalue()
