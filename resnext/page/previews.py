"""Pictures that browsers show in place of uploads that they cannot show: HEIC, TIFF and PPM."""

import functools
import io
import pathlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio.to_thread
from gradio.utils import abspath

from resnext.errors import ImageError
from resnext.image_formats import HEAD, shown_by_browsers
from resnext.preprocessing import open_image

# The longest side of a preview in pixels: a photograph is shown at a height of 400, or fills the screen.
MAX_SIDE = 1600
_ROUTE = "/gradio_api/file="
# The previews that are kept, of at most a few hundred KB each.
_MAX_PREVIEWS = 16

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Previews:
    """ASGI middleware: an <img> that asks for such an upload gets a JPEG.

    Gradio has checked by then that the visitor may have the file. Programs and downloads, which accept more
    than images, get the file itself, and the network is given the file itself, too.

    Args:
        app: The application that it wraps.
    """

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]):
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and _ROUTE in scope["path"]:
            accepted = dict(scope["headers"]).get(b"accept", b"")
            if accepted.startswith(b"image/"):
                send = _Substitute(scope["path"].partition(_ROUTE)[2], send)
        await self.app(scope, receive, send)


class _Substitute:
    """Sends a preview instead of a file, if the file was about to be sent and has one."""

    def __init__(self, path: str, send: Send):
        self.path = path
        self.send = send
        self.replaced = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            preview = await anyio.to_thread.run_sync(preview_of, pathlib.Path(abspath(self.path)))
            if preview is not None:
                self.replaced = True
                headers = [
                    (b"content-type", b"image/jpeg"),
                    (b"content-length", b"%d" % len(preview)),
                    (b"vary", b"Accept"),
                ]
                await self.send({**message, "headers": headers})
                await self.send({"type": "http.response.body", "body": preview})
        if not self.replaced:
            await self.send(message)


def preview_of(path: pathlib.Path) -> bytes | None:
    """Returns a JPEG of an image file that browsers cannot show; None of any other file."""
    try:
        with path.open("rb") as file:
            if shown_by_browsers(file.read(HEAD)):
                return None
        return _make(path, path.stat().st_mtime_ns)
    except (OSError, ImageError):
        return None


@functools.lru_cache(_MAX_PREVIEWS)
def _make(path: pathlib.Path, changed: int) -> bytes:
    """A JPEG of an image file, kept until the file changes."""
    image = open_image(path)
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()
