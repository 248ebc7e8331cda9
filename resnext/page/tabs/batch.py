"""The tab that classifies many photographs at once: files, and those in ZIP archives."""

import csv
import dataclasses
import io
import tempfile
from typing import Any

import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image

from resnext.errors import ImageError
from resnext.page.archives import Entry, files_in
from resnext.page.i18n import request_language, translate, translate_error, translate_lazy
from resnext.page.markup import Picture, table
from resnext.page.models import Model
from resnext.page.tabs.contract import Page, Tab
from resnext.page.uploads import take_uploads, uploaded
from resnext.preprocessing import load_pixels

_PROGRESS = gr.Progress()
_COLUMNS = ("thumbnail", "file", "class", "probability")


@dataclasses.dataclass(frozen=True)
class Row:
    """A file and its most likely class, or an error message about the file."""

    file: str
    label: str = ""
    probability: float | None = None
    error: str = ""
    unknown: bool | None = None  # whether it looks like none of the classes; None if nothing tells
    thumbnail: Image.Image | None = None


class BatchTab(Tab):
    """Files in; a table and a CSV file out."""

    name = "batch"
    label = "Batch"

    def build(self, page: Page):
        files = gr.File(
            label=translate_lazy("Photographs or ZIP files"),
            file_count="multiple",
            type="filepath",
            height=220,
            elem_classes="many",
        )
        take_uploads(files)
        download = gr.DownloadButton(
            translate_lazy("Download as CSV"), visible=False, size="sm", elem_classes="as-csv"
        )
        results = gr.HTML()
        files.change(
            self.classify_files,
            (files, page.in_use),
            (results, download),
            api_visibility="private",
            show_progress_on=results,
        )
        gr.api(self.classify_batch)
        return results, download

    def show(self, model: Model, language: str):
        return "", gr.DownloadButton(visible=False)

    def classify_files(
        self, paths: list[str] | None, name: str, request: gr.Request, progress: gr.Progress = _PROGRESS
    ) -> tuple:
        """The table as HTML, and the button that downloads it as a CSV file."""
        if not paths:
            return "", gr.DownloadButton(visible=False)
        model = self.models.get(name)
        rows = [classify_file(model, *file) for file in progress.tqdm(files_in(paths))]
        # Gradio deletes the files in this folder together with the uploads.
        folder = get_upload_folder()
        with tempfile.NamedTemporaryFile(
            "w", suffix=".csv", prefix="classes-", dir=folder, delete=False, encoding="utf-8"
        ) as file:
            file.write(to_csv(rows))
        return _table(rows, request_language(request)), gr.DownloadButton(value=file.name, visible=True)

    def classify_batch(self, files: list[gr.FileData], model: str = "") -> list[dict[str, Any]]:
        """Classify many images at once.

        Args:
            files: Up to 200 images, or ZIP files of images.
            model: The name of a model that the page offers; the page's first model if left out.

        Returns:
            For each image its file name, and its most likely class ("label") with the
            probability, or an "error"; and, if the model can tell, whether it looks like
            none of the classes ("unknown").
        """
        opened = self.models.get(model)
        if not isinstance(files, list) or not all(
            isinstance(file, dict) and "path" in file for file in files
        ):
            raise gr.Error("files has to be a list of files.", print_exception=False)
        paths = [uploaded(file["path"]) for file in files]
        return [_as_dict(classify_file(opened, name, source)) for name, source in files_in(paths)]


def classify_file(model: Model, name: str, source: bytes | str | Entry | ImageError) -> Row:
    """Classifies one file.

    Args:
        model: The model.
        name: What the visitor calls the file.
        source: The path, the content or the entry of a ZIP archive; or why there is none.
    """
    try:
        if isinstance(source, ImageError):
            raise source
        if isinstance(source, Entry):
            source = source.read(name)
        pixels = load_pixels(source, model.classifier.config.preprocessing)
    except ImageError as error:
        return Row(name, error=error_about(name, source, error))
    (best,) = model.classifier.top(model.classifier.run(pixels), 1)
    thumbnail = Image.fromarray(np.ascontiguousarray(pixels))
    thumbnail.thumbnail((72, 72))
    unknown = model.classifier.is_unknown(pixels)
    return Row(name, best.label, best.probability, unknown=unknown, thumbnail=thumbnail)


def error_about(name: str, source: bytes | str | Entry | ImageError, error: ImageError) -> str:
    """What is wrong with a file, by the name that the visitor gave it and without the server's folder."""
    # str(error) may be shortened in the middle of the path.
    text = error.args[0]
    text = text.replace(source, name) if isinstance(source, str) else text.replace("The image", name, 1)
    return str(ImageError(text))


def _as_dict(row: Row) -> dict[str, Any]:
    if row.error:
        return {"file": row.file, "error": row.error}
    content = {"file": row.file, "label": row.label, "probability": row.probability}
    return content if row.unknown is None else {**content, "unknown": row.unknown}


def _table(rows: list[Row], language: str) -> str:
    cells = [
        (
            Picture(row.thumbnail, "") if row.thumbnail else "",
            row.file,
            translate_error(language, row.error) or _label(row, language),
            "" if row.probability is None else f"{row.probability:.1%}",
        )
        for row in rows
    ]
    bad = sum(bool(row.error) for row in rows)
    title = translate(language, "{count} files, {bad} of them could not be read.", count=len(rows), bad=bad)
    header = tuple(translate(language, name) for name in _COLUMNS)
    return table(title, header, cells, numbers=(3,))


def _label(row: Row, language: str) -> str:
    if not row.unknown:
        return row.label
    return f"{row.label} ({translate(language, 'looks like none of the classes')})"


def to_csv(rows: list[Row]) -> str:
    """The rows as CSV with the columns file, label, probability, error, unknown (yes, no or empty)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "label", "probability", "error", "unknown"))
    for row in rows:
        probability = "" if row.probability is None else f"{row.probability:.6f}"
        unknown = "" if row.unknown is None else ("no", "yes")[row.unknown]
        writer.writerow((_no_formula(row.file), row.label, probability, _no_formula(row.error), unknown))
    return text.getvalue()


def _no_formula(text: str) -> str:
    """The text, marked so that a spreadsheet does not compute it (OWASP: CSV injection)."""
    return f"'{text}" if text[:1] in tuple("=+-@\t\r") else text
