"""Downloads model repositories from the Hugging Face Hub: only the needed files, verified."""

import atexit
import contextlib
import fnmatch
import hashlib
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from resnext.atomic import write_atomically
from resnext.config import ModelConfig
from resnext.errors import ConfigError, RepositoryError, ResNeXtError
from resnext.hub_errors import Task, client_errors, explain_fault
from resnext.hub_requests import TIMEOUT, bounded_transfer, http_status, with_retries
from resnext.shapes import network_modules, tensor_shapes
from resnext.weights import networks, read_tensors, weights_file

NEEDED = ("config.json", "model.safetensors")
# Of the photographs in examples/, which the page offers.
EXAMPLE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_EXAMPLES = 24
_MAX_OPTIONAL_BYTES = 32 * 2**20  # of a file that is not needed to classify
_PICKLES = (".bin", ".pth", ".pt", ".pth.tar")  # OpenVINO's weights are .bin, too
_COMMIT = re.compile(r"[0-9a-f]{40}")


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

    If the token is not accepted, the Hub is asked again without it. If the download fails, the last commit
    that was downloaded completely is used. Every file is compared with the hash that the Hub announced, each
    time before it is used: a process that was killed may have left anything.

    Args:
        repo_id: The repository, OWNER/NAME.
        revision: A branch, tag or commit. Default: the main branch.
        optional: Patterns of further files. One that cannot be downloaded is named in the notice.
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
    """Adds a notice to a copy that is used although it may not be the newest commit.

    Args:
        known: The copy.
        reason: Why the newest commit is not used, a sentence.
    """
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
        return HfApi(token=token).model_info(repo_id, revision=revision, files_metadata=True)

    info = with_retries(ask, where, _explained)
    with _explained(where):
        commit = str(info.sha)
        sizes = {str(file.rfilename): int(file.size or 0) for file in info.siblings}
        if not _COMMIT.fullmatch(commit):
            raise ValueError("the commit is not a hash")
    weights = _weights_name(sizes)
    for name in ("config.json", weights):
        if name not in sizes:
            raise _Refused(missing_file(f"{where} on the Hub", name, sizes))
    return Listing(commit, sizes, weights, bool(info.private or info.gated))


def _update(repo_id: str, revision: str | None, optional: Iterable[str], token: bool | None) -> Pulled:
    """Downloads what is missing of the newest commit; with `token=False` without the owner's token."""
    where = f"{repo_id}@{revision}" if revision else repo_id
    commit, sizes, weights, _ = list_files(repo_id, revision, token)

    def fetch(name: str, what: str = where) -> pathlib.Path:
        with bounded_transfer(f"downloading {name} of {where}", sizes[name]):
            return _fetch(repo_id, commit, name, what, token)

    folder = fetch("config.json").parent
    _check_size(folder / "config.json", sizes[weights], where)
    fetch(weights)
    _remember(folder, revision, commit)
    try:
        for name in choose_files(sizes, optional):
            fetch(name, f"{name} of {where}")
    except RepositoryError as error:
        return Pulled(folder, commit, f"Some results of {where} are missing: {error}", False)
    return Pulled(folder, commit)


def _fetch(repo_id: str, commit: str, name: str, where: str, token: bool | None) -> pathlib.Path:
    """Downloads a file of a commit, unless it is here, and verifies it."""
    from huggingface_hub import hf_hub_download

    def download():
        return hf_hub_download(repo_id, name, revision=commit, etag_timeout=TIMEOUT, token=token)

    path = pathlib.Path(with_retries(download, where, _explained))
    with _explained(where):
        if _matches_its_name(path):
            return path
        # Otherwise the client would use the same bytes again.
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise RepositoryError(
            f"{where} arrived damaged: {name} is not the file that the Hub announced. It was deleted: try "
            "again."
        )


def choose_files(sizes: dict[str, int], patterns: Iterable[str]) -> list[str]:
    """Chooses the optional files to download: no more and no larger ones than a page shows.

    Args:
        sizes: The size of each file of the repository in bytes, by name.
        patterns: Patterns of names, as `fnmatch` takes them.

    Returns:
        The names in alphabetical order, without config.json and the weights.
    """
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
    pictures = [name for name in examples if name.lower().endswith(EXAMPLE_SUFFIXES)][:MAX_EXAMPLES]
    left_out = set(examples) - {*pictures, "examples/CREDITS.md"}
    return [name for name in names if name not in left_out]


def _check_size(config_file: pathlib.Path, announced: int, where: str) -> None:
    """Compares the announced size of the weights with what the network of config.json can have."""
    try:
        config = ModelConfig.read(config_file)
    except ConfigError:
        return  # reported when it is opened
    parameters = sum(module.parameters for module in network_modules(config.architecture, config.num_classes))
    most = 8 * parameters + 16 * 2**20  # float64 is the largest dtype; statistics and header are small
    if announced > most:
        raise _Refused(
            f"{where} has weights of {announced / 1e6:,.0f} MB, but the network of its config.json has at "
            f"most {most / 1e6:,.0f} MB: it is not a valid model repository."
        )


def _weights_name(names: Collection[str]) -> str:
    """The file of the weights: model.safetensors, or as in timm the only such file."""
    others = networks(names)
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
    names = list(names)
    pickles = sorted(file for file in names if file.endswith(_PICKLES) and "openvino_" not in file)
    shards = networks(names)
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
        models: The repositories to copy along, OWNER/NAME or OWNER/NAME@REVISION: they may be preloaded.

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
    """Finds the last complete download of a revision, without asking the Hub.

    Args:
        repo_id: The repository, OWNER/NAME.
        revision: A branch, tag or commit. Default: the main branch.

    Returns:
        The copy; None if there is none whose config and weights are intact.
    """
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
    """The commit that a branch or tag named when the Hub was last asked."""
    record = cache / "refs" / revision
    snapshots = [] if record.is_file() or revision != "main" else os.listdir(cache / "snapshots")
    # A Space preloads a commit, which leaves no record of the branch.
    return snapshots[0] if len(snapshots) == 1 else record.read_text().strip()


def _remember(folder: pathlib.Path, revision: str | None, commit: str) -> None:
    """Records a valid commit as the one to use for a revision while the Hub cannot be reached."""
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
        return  # reported when it is opened
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


def _download(where: str) -> Task:
    from huggingface_hub import constants

    refusals = {
        403: ("The Hub does not allow the download", "check the rights of your account"),
        404: ("The Hub no longer has one of its files", "try again"),
    }
    return Task(f"{where} could not be downloaded", refusals, str(constants.HF_HUB_CACHE), "HF_HOME")


def _no_revision(where: str) -> str:
    repo_id, _, revision = where.partition("@")
    return f"{repo_id} has no revision {revision!r}: look at its branches and commits on the Hub."


@contextlib.contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turns the errors of the Hub's client into a RepositoryError."""
    from huggingface_hub import errors

    try:
        yield
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
