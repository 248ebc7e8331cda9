"""Why a request to the Hugging Face Hub failed, and what to do: a sentence for each fault."""

import contextlib
import dataclasses
import errno
import os
import re
import socket
import ssl
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING

from resnext.errors import RepositoryError, printable
from resnext.hub_requests import (
    BusyError,
    LockedError,
    NoAnswerError,
    StalledError,
    error_chain,
    http_status,
    retry_after,
)

if TYPE_CHECKING:
    import httpx2

_MAX_SHOWN_WAIT = 86400  # seconds until the Hub may be asked again, above which messages leave them out
_PROBE_SECONDS = 1.0  # for the answer of a program that may not be the Hub
# The next step where something else than the Hub has answered.
_NOT_THE_HUB = "try again, or look for a proxy or a login page that answers in its place"
# What the Hub's client raises at malformed answers, which no Hub would give.
_MALFORMED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


@dataclasses.dataclass(frozen=True)
class Task:
    """What the Hub's client is used for, as messages say it.

    Args:
        failed: What is not done if it fails, such as "nothing was pushed to OWNER/NAME".
        refusals: The reason and the next step by HTTP status, where they differ from those of other tasks.
        folder: The folder that the client writes to. Default: the folder of temporary files.
        setting: The environment variable that chooses this folder, if messages may name it.
        step: The next step, if it is the same whatever the reason is.
    """

    failed: str
    refusals: Mapping[int, tuple[str, str]] = dataclasses.field(default_factory=dict)
    folder: str = dataclasses.field(default_factory=tempfile.gettempdir)
    setting: str = ""
    step: str = ""


def client_errors() -> tuple[type[Exception], ...]:
    """The errors of the Hub's client. That of its storage, Xet, also raises RuntimeError."""
    import httpx2

    return (
        httpx2.HTTPError,
        httpx2.InvalidURL,
        OSError,
        ImportError,
        RuntimeError,
        BusyError,
        NoAnswerError,
        LockedError,
        StalledError,
        *_MALFORMED,
    )


def explain_fault(error: Exception, task: Task) -> str:
    """Why the Hub's client has failed, and what to do: a sentence without addresses, which may be signed.

    Args:
        error: One of `client_errors`.
        task: What the client was used for.
    """
    chain = list(error_chain(error))
    status = http_status(error)
    if status is not None:
        reason, step = _refusal(status, error, task)
    else:
        reason, step = (
            _lock_fault(chain)
            or _redirect_fault(chain)
            or _setting_fault(chain)
            or _connection_fault(chain)
            or _system_fault(chain, task)
            or _storage_fault(chain)
            or _answer_fault(chain)
            or (f"The Hub's client failed ({type(error).__name__})", "try again")
        )
    return f"{reason}, so {task.failed}: {task.step or step}."


def login_token(task: str) -> str | None:
    """The token of HF_TOKEN or of the login.

    Args:
        task: What it is for, as a message says it, such as "push to OWNER/NAME".

    Raises:
        RepositoryError: It cannot be read, or has characters that no token has.
    """
    from huggingface_hub import get_token

    try:
        token = get_token()
    except (OSError, UnicodeDecodeError):
        raise RepositoryError(
            f"To {task}, log in again with `hf auth login`: the file of its token cannot be read."
        ) from None
    if token and not (token.isascii() and token.isprintable()):
        raise RepositoryError(
            f"To {task}, correct HF_TOKEN, which has characters that no token has, or unset it and log in "
            "with `hf auth login`."
        )
    return token


def _refusal(status: int, error: Exception, task: Task) -> tuple[str, str]:
    """The reason and the next step for an HTTP status."""
    if status in task.refusals:
        reason, step = task.refusals[status]
        return f"{reason}{_own_reason(error)}", step
    if status == 401:
        return (
            "The Hub does not accept the token that was sent",
            "log in with `hf auth login`, or correct or unset HF_TOKEN",
        )
    if status == 429:
        wait = retry_after(error) or 0
        soon = 0 < wait <= _MAX_SHOWN_WAIT
        return "The Hub asks for fewer requests", f"try again in {wait:.0f} s" if soon else "try again later"
    if status == 408:
        return "The Hub did not answer", "try again later"
    if status == 407:
        return (
            "The proxy asks for a login",
            "write USER:PASSWORD@ before its name in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY",
        )
    if status >= 500:
        return f"The Hub failed (HTTP {status})", "try again later"
    return f"The Hub refused it (HTTP {status}){_own_reason(error)}", "correct that, and try again"


def _own_reason(error: Exception) -> str:
    """The Hub's own reason, in parentheses; empty if it gives none, or one with an address."""
    answers = (one for one in error_chain(error) if hasattr(one, "server_message"))
    said = next((one.server_message for one in answers), "")
    words = printable(" ".join((said or "").split()))[:300]
    return f" ({words})" if words and "://" not in words and not words.startswith("<") else ""


def _lock_fault(chain: list[BaseException]) -> tuple[str, str] | None:
    locked = next((one for one in chain if isinstance(one, LockedError)), None)
    if locked is None:
        return None
    return (
        f"Another process has been downloading this for {locked.seconds / 60:.0f} minutes without progress",
        f"end it and try again, or if there is none, delete {locked.lock}",
    )


def _redirect_fault(chain: list[BaseException]) -> tuple[str, str] | None:
    """An answer that leads to an address that cannot be asked."""
    import httpx2

    leads = _endpoint().scheme in ("http", "https") and _has(chain, httpx2.UnsupportedProtocol)
    if leads or any("location header" in str(one) for one in chain):
        return "The answer leads to an address that is not one of the web", _NOT_THE_HUB
    return None


def _setting_fault(chain: list[BaseException]) -> tuple[str, str] | None:
    """A setting of this machine that keeps the client from asking."""
    import httpx2
    from huggingface_hub import errors

    if _has(chain, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set", "unset it"
    names_proxy = any(type(one) is ValueError and "proxy URL" in str(one) for one in chain)
    if names_proxy or _has(chain, httpx2.ProxyError, httpx2.InvalidURL, httpx2.UnsupportedProtocol):
        return (
            "The proxy of HTTP_PROXY, HTTPS_PROXY or ALL_PROXY or the address of HF_ENDPOINT is not valid",
            "correct or unset it",
        )
    if _has(chain, ImportError):
        return "A SOCKS proxy needs another package", "pip install socksio, or unset ALL_PROXY"
    if _has(chain, ssl.SSLCertVerificationError):
        return (
            "The certificate of the Hub's address is not trusted",
            "if a proxy here opens encrypted connections, set SSL_CERT_FILE to a file with its certificate",
        )
    named = list(filter(None, map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR"))))
    missing = _has(chain, FileNotFoundError) and not all(map(os.path.exists, named))
    if missing or (named and _has(chain, ssl.SSLError) and not _has(chain, httpx2.HTTPError)):
        return "SSL_CERT_FILE or SSL_CERT_DIR does not name certificates", "correct or unset it"
    if _has(chain, UnicodeEncodeError):
        return "HF_TOKEN has characters that no token has", "correct it, or unset it"
    if _has(chain, UnicodeDecodeError) and not _token_is_text():
        return "The file of the login's token is not text", "log in again with `hf auth login`"
    return None


def _token_is_text() -> bool:
    from huggingface_hub import get_token

    try:
        get_token()
    except UnicodeDecodeError:
        return False
    return True


def _connection_fault(chain: list[BaseException]) -> tuple[str, str] | None:
    import httpx2

    stalled = next((one for one in chain if isinstance(one, StalledError)), None)
    if stalled:
        return (
            f"The Hub sent less than {stalled.rate / 1000:g} kB/s for {stalled.seconds:g} s",
            "try again later",
        )
    if _has(chain, httpx2.TimeoutException, NoAnswerError):
        return "The Hub did not answer", "try again later"
    if _has(chain, ssl.SSLError):
        return (
            "The encrypted connection to the Hub failed",
            "look for a proxy that interferes, or correct HF_ENDPOINT",
        )
    if any("complete message body" in str(one) for one in chain):
        return "The connection to the Hub broke", "check it, then try again"
    transport = [one for one in chain if isinstance(one, httpx2.TransportError)]
    if any(isinstance(one, httpx2.RemoteProtocolError) and "disconn" not in str(one) for one in transport):
        return "The answer is not one of the Hub's", _NOT_THE_HUB
    if transport and _host(transport[0]) != _endpoint().hostname:
        return (
            "The Hub answers, but its storage of files cannot be reached",
            "check the connection and the firewall here, then try again",
        )
    if transport and not _has(chain, httpx2.ConnectError) and _is_another_program():
        return "The answer is not one of the Hub's", _NOT_THE_HUB
    if transport:
        return "The Hub cannot be reached", "check the connection, then try again"
    return None


def _is_another_program() -> bool:
    """Whether a program that does not speak HTTP, such as an SSH server, has the Hub's address.

    The client takes its answer for none, because it does not have the end of HTTP's headers.
    """
    endpoint = _endpoint()
    if endpoint.scheme != "http" or {"http", "all"} & urllib.request.getproxies().keys():
        return False
    with contextlib.suppress(OSError, ValueError):
        address = (endpoint.hostname, endpoint.port or 80)
        with socket.create_connection(address, _PROBE_SECONDS) as connection:
            connection.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            answer = connection.recv(5)
            return bool(answer) and not answer.startswith(b"HTTP/"[: len(answer)])
    return False


def _system_fault(chain: list[BaseException], task: Task) -> tuple[str, str] | None:
    """A fault of this machine. Xet, which is not in Python, has its number in the text alone."""
    system = next((one for one in chain if isinstance(one, OSError) and one.errno), None)
    found = [code for one in chain for code in re.findall(r"\(os error (\d+)\)", str(one))]
    number = system.errno if system else int(found[0]) if found else 0
    if not number:
        return None
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"The disk of {task.folder} is full", "make room there"
    file = str(system.filename or "") if system else ""
    denied = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
    inside = not file or task.folder.startswith(file) or file.startswith(task.folder)
    if task.setting and number in denied and inside:
        return f"{task.folder} cannot be written", f"set {task.setting} to a folder that can"
    return (
        f"{file or 'The system'} cannot be used ({os.strerror(number).lower()})",
        "correct that, then try again",
    )


def _storage_fault(chain: list[BaseException]) -> tuple[str, str] | None:
    from huggingface_hub import constants

    raised = any(
        type(one) in (RuntimeError, ConnectionError, TimeoutError) or type(one).__module__ == "hf_xet"
        for one in chain
    )
    if raised and not constants.HF_HUB_DISABLE_XET:
        return (
            "The Hub's storage of large files (Xet) failed or cannot be reached",
            "try again, or set HF_HUB_DISABLE_XET=1 to do without it",
        )
    return None


def _answer_fault(chain: list[BaseException]) -> tuple[str, str] | None:
    import httpx2
    from huggingface_hub import errors

    unusable = (*_MALFORMED, errors.FileMetadataError, httpx2.TooManyRedirects, httpx2.DecodingError)
    if _has(chain, *unusable) or any("onsistency check" in str(one) for one in chain):
        return "The answer is not one of the Hub's", _NOT_THE_HUB
    return None


def _endpoint() -> urllib.parse.SplitResult:
    from huggingface_hub import constants

    return urllib.parse.urlsplit(constants.ENDPOINT)


def _host(error: "httpx2.TransportError") -> str | None:
    """The host that was asked, or that of the Hub if the error does not say."""
    try:
        return error.request.url.host
    except RuntimeError:
        return _endpoint().hostname


def _has(chain: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(one, kinds) for one in chain)
