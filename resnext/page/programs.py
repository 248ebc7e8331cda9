"""What programs send to the endpoints: what they leave out is added, and images inside JSON become uploads.

Gradio's own client adds what is left out and uploads its files. To other programs, Gradio (6.31) would answer
`{"error": null}`.
"""

import base64
import binascii
import functools
import html
import math
import mimetypes
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import anyio.to_thread
import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.queueing import Queue
from gradio.server_messages import UnexpectedErrorMessage
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from resnext.page.previews import Message, Receive, Send

# Of a decoded data URL, as of an upload (launch.py).
MAX_BYTES = 64 * 10**6
_DATA_URL = re.compile(r"data:(?P<kind>[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*(?P<base64>;base64)?,", re.I)
_RESULT = re.compile(r"/gradio_api/call/(?:v2/)?[^/]+/([^/]+)$")
_RESULTS = "/gradio_api/queue/data"
_IS_FILE = {"_type": "gradio.FileData"}


def accept_programs(page: gr.Blocks) -> None:
    """Lets the public endpoints of a page take what programs send."""
    page.preprocess_data = functools.partial(_preprocess, page.preprocess_data)


def no_such_endpoint(request: Request, error: Exception) -> JSONResponse:
    """Answers a request for an endpoint that the page does not have, on which Gradio (6.31) would fail."""
    text = f"The page has no endpoint {request.url.path}: /gradio_api/info has their names."
    return JSONResponse({"detail": text}, 404)


class KnownEvents:
    """ASGI middleware: a request for the results of an unknown event or session gets an answer.

    Gradio (6.31) would begin one, abort it, and log a traceback.

    Args:
        app: The application that it wraps.
    """

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]):
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        answer = None
        if scope["type"] == "http" and scope["method"] == "GET":
            answer = _answer_to_unknown(scope, scope["app"].get_blocks()._queue)
        await (answer or self.app)(scope, receive, send)


def _answer_to_unknown(scope: Message, queue: Queue) -> Response | None:
    asked = _RESULT.search(scope["path"])
    if asked and not _is_known(queue, asked[1]):
        text = f"There is no event {asked[1]}, or its result has been fetched: POST the values again."
        return JSONResponse({"detail": text}, 404)
    session = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
    if scope["path"].endswith(_RESULTS) and session and session not in queue.pending_messages_per_session:
        # What Gradio's scripts expect, such as those of a page that was open while the server started again.
        message = UnexpectedErrorMessage(message="404: Not Found", session_not_found=True)
        return Response(f"data: {message.model_dump_json()}\n\n", media_type="text/event-stream")
    return None


def _is_known(queue: Queue, event: str) -> bool:
    pending = queue.pending_event_ids_session.values()
    return event in queue.event_ids_to_events or any(event in events for events in pending)


async def _preprocess(preprocess, block_fn, inputs: list, state, explicit_call: bool = False) -> list:
    if block_fn.api_visibility != "public":
        return await preprocess(block_fn, inputs, state, explicit_call)
    try:
        given = _completed(block_fn.inputs, inputs)
        taken = [await _take(value, block) for value, block in zip(given, block_fn.inputs)]
        return await preprocess(block_fn, taken, state, explicit_call)
    except gr.Error as error:
        # Gradio's own would be written to standard error with a traceback.
        error.print_exception = False
        raise
    except (LookupError, TypeError, ValueError) as error:
        raise gr.Error(
            f"/{block_fn.api_name} cannot use these values: a file is what /gradio_api/upload has returned "
            "or a data URL, and /gradio_api/info has the types of the others.",
            print_exception=False,
        ) from error


def _completed(blocks: list, values: list) -> list:
    """The values of an endpoint's components, with the defaults of those that are left out or null."""
    if blocks and not values and isinstance(blocks[0], gr.Image):
        raise gr.Error("There is no image: give a file or a data URL.", print_exception=False)
    missing = len(blocks) - len(values)
    return [
        block.value if value is None and not block.stateful else value
        for value, block in zip([*values, *[None] * missing], blocks)
    ]


async def _take(value: Any, block: gr.components.Component) -> Any:
    """A component's value, with data URLs and web addresses in place of files made into files."""
    if isinstance(value, float) and math.isnan(value):
        raise ValueError("JSON has no NaN, but Python reads it")
    if isinstance(value, list):
        return [await _take_file(item, block) for item in value]
    return await _take_file(value, block) if isinstance(block, (gr.Image, gr.File)) else value


async def _take_file(value: Any, block: gr.components.Component) -> Any:
    address = value
    if isinstance(value, dict):
        address = value.get("path") or value.get("url")
    if not isinstance(address, str):
        return value
    if address[:5].lower() == "data:":
        address = await anyio.to_thread.run_sync(_store, address, block)
    elif not address.lower().startswith(("http://", "https://")):
        return value
    return {"path": address, "meta": _IS_FILE}


def _store(url: str, block: gr.components.Component) -> str:
    """Writes the content of a data URL to a file among the uploads, and returns its path.

    Raises:
        gr.Error: It is not valid, or too large.
    """
    head = _DATA_URL.match(url[:1000])
    if not head or not head["base64"]:
        raise gr.Error("The data URL has to begin like data:image/png;base64,.", print_exception=False)
    if len(url) > MAX_BYTES * 4 / 3 + 1000:
        raise gr.Error("The data URL is larger than 64 MB: upload the file.", print_exception=False)
    try:
        content = base64.b64decode(re.sub(r"\s+", "", url[head.end() :]), validate=True)
    except binascii.Error as error:
        text = html.escape(f"The data URL is not valid base64: {error}.", quote=False)
        raise gr.Error(text, print_exception=False) from None
    name = "image" + (mimetypes.guess_extension(head["kind"] or "") or ".bin")
    path = save_bytes_to_cache(content, name, block.GRADIO_CACHE)
    # Deleted together with the uploads.
    block.temp_files.add(path)
    return path
