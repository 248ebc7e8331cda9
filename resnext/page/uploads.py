"""What a visitor may hand to the page: uploads and images from the web, but no other file of this server."""

import functools
import html
import pathlib

import gradio as gr
from gradio.utils import get_upload_folder, is_in_or_equal

from resnext.errors import ImageError
from resnext.page.fetch import fetch_image


def uploaded(path: str) -> str:
    """The path of an upload, unless it leads to another file of the server.

    Gradio checks only what is marked `"meta": {"_type": "gradio.FileData"}`, and a program can leave that out.

    Raises:
        gr.Error: nobody uploaded this file.
    """
    if not isinstance(path, str) or "\0" in path or not is_in_or_equal(path, get_upload_folder()):
        name = printable(pathlib.PurePath(str(path)).name)
        raise gr.Error(
            f"{html.escape(name, quote=False)} was not uploaded: upload it first.", print_exception=False
        )
    return path


def take_uploads(component: gr.Image | gr.File) -> None:
    """Makes a component give paths of uploads, undecoded.

    Gradio would decode an image itself, and fail on what is none before `open_image` can say why.
    """

    def preprocess(payload):
        if not payload:
            return None
        files = getattr(payload, "root", payload)
        return [uploaded(file.path) for file in files] if isinstance(files, list) else uploaded(files.path)

    component.preprocess = preprocess


def limit_downloads(page: gr.Blocks) -> None:
    """Programs may name a web address in the place of a file: Gradio would load it without limits of size and time."""
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
    component.temp_files.add(fetched)  # deleted with the uploads
    return fetched


def printable(name: str) -> str:
    """A file's name without the characters that turn or hide the others."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name
    )
