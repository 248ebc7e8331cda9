"""Finds, verifies and reads a model repository: the bundled one, a folder, or one on the Hugging Face Hub."""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import re
import time
from collections.abc import Iterator

import numpy as np

from resnext.config import ModelConfig
from resnext.errors import RepositoryError
from resnext.shapes import tensor_shapes
from resnext.weights import read_tensors

BUNDLED_FOLDER = pathlib.Path(__file__).parent / "flowers"
NEEDED = ("config.json", "model.safetensors")
# All files of a repository that this project reads. Nothing else is downloaded.
PATTERNS = [
    *NEEDED,
    "recipe.json",
    "history.csv",
    "evaluation.json",
    "README.md",
    "figures/*.png",
    "examples/*",
    "mistakes/*.jpg",
    "quantization.json",
    "openvino_int8.xml",
    "openvino_int8.bin",
]
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
# Seconds to wait for the Hub's first answer.
_TIMEOUT = 15
# What the Hub's client raises at malformed answers, which no Hub would give.
_MALFORMED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


@dataclasses.dataclass(frozen=True)
class Repository:
    """A model repository on this machine.

    Args:
        name: The name to show: a repository id, a folder's path, or "flowers (bundled)".
        folder: The folder that holds its files.
        revision: The commit of a Hub repository (40 hexadecimal digits), otherwise None.
        stale: Whether the Hub could not be reached, so that this is the copy that was downloaded last.
    """

    name: str
    folder: pathlib.Path
    revision: str | None = None
    stale: bool = False


def find_repository(model: str | os.PathLike | None = None, revision: str | None = None) -> Repository:
    """Finds a model repository, and downloads it from the Hub if needed.

    Args:
        model: A folder, or a repository id such as "OWNER/NAME" or "OWNER/NAME@REVISION". Defaults to the
            bundled model.
        revision: A branch, tag or commit of a Hub repository.

    Raises:
        RepositoryError: It does not exist or is incomplete, or it cannot be reached and was never downloaded.
    """
    if model is None:
        if revision:
            raise RepositoryError(
                "The bundled model has no revisions: "
                f"name a Hub repository, or leave the revision {revision!r} out."
            )
        return Repository("flowers (bundled)", BUNDLED_FOLDER)
    # Leaves the ~ of an unknown user as it is, where pathlib's expanduser raises.
    path = os.path.expanduser(model)
    # False, not an error, for a name that no file can have.
    if os.path.isdir(path):
        return _open_folder(model, pathlib.Path(path), revision)
    if revision is None:
        model, _, revision = str(model).partition("@")
    if not _REPO_ID.fullmatch(str(model)):
        raise RepositoryError(
            f"{str(model)[:200]!r} is neither a folder nor a Hub repository such as OWNER/NAME."
        )
    return _download(str(model), revision or None)


def _open_folder(model: str | os.PathLike, folder: pathlib.Path, revision: str | None) -> Repository:
    if revision:
        raise RepositoryError(
            f"{model} is a folder and has no revisions: leave the revision {revision!r} out."
        )
    missing = _missing(folder)
    if missing:
        raise RepositoryError(
            f"{model} is not a model repository: it has no {missing[0]}. Make one with `resnext fit`."
        )
    return Repository(str(model), folder)


def _missing(folder: pathlib.Path) -> list[str]:
    # A named pipe is no file either: reading it would block for ever.
    return [name for name in NEEDED if not os.path.isfile(folder / name)]


def load_config(repository: Repository) -> ModelConfig:
    """Reads config.json of a model repository.

    Raises:
        ConfigError: It is missing or invalid.
    """
    return ModelConfig.read(repository.folder / "config.json")


def weights_digest(folder: pathlib.Path) -> str:
    """Returns the SHA-256 of a repository's weights in hexadecimal digits.

    quantization.json and evaluation.json have it, so that they are not used with other weights.
    """
    with (folder / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_tensors(repository: Repository, config: ModelConfig) -> dict[str, np.ndarray]:
    """Reads model.safetensors of a model repository.

    Args:
        repository: The repository.
        config: Its config, which says what tensors there must be.

    Returns:
        Arrays by timm's key.

    Raises:
        WeightsError: The file is missing or incomplete, or does not fit the config.
    """
    expected = tensor_shapes(config.architecture, config.num_classes)
    return read_tensors(repository.folder / "model.safetensors", expected)


def _download(repo_id: str, revision: str | None) -> Repository:
    where = f"{repo_id}@{revision}" if revision else repo_id
    start = time.time()
    with _explained(repo_id, revision, where):
        folder, stale = _snapshot(repo_id, revision)
    # Some file systems record times in whole seconds.
    corrupt = _corrupt_files(folder, since=start - 2)
    for file in corrupt:
        # Or else the client would take the same bytes again.
        file.resolve().unlink(missing_ok=True)
        file.unlink()
    if corrupt:
        raise RepositoryError(
            f"{where} arrived damaged: {corrupt[0].name} is not the file that the Hub announced. "
            "It was deleted: try again."
        )
    missing = _missing(folder)
    if missing:
        raise RepositoryError(
            f"{where} on the Hub has no {missing[0]}: it is not a timm image classifier in safetensors."
        )
    return Repository(repo_id, folder, revision=folder.name, stale=stale)


def _snapshot(repo_id: str, revision: str | None) -> tuple[pathlib.Path, bool]:
    """Downloads a repository. Returns its folder, and whether it is a copy of unknown age."""
    # Imported here: it takes half a second, which a local model does not need.
    import httpx2
    import huggingface_hub
    from huggingface_hub import errors

    stale = False
    try:
        huggingface_hub.HfApi().model_info(repo_id, revision=revision, timeout=_TIMEOUT)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError):
        raise
    except (httpx2.HTTPError, OSError, *_MALFORMED):
        stale = True
    folder = huggingface_hub.snapshot_download(
        repo_id, revision=revision, allow_patterns=PATTERNS, local_files_only=stale
    )
    return pathlib.Path(folder), stale


@contextlib.contextmanager
def _explained(repo_id: str, revision: str | None, where: str) -> Iterator[None]:
    """Turns the errors of the Hub's client into one sentence each."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise RepositoryError(
            f"{where} is gated: ask for access on its page, then log in with `hf auth login`."
        ) from None
    except errors.RevisionNotFoundError:
        raise RepositoryError(
            f"{repo_id} has no revision {revision!r}: look at its branches and commits on the Hub."
        ) from None
    except errors.RepositoryNotFoundError:
        raise RepositoryError(
            f"{where} is not on the Hub, nor a folder here; if it is private, log in with `hf auth login`."
        ) from None
    except errors.LocalEntryNotFoundError:
        raise RepositoryError(
            f"The Hub cannot be reached and {where} was never downloaded: try again, or name a folder."
        ) from None
    except errors.HFValidationError as error:
        raise RepositoryError(f"{where} is not a valid repository id: {error}") from None
    except (httpx2.HTTPError, OSError, *_MALFORMED) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RepositoryError(f"{where} could not be downloaded ({reason}): try again.") from None


def _corrupt_files(folder: pathlib.Path, since: float) -> list[pathlib.Path]:
    """Finds downloaded files whose content is not what the Hub announced.

    The client compares only their sizes. But it names them, in its cache, by the hash that the Hub gave:
    SHA-256 for large files, Git's SHA-1 for the others. Where a system has no symbolic links, files keep
    their own names and are not checked.

    Args:
        folder: The downloaded repository.
        since: In seconds since the epoch. Only files written since then are checked, because it takes time.
    """
    corrupt = []
    for file in folder.rglob("*"):
        is_recent = file.is_symlink() and file.is_file() and file.stat().st_mtime >= since
        if is_recent and not _matches_its_name(file):
            corrupt.append(file)
    return corrupt


def _matches_its_name(link: pathlib.Path) -> bool:
    announced = os.path.basename(os.readlink(link))
    if len(announced) == 64:
        digest = hashlib.sha256()
    elif len(announced) == 40:
        digest = hashlib.sha1(b"blob %d\0" % link.stat().st_size)
    else:
        return True
    with link.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: digest).hexdigest() == announced
