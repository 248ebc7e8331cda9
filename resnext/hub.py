"""Downloads model repositories from the Hugging Face Hub: only the needed files, verified, with retries."""

import atexit
import collections
import contextlib
import contextvars
import dataclasses
import email.utils
import errno
import fnmatch
import hashlib
import logging
import math
import os
import pathlib
import re
import shutil
import socket
import ssl
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from resnext.atomic import write_atomically
from resnext.config import ModelConfig
from resnext.errors import ConfigError, RepositoryError, ResNeXtError, printable
from resnext.shapes import network_modules, tensor_shapes
from resnext.weights import read_tensors, weights_file

if TYPE_CHECKING:
    import httpx2

NEEDED = ("config.json", "model.safetensors")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_EXAMPLES = 24
MAX_WAIT = 60  # total seconds between retries of a request
_LONGEST_WAIT = 86400  # seconds until the Hub may be asked again, above which they are not said
_TIMEOUT = 15  # seconds without an answer, after which a request has failed
_PROBE_SECONDS = 1.0  # for the answer of a program that may not be the Hub
_ATTEMPTS = 4
_LOCK_SAID = 5.0  # seconds of waiting for another process that downloads, after which that is said
_MAX_LOCKED = 300.0  # seconds without progress of that process, after which it is not waited for
_TRANSFER_SAID = 30.0  # seconds, after which a transfer is said
_MIN_SPEED = 50_000  # bytes a second, below which a transfer over Xet is ended
_UPLOAD_TRIES = 2  # of a request, after which the client's own retries end
# Of the client of the Hub's storage, Xet, which otherwise repeats requests for up to eight minutes.
_XET_LIMITS = {
    "HF_XET_CLIENT_CONNECT_TIMEOUT": f"{_TIMEOUT}s",
    "HF_XET_CLIENT_RETRY_MAX_DURATION": f"{MAX_WAIT}s",
}
_RETRIED = (408, 429, 500, 502, 503, 504)
_MAX_OPTIONAL_BYTES = 32 * 2**20  # of a file that is not needed to classify
# The next step where something else than the Hub has answered.
_NOT_THE_HUB = "try again, or look for a proxy or a login page that answers in its place"
_PICKLES = (".bin", ".pth", ".pt", ".pth.tar")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# The client's modules whose warnings of retries show addresses, which may be signed.
_TALKATIVE = ("utils._http", "file_download", "hf_api", "_commit_api")
# What the Hub's client raises at malformed answers, which no Hub would give.
_MALFORMED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
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
        said: The files that another process downloads, and that were said to be waited for.
    """

    where: str
    until: float
    uploading: bool = False
    tries: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    began: float = dataclasses.field(default_factory=time.time)
    said: set[str] = dataclasses.field(default_factory=set)


# The bounds of this thread's requests; None outside of `_bounded_requests`.
_bounds: contextvars.ContextVar[_Bounds | None] = contextvars.ContextVar("bounds", default=None)
# Those of an upload, for the threads that the client makes for it: they get no context.
_upload_bounds: list[_Bounds] = []


class Pulled(NamedTuple):
    """A downloaded repository.

    Args:
        folder: The folder of its files.
        commit: The commit, 40 hexadecimal digits.
        notice: What the user should know about the download; usually empty.
        current: Whether it is the newest commit with all of its files.
    """

    folder: pathlib.Path
    commit: str
    notice: str = ""
    current: bool = True


class Listing(NamedTuple):
    """What the Hub has of a commit of a repository.

    Args:
        commit: The commit, 40 hexadecimal digits.
        sizes: The size of each file in bytes, by name.
        weights: The name of the file of the weights.
        restricted: Whether the repository is private or gated, so that it opens only with a token.
    """

    commit: str
    sizes: dict[str, int]
    weights: str
    restricted: bool


class _Refused(RepositoryError):
    """The repository does not exist, is invalid, or access is denied: an older copy must not be used."""


class _BadToken(RepositoryError):
    """The Hub does not accept the token that was sent."""


def pull(
    repo_id: str, revision: str | None, optional: Iterable[str] = (), *, anonymous: bool = False
) -> Pulled:
    """Downloads a repository, unless its commit is here already.

    If the token is not accepted, the Hub is asked once more without it. If the download fails, the commit is
    used that was last downloaded whole. Every file is compared with the hash that the Hub announced, each
    time before it is used: a process that was killed may have left anything.

    Args:
        repo_id: The repository, OWNER/NAME.
        revision: A branch, tag or commit. Default: the main branch.
        optional: Patterns of files that are downloaded, too, as far as that works.
        anonymous: Whether the Hub is asked without a token, and without a copy that a token has opened.

    Raises:
        RepositoryError: The repository does not exist, or cannot be downloaded and was not before.
    """
    known = None if anonymous else find_copy(repo_id, revision)
    if known and known.commit == revision and not optional:
        return known
    try:
        try:
            return _update(repo_id, revision, optional, False if anonymous else None)
        except _BadToken as error:
            return _update_without_token(repo_id, revision, optional, error)
    except _Refused as error:
        raise RepositoryError(str(error)) from None
    except RepositoryError as error:
        if known is None:
            raise
        return stale_copy(known, str(error))


def stale_copy(known: Pulled, reason: str) -> Pulled:
    """A copy that is used although it may not be the newest commit, with a notice that says why."""
    notice = f"{reason} Until then, the copy of commit {known.commit[:7]} is used."
    return known._replace(notice=notice, current=False)


def _update_without_token(
    repo_id: str, revision: str | None, optional: Iterable[str], error: _BadToken
) -> Pulled:
    """Downloads a public repository after its owner's token was refused."""
    try:
        pulled = _update(repo_id, revision, optional, False)
    except RepositoryError:
        raise error from None
    said = (
        f"The Hub does not accept the token that was sent, so {repo_id} was downloaded without it: log in "
        "with `hf auth login`, or unset HF_TOKEN."
    )
    return pulled._replace(notice=f"{said} {pulled.notice}".strip())


def list_files(repo_id: str, revision: str | None, token: bool | None = None) -> Listing:
    """Asks the Hub what a model repository has.

    Args:
        repo_id: The repository, OWNER/NAME.
        revision: A branch, tag or commit. Default: the main branch.
        token: False to ask without the owner's token.

    Raises:
        RepositoryError: The repository does not exist, is not a model repository, or the Hub does not answer.
    """
    from huggingface_hub import HfApi

    where = f"{repo_id}@{revision}" if revision else repo_id
    if ".." in (revision or ""):  # Git allows no such name, and an address with it is another one's
        raise _Refused(_no_revision(where))

    def ask():
        api = HfApi(token=token)
        return api.model_info(repo_id, revision=revision, files_metadata=True, timeout=_TIMEOUT)

    info = with_retries(ask, where)
    with _explained(where):
        commit = str(info.sha)
        sizes = {str(file.rfilename): int(file.size or 0) for file in info.siblings}
        if not _COMMIT.fullmatch(commit):
            raise ValueError("its commit is not one")
    weights = _weights_name(sizes)
    for name in ("config.json", weights):
        if name not in sizes:
            raise _Refused(missing_file(f"{where} on the Hub", name, sizes))
    return Listing(commit, sizes, weights, bool(info.private or info.gated))


def _update(repo_id: str, revision: str | None, optional: Iterable[str], token: bool | None) -> Pulled:
    """Downloads what is missing of the newest commit; with `token=False` without the owner's token."""
    where = f"{repo_id}@{revision}" if revision else repo_id
    commit, sizes, weights, _ = list_files(repo_id, revision, token)

    def fetch(name: str) -> pathlib.Path:
        with bounded_transfer(f"downloading {name} of {where}", sizes[name]):
            return _fetch(repo_id, commit, name, where, token)

    folder = fetch("config.json").parent
    _check_size(folder / "config.json", sizes[weights], where)
    fetch(weights)
    _remember(folder, revision, commit)
    try:
        for name in choose_files(sizes, optional):
            fetch(name)
    except RepositoryError as error:
        return Pulled(folder, commit, f"Some results of {where} are missing: {error}", False)
    return Pulled(folder, commit)


def _fetch(repo_id: str, commit: str, name: str, where: str, token: bool | None) -> pathlib.Path:
    """Downloads a file of a commit, unless it is here, and verifies it."""
    from huggingface_hub import hf_hub_download

    def download():
        return hf_hub_download(repo_id, name, revision=commit, etag_timeout=_TIMEOUT, token=token)

    path = pathlib.Path(with_retries(download, where))
    with _explained(where):
        if _matches_its_name(path):
            return path
        # Or else the client would take the same bytes again.
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise RepositoryError(
            f"{where} arrived damaged: {name} is not the file that the Hub announced. It was deleted: try "
            "again."
        )


def choose_files(sizes: dict[str, int], patterns: Iterable[str]) -> list[str]:
    """The optional files to download: no more and no larger ones than a page shows."""
    patterns = tuple(patterns)
    names = [
        name
        for name, size in sorted(sizes.items())
        if name not in ("config.json", _weights_name(sizes))
        and size <= _MAX_OPTIONAL_BYTES
        and ".." not in pathlib.PurePosixPath(name).parts
        and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    ]
    examples = [name for name in names if name.startswith("examples/")]
    pictures = [name for name in examples if name.lower().endswith(IMAGE_SUFFIXES)][:MAX_EXAMPLES]
    left_out = set(examples) - {*pictures, "examples/CREDITS.md"}
    return [name for name in names if name not in left_out]


def _check_size(config_file: pathlib.Path, announced: int, where: str) -> None:
    """Compares the announced size of the weights with what the network of config.json can have."""
    try:
        config = ModelConfig.read(config_file)
    except ConfigError:
        return  # said when it is opened
    parameters = sum(module.parameters for module in network_modules(config.architecture, config.num_classes))
    most = 8 * parameters + 16 * 2**20  # float64 is the largest dtype; statistics and header are small
    if announced > most:
        raise _Refused(
            f"{where} has weights of {announced / 1e6:,.0f} MB, but the network of its config.json has at "
            f"most {most / 1e6:,.0f} MB: it is not a valid model repository."
        )


def _weights_name(names: Collection[str]) -> str:
    """The file of the weights: model.safetensors, or as in timm the only such file."""
    others = [name for name in names if name.endswith(".safetensors") and "/" not in name]
    if NEEDED[1] in names or len(others) != 1:
        return NEEDED[1]
    return others[0]


def missing_file(where: str, name: str, names: Iterable[str]) -> str:
    """Why a model repository cannot be used without one of its files, and what to do.

    Args:
        where: The repository.
        name: The file that is missing.
        names: The files that are there.
    """
    pickles = sorted(file for file in names if file.endswith(_PICKLES))
    shards = sorted(file for file in names if file.endswith(".safetensors"))
    if name == "config.json":
        pass
    elif shards:
        return (
            f"{where} has its weights in {len(shards)} files, such as {shards[0]}: merge them into "
            "model.safetensors (in PyTorch, `load_file` each and `save_file` their union, both from "
            "safetensors.torch)."
        )
    elif pickles:
        return (
            f"{where} has its weights only as a pickle, {pickles[0]}, which is not opened: convert it in "
            f"PyTorch (`safetensors.torch.save_file(torch.load('{pickles[0]}', weights_only=True), "
            "'model.safetensors')`)."
        )
    return (
        f"{where} is not a model repository: it has no {name}. Name a timm image classifier in safetensors, "
        "or make one with `resnext fit`."
    )


def use_writable_cache(models: Iterable[str]) -> str:
    """Moves the client's cache to a temporary folder if it cannot be written.

    Args:
        models: The repositories to take along, OWNER/NAME or OWNER/NAME@REVISION: they may be preloaded.

    Returns:
        A sentence that says so; empty if the cache can be written.
    """
    from huggingface_hub import constants

    cache = pathlib.Path(constants.HF_HUB_CACHE)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            return ""
    except OSError:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="resnext-hub-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for model in models:
        preloaded = _cache_folder(model.partition("@")[0])
        with contextlib.suppress(OSError):
            shutil.copytree(preloaded, folder / preloaded.name, symlinks=True, dirs_exist_ok=True)
    constants.HF_HUB_CACHE = str(folder)
    constants.HF_XET_CACHE = os.environ["HF_XET_CACHE"] = str(folder / "xet")
    return (
        f"{cache} cannot be written, so downloads go to {folder} until the page ends: set HF_HOME to a "
        "folder that can be written."
    )


def _cache_folder(repo_id: str) -> pathlib.Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return pathlib.Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo_id, repo_type="model"))


def find_copy(repo_id: str, revision: str | None) -> Pulled | None:
    """The commit of a revision that was last downloaded whole, if it still is; the Hub is not asked."""
    cache = _cache_folder(repo_id)
    commit = revision or "main"
    try:
        if not _COMMIT.fullmatch(commit):
            commit = _recorded_commit(cache, commit)
        folder = cache / "snapshots" / commit
        whole = _COMMIT.fullmatch(commit) and all(
            _matches_its_name(file) for file in (folder / "config.json", weights_file(folder))
        )
    except (OSError, ValueError):
        return None
    return Pulled(folder, commit) if whole else None


def _recorded_commit(cache: pathlib.Path, revision: str) -> str:
    """The commit that a branch or tag was when the Hub was last asked."""
    record = cache / "refs" / revision
    snapshots = [] if record.is_file() or revision != "main" else os.listdir(cache / "snapshots")
    # A Space preloads a commit, which leaves no record of the branch.
    return snapshots[0] if len(snapshots) == 1 else record.read_text().strip()


def _remember(folder: pathlib.Path, revision: str | None, commit: str) -> None:
    """Makes a commit the one that a revision stands for while the Hub cannot be asked, if it is valid."""
    if revision == commit:
        return
    record = folder.parents[1] / "refs" / (revision or "main")
    with contextlib.suppress(OSError, ValueError):
        if record.read_text().strip() == commit:
            return
    try:
        config = ModelConfig.read(folder / "config.json")
        read_tensors(weights_file(folder), tensor_shapes(config.architecture, config.num_classes))
    except ResNeXtError:
        return  # said when it is opened
    with contextlib.suppress(OSError):  # a cache that cannot be written still holds the files
        record.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(record, commit)


def _matches_its_name(link: pathlib.Path) -> bool:
    """Whether a file in the client's cache has the content that the Hub announced.

    The client compares only sizes. But it names files by the hash that the Hub gave: SHA-256 for large files,
    Git's SHA-1 for the others. Where a system has no symbolic links, files keep their own names and are not
    checked.
    """
    if not link.is_file():
        return False
    announced = os.path.basename(os.readlink(link)) if link.is_symlink() else ""
    if len(announced) == 64:
        digest = hashlib.sha256()
    elif len(announced) == 40:
        digest = hashlib.sha1(b"blob %d\0" % link.stat().st_size)
    else:
        return True
    with link.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: digest).hexdigest() == announced


def with_retries(
    ask: Callable[[], _T],
    where: str,
    explained: "Callable[[str], contextlib.AbstractContextManager[None]] | None" = None,
    *,
    uploading: bool = False,
    attempts: int = _ATTEMPTS,
) -> _T:
    """Calls `ask`, and retries on 408, 429 and server errors, with `MAX_WAIT` seconds of waiting in total.

    Args:
        ask: Makes one or more requests with the Hub's client. All of them are repeated.
        where: The repository, as messages name it.
        explained: Turns an error into a message. Default: that of a download.
        uploading: Whether the requests are those of an upload.
        attempts: How often `ask` is called at most.
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
                with (explained or _explained)(where):
                    raise
        time.sleep(pause)
        waited += pause
    raise AssertionError("the last attempt returns or raises")


@contextlib.contextmanager
def _bounded_requests(where: str, uploading: bool = False) -> Iterator[None]:
    """Bounds the requests that this thread makes with the client, and its waits for other processes.

    Some of its requests wait for ever, and where the Hub asks to wait for an hour, it does.
    """
    from huggingface_hub import constants, utils

    for name in _TALKATIVE:
        logging.getLogger(f"huggingface_hub.{name}").addFilter(_is_unbounded)
    # It logs that it waits for a lock, and waits on.
    constants.FILELOCK_LOG_EVERY_SECONDS = _LOCK_SAID  # type: ignore[assignment]
    locks = logging.getLogger("huggingface_hub.utils._fixes")
    locks.setLevel(logging.INFO)
    locks.addFilter(_watch_lock)
    for name, value in _XET_LIMITS.items():  # read when its first request is made
        os.environ.setdefault(name, value)
    client = utils.get_session()
    hooks = client.event_hooks
    if _limit not in hooks["request"]:
        client.event_hooks = {
            "request": [*hooks["request"], _limit],
            "response": [*hooks["response"], _hand_over],
        }
    bounds = _Bounds(where, time.monotonic() + MAX_WAIT, uploading)
    token = _bounds.set(bounds)
    if uploading:
        _upload_bounds.append(bounds)
    try:
        yield
    finally:
        _bounds.reset(token)
        if uploading:
            _upload_bounds.remove(bounds)


def _current_bounds() -> _Bounds | None:
    return _bounds.get() or next(iter(_upload_bounds), None)


def _is_unbounded(record: logging.LogRecord) -> bool:
    return _current_bounds() is None


def _watch_lock(record: logging.LogRecord) -> bool:
    """Says that another process downloads a file, and ends the wait for one that makes no progress."""
    bounds = _current_bounds()
    found = re.search(r" lock on (.+) \(elapsed", record.getMessage())
    if bounds is None or found is None:
        return record.levelno >= logging.getLogger("huggingface_hub").getEffectiveLevel()
    lock = pathlib.Path(found[1])
    blobs = lock.parents[2] / lock.parent.name / "blobs"
    changes = [file.stat().st_mtime for file in blobs.glob(f"{lock.stem}*")]
    if time.time() - max([bounds.began, *changes]) > _MAX_LOCKED:
        raise LockedError(str(lock))
    if lock.stem not in bounds.said:
        bounds.said.add(lock.stem)
        _say(f"Another process is downloading {bounds.where}: waiting until it has finished.")
    return False


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def bounded_transfer(what: str, size: int) -> Iterator[None]:
    """Says that a transfer takes long, and ends one over Xet that makes no progress.

    Xet repeats requests that are not answered for up to an hour, and says nothing.

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

    if done.wait(_TRANSFER_SAID):
        return
    longest = MAX_WAIT + size / _MIN_SPEED
    if not sys.stderr.isatty():  # where there is a progress bar
        _say(f"Still {what} ({size / 1e6:,.1f} MB).")
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
    longest = MAX_WAIT if bounds.uploading and request.method in ("POST", "PUT") else _TIMEOUT
    most = longest if request.method == "HEAD" else math.inf  # the client waits a minute, five times
    given = request.extensions.get("timeout") or {}
    limits = {key: min(given.get(key) or longest, most) for key in ("connect", "read", "write", "pool")}
    request.extensions["timeout"] = limits


def _hand_over(response: "httpx2.Response") -> None:
    """Lets `with_retries` decide when a request is repeated."""
    if _current_bounds() is not None and response.status_code in _RETRIED:
        raise BusyError(response.status_code, _announced_wait(response.headers))


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


class NoAnswerError(Exception):
    """The Hub did not answer before the deadline."""


class LockedError(Exception):
    """Another process has locked a file of the client's cache, and makes no progress.

    Args:
        lock: The path of the lock.
    """

    def __init__(self, lock: str):
        super().__init__(lock)
        self.lock = lock


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
    waits = (one.retry_after for one in error_chain(error) if isinstance(one, BusyError))
    return next(waits, None)


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


def _refusal(status: int, error: Exception, task: Task) -> tuple[str, str]:
    """The reason and the next step for an HTTP status."""
    if status in task.refusals:
        reason, step = task.refusals[status]
        return f"{reason}{_said(error)}", step
    if status == 401:
        return (
            "The Hub does not accept the token that was sent",
            "log in with `hf auth login`, or correct or unset HF_TOKEN",
        )
    if status == 429:
        wait = retry_after(error) or 0
        soon = 0 < wait <= _LONGEST_WAIT
        return "The Hub asks for fewer requests", f"try again in {wait:.0f} s" if soon else "try again later"
    if status == 408:
        return "The Hub did not answer", "try again later"
    if status == 407:
        return (
            "The proxy asks for a login",
            "write USER:PASSWORD@ before its name in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY",
        )
    if status >= 500:
        return f"The Hub has a fault of its own (HTTP {status})", "try again later"
    return f"The Hub refused it (HTTP {status}){_said(error)}", "correct that, and try again"


def _said(error: Exception) -> str:
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
        f"Another process has been downloading this for {_MAX_LOCKED / 60:.0f} minutes without progress",
        f"end it and try again, or if there is none, delete {locked.lock}",
    )


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


def _redirect_fault(chain: list[BaseException]) -> tuple[str, str] | None:
    """An answer that leads to an address that cannot be asked."""
    import httpx2

    leads = _endpoint().scheme in ("http", "https") and _has(chain, httpx2.UnsupportedProtocol)
    if leads or any("location header" in str(one) for one in chain):
        return "The answer leads to an address that is not one of the web", _NOT_THE_HUB
    return None


def _endpoint() -> urllib.parse.SplitResult:
    from huggingface_hub import constants

    return urllib.parse.urlsplit(constants.ENDPOINT)


def _connection_fault(chain: list[BaseException]) -> tuple[str, str] | None:
    import httpx2

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


def _host(error: "httpx2.TransportError") -> str | None:
    """The host that was asked, or that of the Hub if the error does not say."""
    try:
        return error.request.url.host
    except RuntimeError:
        return _endpoint().hostname


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
        f"{file or 'The system'} has a fault ({os.strerror(number).lower()})",
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
            "The Hub's storage of large files (Xet) has a fault or cannot be reached",
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


def _has(chain: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(one, kinds) for one in chain)


def _no_revision(where: str) -> str:
    repo_id, _, revision = where.partition("@")
    return f"{repo_id} has no revision {revision!r}: look at its branches and commits on the Hub."


def _download(where: str) -> Task:
    from huggingface_hub import constants

    refusals = {
        403: ("The Hub does not allow the download", "check the rights of your account"),
        404: ("The Hub does not have one of its files any more", "try again"),
    }
    return Task(f"{where} could not be downloaded", refusals, str(constants.HF_HUB_CACHE), "HF_HOME")


@contextlib.contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turns the errors of the Hub's client into a RepositoryError."""
    from huggingface_hub import errors

    try:
        yield
    except RepositoryError:
        raise
    except errors.GatedRepoError:
        raise _Refused(
            f"{where} is gated: ask for access on its page, then log in with `hf auth login`."
        ) from None
    except errors.RevisionNotFoundError:
        raise _Refused(_no_revision(where)) from None
    except errors.RepositoryNotFoundError:
        raise _Refused(
            f"{where} is not on the Hub, nor a folder here; if it is private, log in with `hf auth login`."
        ) from None
    except errors.HFValidationError as error:
        raise _Refused(f"{where} is not a valid repository id: {error}") from None
    except client_errors() as error:
        kind = _BadToken if http_status(error) == 401 else RepositoryError
        raise kind(explain_fault(error, _download(where))) from None
