"""Where a model repository lies: the bundled one, a folder, or a repository on the Hugging Face Hub."""

import dataclasses
import hashlib
import os
import pathlib
import re
import time

import numpy as np

from resnext.config import ModelConfig
from resnext.errors import RepositoryError
from resnext.shapes import tensor_shapes
from resnext.weights import read_tensors

BUNDLED_FOLDER = pathlib.Path(__file__).parent / "flowers"
NEEDED = ("config.json", "model.safetensors")
# All that this project reads of a repository; nothing else is downloaded.
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
_PATIENCE = 15  # seconds to wait for the Hub's first answer
_GARBLED = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RecursionError,
)  # of the client, at answers that no Hub would give


@dataclasses.dataclass(frozen=True)
class Repository:
    """A model repository on this machine.

    Args:
        name: what a person calls it: a repository id, a folder's path, or "flowers (bundled)".
        folder: where its files lie.
        revision: the commit of a Hub repository (40 hex digits), otherwise None.
        stale: the Hub was out of reach, and this is the copy that was downloaded last.
    """

    name: str
    folder: pathlib.Path
    revision: str | None = None
    stale: bool = False


def find_repository(model: str | os.PathLike | None = None, revision: str | None = None) -> Repository:
    """Finds a model repository, and downloads it from the Hub if need be.

    Args:
        model: a folder, or a repository id such as "OWNER/NAME" or "OWNER/NAME@REVISION"; the bundled model if left out.
        revision: branch, tag or commit of a Hub repository.

    Raises:
        RepositoryError: it is neither, it does not exist, or it cannot be reached and was never downloaded.
    """
    if model is None:
        if revision:
            raise RepositoryError(
                f"The bundled model has no revisions: name a Hub repository, or leave the revision {revision!r} out."
            )
        return Repository("flowers (bundled)", BUNDLED_FOLDER)
    path = os.path.expanduser(model)  # leaves an unknown user's ~ as it is, where pathlib's raises
    if os.path.isdir(path):  # also of a name that no file can have
        folder = pathlib.Path(path)
        if revision:
            raise RepositoryError(
                f"{model} is a folder and has no revisions: leave the revision {revision!r} out."
            )
        missing = [
            name for name in NEEDED if not os.path.isfile(folder / name)
        ]  # nor a pipe, which would be waited for
        if missing:
            raise RepositoryError(
                f"{model} is no model repository: it has no {missing[0]}. Make one with `python -m training fit`."
            )
        return Repository(str(model), folder)
    if revision is None:
        model, _, revision = str(model).partition("@")
    if not _REPO_ID.fullmatch(str(model)):
        raise RepositoryError(
            f"{str(model)[:200]!r} is neither a folder nor a Hub repository such as OWNER/NAME."
        )
    return _download(str(model), revision or None)


def load_config(repository: Repository) -> ModelConfig:
    """Reads config.json of a model repository.

    Raises:
        ConfigError: it is missing or invalid.
    """
    return ModelConfig.read(repository.folder / "config.json")


def load_tensors(repository: Repository, config: ModelConfig) -> dict[str, np.ndarray]:
    """Reads model.safetensors of a model repository.

    Args:
        repository: the repository.
        config: its config, which says what tensors there have to be.

    Returns:
        Arrays under timm's keys.

    Raises:
        WeightsError: the file is missing, incomplete, or does not fit the config.
    """
    expected = tensor_shapes(config.architecture, config.num_classes)
    return read_tensors(repository.folder / "model.safetensors", expected)


def _download(repo_id: str, revision: str | None) -> Repository:
    # Imported here: it takes half a second that a local model does not need.
    import httpx2
    import huggingface_hub
    from huggingface_hub import errors

    where = f"{repo_id}@{revision}" if revision else repo_id
    start, stale = time.time(), False
    try:
        try:
            huggingface_hub.HfApi().model_info(repo_id, revision=revision, timeout=_PATIENCE)
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError):
            raise
        except (httpx2.HTTPError, OSError, *_GARBLED):
            stale = True
        folder = huggingface_hub.snapshot_download(
            repo_id, revision=revision, allow_patterns=PATTERNS, local_files_only=stale
        )
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
        raise RepositoryError(f"{where} is no valid repository id: {error}") from None
    except (httpx2.HTTPError, OSError, *_GARBLED) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RepositoryError(f"{where} could not be downloaded ({reason}): try again.") from None
    folder = pathlib.Path(folder)
    damaged = _damaged(folder, since=start - 2)  # some file systems' clocks are coarse
    for file in damaged:  # or the client would take the same bytes again
        file.resolve().unlink(missing_ok=True)
        file.unlink()
    if damaged:
        raise RepositoryError(
            f"{where} arrived damaged: {damaged[0].name} is not the file that the Hub announced. It was deleted: try again."
        )
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise RepositoryError(
            f"{where} on the Hub has no {missing[0]}: it is no timm image classifier in safetensors."
        )
    return Repository(repo_id, folder, revision=folder.name, stale=stale)


def _damaged(folder: pathlib.Path, since: float) -> list[pathlib.Path]:
    """Downloaded files whose bytes are not those that the Hub announced; of those only that were written since, as it takes time.

    The client looks at their size alone. But it names them, in its cache, by the hash that the Hub gave: SHA-256 for large files,
    Git's SHA-1 for the others. (Where a system has no symbolic links they keep their own names, and are not looked at.)
    """
    damaged = []
    for file in folder.rglob("*"):
        if file.is_symlink() and file.is_file() and file.stat().st_mtime >= since:
            announced, head = os.path.basename(os.readlink(file)), b"blob %d\0" % file.stat().st_size
            digest = {64: hashlib.sha256, 40: lambda: hashlib.sha1(head)}.get(len(announced))
            with file.open("rb") as opened:
                if digest and hashlib.file_digest(opened, digest).hexdigest() != announced:
                    damaged.append(file)
    return damaged
