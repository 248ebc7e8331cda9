"""Requests to the Hugging Face Hub: bounded in time, and repeated while the Hub is busy."""

import collections
import contextlib
import contextvars
import dataclasses
import email.utils
import logging
import math
import os
import pathlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import httpx2

MAX_WAIT = 60  # total seconds between retries of a request
TIMEOUT = 15  # seconds without an answer, after which a request has failed
_ATTEMPTS = 4
_REPORT_LOCK_AFTER = 5.0  # seconds of waiting for another process's download, after which a line says so
_MAX_LOCKED = 300.0  # seconds without progress of that process, after which the wait ends
_REPORT_TRANSFER_AFTER = 30.0  # seconds of a transfer, after which a line says that it continues
_MIN_SPEED = 50_000  # bytes a second, below which a transfer over Xet is ended
_MIN_RATE = 1000  # bytes a second of an answer, below which it counts as stalled
_PHASES = 4  # of a request until its answer: waiting for a connection, connecting, sending, receiving
_STALLED_AFTER = 60.0  # seconds that are averaged
_UPLOAD_TRIES = 2  # of a request, after which the client's own retries end
# Settings of Xet, the client of the Hub's storage, which otherwise retries for up to eight minutes.
_XET_LIMITS = {
    "HF_XET_CLIENT_CONNECT_TIMEOUT": f"{TIMEOUT}s",
    "HF_XET_CLIENT_RETRY_MAX_DURATION": f"{MAX_WAIT}s",
}
_RETRIED = (408, 429, 500, 502, 503, 504)
# The client's modules whose warnings of retries show addresses, which may be signed.
_TALKATIVE = ("utils._http", "file_download", "hf_api", "_commit_api")
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class _Bounds:
    """What bounds the requests of one attempt.

    Args:
        where: The repository, as messages name it.
        until: When a request may be repeated for the last time, in the seconds of `time.monotonic`.
        uploading: Whether it is an upload, whose requests may begin late and be answered late.
        tries: How often each request was made.
        began: When the attempt began, in the seconds of `time.time`.
        reported: The files whose download by another process was reported.
        timers: What ends the requests that are not answered in time.
        overdue: Set once one of them was ended.
    """

    where: str
    until: float
    uploading: bool = False
    tries: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    began: float = dataclasses.field(default_factory=time.time)
    reported: set[str] = dataclasses.field(default_factory=set)
    timers: list[threading.Timer] = dataclasses.field(default_factory=list)
    overdue: threading.Event = dataclasses.field(default_factory=threading.Event)


# The bounds of this thread's requests; None outside of `_bounded_requests`.
_bounds: contextvars.ContextVar[_Bounds | None] = contextvars.ContextVar("bounds", default=None)
# Those of an upload, for the threads that the client makes for it: they get no context.
_upload_bounds: list[_Bounds] = []


class NoAnswerError(Exception):
    """The Hub did not answer before the deadline."""


class LockedError(Exception):
    """Another process has locked a file of the client's cache, and makes no progress.

    Args:
        lock: The path of the lock.
        seconds: The time without progress.
    """

    def __init__(self, lock: str, seconds: float):
        super().__init__(lock)
        self.lock = lock
        self.seconds = seconds


class StalledError(Exception):
    """An answer arrives so slowly that it is given up; each read alone is in time.

    Args:
        request: The request.
        rate: The bytes a second that were expected.
        seconds: The time without them.
    """

    def __init__(self, request: "httpx2.Request", rate: float, seconds: float):
        super().__init__(f"less than {rate:g} bytes/s for {seconds:g} s")
        self.request = request
        self.rate = rate
        self.seconds = seconds


class BusyError(Exception):
    """The Hub is busy or has a fault.

    Args:
        status: The HTTP status.
        retry_after: The seconds until the request may be repeated; None if it does not say.
    """

    def __init__(self, status: int, retry_after: float | None):
        super().__init__(f"HTTP {status}")
        self.status = status
        self.retry_after = retry_after


def error_chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what caused it: the client hides answers behind errors of its own."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def http_status(error: BaseException) -> int | None:
    """The HTTP status that an error stands for, if the Hub has answered."""
    for one in error_chain(error):
        if isinstance(one, BusyError):
            return one.status
        response = getattr(one, "response", None)
        if response is not None:
            return int(response.status_code)
    return None


def retry_after(error: BaseException) -> float | None:
    """The seconds until the request may be repeated; None if the Hub did not say."""
    waits = (one.retry_after for one in error_chain(error) if isinstance(one, BusyError))
    return next(waits, None)


def with_retries(
    ask: Callable[[], _T],
    where: str,
    explained: Callable[[str], contextlib.AbstractContextManager[None]],
    *,
    uploading: bool = False,
    attempts: int = _ATTEMPTS,
) -> _T:
    """Calls `ask`, and retries on 408, 429 and server errors, with `MAX_WAIT` seconds of waiting in total.

    Args:
        ask: Makes one or more requests with the Hub's client. All of them are repeated.
        where: The repository, as messages name it.
        explained: Returns a context manager that turns an error into a message about `where`.
        uploading: Whether the requests are those of an upload.
        attempts: How often `ask` is called at most.

    Returns:
        What `ask` returns.
    """
    waited = 0.0
    for attempt in range(attempts):
        try:
            with _bounded_requests(where, uploading):
                return ask()
        except Exception as error:
            status = http_status(error)
            pause = retry_after(error) or 2.0**attempt
            last = attempt == attempts - 1 or waited + pause > MAX_WAIT
            if status not in _RETRIED or last:
                with explained(where):
                    raise
        time.sleep(pause)
        waited += pause
    raise AssertionError("the last attempt returns or raises")


@contextlib.contextmanager
def _bounded_requests(where: str, uploading: bool = False) -> Iterator[None]:
    """Bounds the requests that this thread makes with the client, and its waits for other processes.

    Some of its requests have no time limit, and it waits as long as the Hub asks, even for an hour.
    """
    from huggingface_hub import constants, utils

    for name in _TALKATIVE:
        logging.getLogger(f"huggingface_hub.{name}").addFilter(_is_unbounded)
    # It logs that it waits for a lock, and waits on.
    constants.FILELOCK_LOG_EVERY_SECONDS = _REPORT_LOCK_AFTER  # type: ignore[assignment]
    locks = logging.getLogger("huggingface_hub.utils._fixes")
    locks.setLevel(logging.INFO)
    locks.addFilter(_watch_lock)
    for name, value in _XET_LIMITS.items():  # read when its first request is made
        os.environ.setdefault(name, value)
    _watch_client(utils.get_session())
    bounds = _Bounds(where, time.monotonic() + MAX_WAIT, uploading)
    token = _bounds.set(bounds)
    if uploading:
        _upload_bounds.append(bounds)
    try:
        yield
    except Exception as error:
        if bounds.overdue.is_set():
            raise NoAnswerError from error
        raise
    finally:
        _bounds.reset(token)
        if uploading:
            _upload_bounds.remove(bounds)
        for timer in bounds.timers:
            timer.cancel()


def _watch_client(client: "httpx2.Client") -> None:
    """Bounds each request of a client, once."""
    hooks = client.event_hooks
    if _limit not in hooks["request"]:
        client.event_hooks = {
            "request": [*hooks["request"], _limit],
            "response": [*hooks["response"], _hand_over],
        }


def _current_bounds() -> _Bounds | None:
    return _bounds.get() or next(iter(_upload_bounds), None)


def _is_unbounded(record: logging.LogRecord) -> bool:
    return _current_bounds() is None


def _watch_lock(record: logging.LogRecord) -> bool:
    """Reports a wait for another process's download, and ends it if that makes no progress."""
    bounds = _current_bounds()
    found = re.search(r" lock on (.+) \(elapsed", record.getMessage())
    if bounds is None or found is None:
        return record.levelno >= logging.getLogger("huggingface_hub").getEffectiveLevel()
    lock = pathlib.Path(found[1])
    blobs = lock.parents[2] / lock.parent.name / "blobs"
    changes = [file.stat().st_mtime for file in blobs.glob(f"{lock.stem}*")]
    if time.time() - max([bounds.began, *changes]) > _MAX_LOCKED:
        raise LockedError(str(lock), _MAX_LOCKED)
    if lock.stem not in bounds.reported:
        bounds.reported.add(lock.stem)
        _report(f"Another process is downloading {bounds.where}: waiting until it has finished.")
    return False


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def bounded_transfer(what: str, size: int) -> Iterator[None]:
    """Prints a line about a long transfer, and ends one over Xet that makes no progress.

    Xet silently repeats unanswered requests for up to an hour.

    Args:
        what: What is transferred, such as "downloading config.json of OWNER/NAME".
        size: The number of bytes.
    """
    done = threading.Event()
    threading.Thread(target=_watch_transfer, args=(what, size, done), daemon=True, name="transfer").start()
    try:
        yield
    finally:
        done.set()


def _watch_transfer(what: str, size: int, done: threading.Event) -> None:
    from huggingface_hub import constants

    if done.wait(_REPORT_TRANSFER_AFTER):
        return
    longest = MAX_WAIT + size / _MIN_SPEED
    if not sys.stderr.isatty():  # where there is a progress bar
        _report(f"Still {what} ({size / 1e6:,.1f} MB).")
    if not constants.HF_HUB_DISABLE_XET and not done.wait(longest):
        from huggingface_hub.utils._xet import abort_xet_session

        abort_xet_session()


def _limit(request: "httpx2.Request") -> None:
    """Gives a request without a time limit one, and ends the client's own retries."""
    bounds = _current_bounds()
    if bounds is None:
        return
    if bounds.uploading:
        bounds.tries[request.method, str(request.url)] += 1
        if bounds.tries[request.method, str(request.url)] > _UPLOAD_TRIES:
            raise NoAnswerError
    elif time.monotonic() > bounds.until and request.method == "HEAD":
        raise NoAnswerError
    longest = MAX_WAIT if bounds.uploading and request.method in ("POST", "PUT") else TIMEOUT
    most = longest if request.method == "HEAD" else math.inf  # the client waits a minute, five times
    given = request.extensions.get("timeout") or {}
    limits = {key: min(given.get(key) or longest, most) for key in ("connect", "read", "write", "pool")}
    request.extensions["timeout"] = limits
    if "content-length" in request.headers or request.method in ("GET", "HEAD"):
        body = int(request.headers.get("content-length", 0))
        timer = threading.Timer(_PHASES * longest + body / _MIN_RATE, _end_requests, [bounds])
        timer.daemon = True
        timer.start()
        bounds.timers.append(timer)
        request.extensions["timer"] = timer


def _end_requests(bounds: _Bounds) -> None:
    """Ends the requests of an attempt, one of which was not answered in time.

    Each read of an answer's headers has a time limit, but not their number. The client cannot end one request
    alone: those of other threads end, too.
    """
    from huggingface_hub import utils

    bounds.overdue.set()
    utils.close_session()
    _watch_client(utils.get_session())


def _hand_over(response: "httpx2.Response") -> None:
    """Lets `with_retries` decide when a request is repeated, and bounds the time that a body takes."""
    if _current_bounds() is None:
        return
    if "timer" in response.request.extensions:
        response.request.extensions["timer"].cancel()
    if response.status_code in _RETRIED:
        raise BusyError(response.status_code, _announced_wait(response.headers))
    response.stream = _bounded_stream(response)


def _bounded_stream(response: "httpx2.Response") -> "httpx2.SyncByteStream":
    """The body of a response; StalledError is raised if it arrives at less than `_MIN_RATE`."""
    import httpx2

    class Stream(httpx2.SyncByteStream):
        inner: Any = response.stream

        def __iter__(self) -> Iterator[bytes]:
            began, count = time.monotonic(), 0
            for part in self.inner:
                count += len(part)
                seconds = time.monotonic() - began
                if seconds >= _STALLED_AFTER:
                    if count < _MIN_RATE * seconds:
                        raise StalledError(response.request, _MIN_RATE, _STALLED_AFTER)
                    began, count = time.monotonic(), 0
                yield part

        def close(self) -> None:
            self.inner.close()

        def __getattr__(self, name: str):
            return getattr(self.inner, name)  # the time that the response took

    return Stream()


def _announced_wait(headers: Mapping[str, str]) -> float | None:
    """The seconds until a request may be repeated: the Hub's own header, or HTTP's, a number or a date."""
    from huggingface_hub.utils import parse_ratelimit_headers

    limit = parse_ratelimit_headers(headers)
    if limit and not limit.remaining:
        return limit.reset_in_seconds + 1.0  # a part of a second is left out
    value = headers.get("retry-after", "")
    if value.isdecimal():
        return float(value)
    date = email.utils.parsedate_tz(value)
    try:
        return max(email.utils.mktime_tz(date) - time.time(), 0.0) if date else None
    except (ValueError, OverflowError):
        return None
