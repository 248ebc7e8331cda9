"""The files that a visitor may give to the page: uploads and images from the web, no files of this server."""

import functools
import html
import json
import pathlib

import gradio as gr
from gradio.utils import get_upload_folder, is_in_or_equal

from resnext.errors import ImageError
from resnext.image_formats import SUFFIXES, UNSUPPORTED_SUFFIXES
from resnext.page.fetch import fetch_image
from resnext.page.theme import read_static


def uploaded(path: str) -> str:
    """Checks that a path leads to an upload, and returns it.

    Gradio checks only what is marked `"meta": {"_type": "gradio.FileData"}`, which a program can leave out.

    Raises:
        gr.Error: The file was not uploaded.
    """
    if not isinstance(path, str) or "\0" in path or not is_in_or_equal(path, get_upload_folder()):
        name = html.escape(printable(pathlib.PurePath(str(path)).name), quote=False)
        raise gr.Error(f"{name} was not uploaded: upload it first.", print_exception=False)
    return path


def take_uploads(component: gr.Image | gr.File) -> None:
    """Makes a component pass on the paths of uploads without decoding them.

    Gradio would decode an image itself, and fail on invalid files before `open_image` can say why.
    """

    def preprocess(payload):
        if not payload:
            return None
        files = getattr(payload, "root", payload)
        return [uploaded(file.path) for file in files] if isinstance(files, list) else uploaded(files.path)

    component.preprocess = preprocess


def type_images() -> str:
    """The script that makes browsers upload images whose type they do not know, such as HEIC.

    Those in formats that are not supported are uploaded, too: the page says which format it is.
    """
    suffixes = sorted(suffix.removeprefix(".") for suffix in SUFFIXES | UNSUPPORTED_SUFFIXES.keys())
    return read_static("type_images.js").replace("SUFFIXES", json.dumps(suffixes))


def limit_downloads(page: gr.Blocks) -> None:
    """Limits the downloads of web addresses that programs give in place of files; Gradio itself does not."""
    for component in page.blocks.values():
        move = component.async_move_resource_to_block_cache
        component.async_move_resource_to_block_cache = functools.partial(_move, component, move)


async def _move(component: gr.blocks.Block, move, path: str | pathlib.Path | None) -> str | None:
    if not str(path).lower().startswith(("http://", "https://")):
        return await move(path)
    try:
        fetched = str(await fetch_image(str(path), pathlib.Path(component.GRADIO_CACHE)))
    except ImageError as error:
        raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from None
    # Deleted together with the uploads.
    component.temp_files.add(fetched)
    return fetched


def printable(name: str) -> str:
    """A file name without characters that are invisible or change the direction of the text."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name
    )
