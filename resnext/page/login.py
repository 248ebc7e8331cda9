"""Visitors of a Space who log in to the Hub: the button, and pushing a model with their own token."""

import contextlib
import html
import importlib.util
import json
import os
import pathlib
import sys
from collections.abc import Awaitable, Callable, Iterator

import gradio as gr
import huggingface_hub
from gradio.context import get_blocks_context
from gradio.utils import get_space
from huggingface_hub import CommitOperationAdd
from starlette.requests import Request
from starlette.responses import HTMLResponse

from resnext.card import write_card
from resnext.errors import RepositoryError
from resnext.hub_errors import client_errors
from resnext.hub_push import discard_new, read_user, upload_contents
from resnext.hub_requests import http_status, with_retries
from resnext.page.i18n import request_language, translate
from resnext.page.previews import Message, Receive, Send
from resnext.page.tabs.contract import UNQUEUED
from resnext.page.theme import read_static
from resnext.repository import own_files

# What Gradio reads when it adds the login to a page.
_VARIABLES = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL")
_ROUTES = ("/login/huggingface", "/login/callback")
_SIGN_IN = "Sign in with Hugging Face"
_LANGUAGES = ("en", "zh")
_EXISTS = "You have a repository {name} already: choose another name."
_FORBIDDEN = "The Hub does not let this page create repositories for you: sign in again and allow it."
_FAILED = "The Hub did not take the model: try again later."
_UNREACHABLE = "The Hub cannot be reached: try again later."


def can_log_in() -> bool:
    """Whether this page is a Space whose visitors can log in to the Hub."""
    if not get_space() or not all(map(os.environ.get, _VARIABLES)):
        return False
    return all(importlib.util.find_spec(name) for name in ("authlib", "itsdangerous"))


def login_button() -> gr.LoginButton:
    """Makes the button that logs a visitor in or out, in their language.

    Both load the page again. It asks before pictures are lost, and comes back to the tab.
    """
    button = gr.LoginButton(_SIGN_IN, size="sm", elem_classes="sign-in")
    # Gradio's own event has an English label, and is an endpoint for programs.
    button.load_event_to_attach = None
    gr.on(None, login_label, None, button, **UNQUEUED)
    warning = "Then the page is loaded again, without your pictures: download them first. Continue?"
    words = [[translate(language, text) for language in _LANGUAGES] for text in (_SIGN_IN, warning)]
    events = get_blocks_context().fns.values()
    (click,) = [event for event in events if (button._id, "click") in event.targets]
    click.js = f"label => ({read_static('sign_in.js')})(label, ...{json.dumps(words)})"
    return button


def login_label(request: gr.Request, profile: gr.OAuthProfile | None) -> gr.Button:
    """The button that logs the visitor in, or out if they are logged in."""
    language = request_language(request)
    if profile is None:
        return gr.Button(translate(language, _SIGN_IN))
    return gr.Button(translate(language, "Sign out ({name})", name=profile.username))


def is_from_page(request: gr.Request) -> bool:
    """Whether the page itself has sent an event, not another website that the visitor has open.

    Gradio takes events from every website, and browsers send the login's cookie along: a Space is shown in a
    frame of the Hub.
    """
    return request.headers.get("sec-fetch-site", "same-origin") == "same-origin"


class LoginFaults:
    """ASGI middleware: a login that is denied or fails is told to the visitor in a sentence.

    Gradio (6.31) would answer "Internal Server Error".

    Args:
        app: The application that it wraps.
    """

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]):
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in _ROUTES:
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            # What the login has begun with, of which the cookie could hold only a few.
            for key in [key for key in scope["session"] if key.startswith("_state_")]:
                del scope["session"][key]
            await _login_failed(Request(scope), error)(scope, receive, send)


def _login_failed(request: Request, error: Exception) -> HTMLResponse:
    language = request_language(request)
    denied = request.query_params.get("error") == "access_denied"
    text = "You did not sign in." if denied else "Signing in failed: try again later."
    if not denied:
        # Its text may have the visitor's code or token.
        print(f"A visitor could not sign in: {type(error).__name__}.", file=sys.stderr, flush=True)
    text, back = (html.escape(translate(language, one)) for one in (text, "Back to the page"))
    content = (
        f'<!doctype html><html lang="{language}"><title>{text}</title>'
        f'<p>{text} <a href="/?tab=teach">{back}</a></p></html>'
    )
    return HTMLResponse(content, 403 if denied else 502)


class _RefusedError(RepositoryError):
    """The Hub did not carry out a request.

    Args:
        text: A sentence for the visitor, with a placeholder for the name of the repository.
        status: The HTTP status; None if there was no answer.
    """

    def __init__(self, text: str, status: int | None):
        super().__init__(text)
        self.status = status


@contextlib.contextmanager
def _explained(_where: str) -> Iterator[None]:
    """Turns the errors of the Hub's client into a sentence for the visitor."""
    try:
        yield
    except client_errors() as error:
        status = http_status(error)
        text = _FORBIDDEN if status in (401, 403) else _FAILED if status else _UNREACHABLE
        raise _RefusedError(text, status) from None


def push_folder(folder: pathlib.Path, name: str, token: str, private: bool) -> str:
    """Pushes a model repository to a new repository on the Hub, which is not left there empty.

    Args:
        folder: The model repository.
        name: The name of the new one, without its owner, who is the token's.
        token: The token. No other one is used.
        private: Whether only the owner can see it.

    Returns:
        Its address.

    Raises:
        RepositoryError: The Hub refuses or cannot be reached, or there is such a repository. The message is a
            sentence for the visitor, with a placeholder for the name.
    """
    api = huggingface_hub.HfApi(token=token)

    def ask(request: Callable):
        return with_retries(request, name, _explained, uploading=True)

    repo_id = f"{ask(lambda: read_user(api))['name']}/{name}"
    if ask(lambda: api.repo_exists(repo_id)):
        raise RepositoryError(_EXISTS)
    write_card(folder, repo_id)
    additions = [CommitOperationAdd(file.relative_to(folder).as_posix(), file) for file in own_files(folder)]
    address = f"{api.endpoint}/{repo_id}"
    created = False
    try:
        ask(lambda: api.create_repo(repo_id, private=private))
        created = True
        upload_contents(ask, api, repo_id, additions)
        ask(lambda: api.create_commit(repo_id, additions, commit_message="Taught in the browser"))
    except _RefusedError as error:
        if not created and error.status == 409:  # another page may be filling it
            raise RepositoryError(_EXISTS) from None
        if discard_new(ask, api, repo_id):  # the answer was lost
            return address
        raise
    return address
