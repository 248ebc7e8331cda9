"""Finds, verifies and reads a model repository: the bundled one, a folder, or one on the Hugging Face Hub."""

import dataclasses
import hashlib
import os
import pathlib
import re
import shutil
import urllib.parse
from collections.abc import Collection

import numpy as np

from resnext.atomic import replacing
from resnext.config import ModelConfig
from resnext.errors import RepositoryError
from resnext.hub import NEEDED, find_copy, missing_file, pull, stale_copy
from resnext.shapes import tensor_shapes
from resnext.weights import OOD, read_tensors, weights_file

_PACKAGE = pathlib.Path(__file__).parent
# The models that come with the package, by the names that find them.
BUNDLED = {"flowers": _PACKAGE / "flowers", "tiny-imagenet": _PACKAGE / "tiny_imagenet"}
_BUNDLED_SUFFIX = " (bundled)"  # of the names that are shown
DEFAULT = "flowers"  # classifies if no model is named
BACKBONE = "tiny-imagenet"  # what training starts from if nothing else is named
INT8 = ("quantization.json", "openvino_int8.xml", "openvino_int8.bin")
# What this project reads beside the needed files. Nothing else is downloaded.
OPTIONAL = (
    "recipe.json",
    "history.csv",
    "evaluation.json",
    "README.md",
    "figures/*.png",
    "examples/*",
    "mistakes/*.jpg",
    OOD,
    *INT8,
)
PATTERNS = (*NEEDED, *OPTIONAL)
_ADDRESS = re.compile(
    r"(?:https?://|git@|hf://)?(?:(?:www\.)?(?:huggingface\.co|hf\.co)[/:]|(?<=hf://))(?:models/)?"
    r"(?P<repo_id>(?!(?:datasets|spaces|api|docs|collections|papers|blog)/)[^/?#]+/[^/?#]+?)(?:\.git)?"
    r"(?:/(?:tree|blob|resolve|commit)/(?P<revision>[^/?#]+))?(?:[/?#].*)?",
    re.IGNORECASE,
)
# What is copied along with a name: quotation marks, brackets, and spaces of no width.
_AROUND = " \t\r\n\"'`<>\u200b\ufeff\u201c\u201d"
_REPO_ID = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}\w)?(/[A-Za-z0-9](?:[\w.-]{0,94}\w)?)?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Repository:
    """A model repository on this machine.

    Args:
        name: The name to show: a repository id, a folder's path, or "flowers (bundled)" for a bundled one.
        folder: The folder that holds its files.
        revision: The commit of a Hub repository (40 hexadecimal digits), otherwise None.
        notice: What the user should know about the download of a Hub repository; usually empty.
        current: Whether it is the newest commit with all of its files.
    """

    name: str
    folder: pathlib.Path
    revision: str | None = None
    notice: str = ""
    current: bool = True


def find_repository(
    model: str | os.PathLike | None = None,
    revision: str | None = None,
    *,
    optional: Collection[str] = OPTIONAL,
    anonymous: bool = False,
) -> Repository:
    """Finds a model repository, and downloads it from the Hub if needed.

    Args:
        model: A folder, or a repository id such as "OWNER/NAME" or "OWNER/NAME@REVISION", also as timm has it
            ("hf-hub:OWNER/NAME", "local-dir:FOLDER") or as the address of its page; or the name of a bundled
            model, unless there is a folder of that name. Defaults to the bundled flowers.
        revision: A branch, tag or commit of a Hub repository.
        optional: Patterns of the files of a Hub repository that are downloaded beside `NEEDED`.
        anonymous: Whether the Hub is asked without a token, and without a copy that a token has opened.

    Raises:
        RepositoryError: It does not exist or is incomplete, or it cannot be reached and was never downloaded.
    """
    if isinstance(model, str):
        model = plain_name(model)
    bundled = bundled_name(model)
    if model is None or bundled:
        return _open_bundled(bundled or DEFAULT, revision)
    # Leaves the ~ of an unknown user as it is, where pathlib's expanduser raises.
    path = os.path.expanduser(model)
    # False, not an error, for a name that no file can have.
    if os.path.isdir(path):
        return _open_folder(model, pathlib.Path(path), revision)
    if revision is None:
        model, _, revision = str(model).partition("@")
    if not is_repo_id(str(model)):
        raise RepositoryError(
            f"{str(model)[:200]!r} is neither a folder nor a Hub repository such as OWNER/NAME."
        )
    return Repository(str(model), *pull(str(model), revision or None, optional, anonymous=anonymous))


def find_copy_here(model: str, reason: str) -> Repository | None:
    """Finds the copy of a Hub repository that was last downloaded whole, without asking the Hub.

    Args:
        model: The repository, OWNER/NAME or OWNER/NAME@REVISION.
        reason: Why the Hub is not asked, a sentence for the notice.
    """
    repo_id, _, revision = model.partition("@")
    copy = find_copy(repo_id, revision or None)
    return Repository(repo_id, *stale_copy(copy, reason)) if copy else None


def bundled_name(model: str | os.PathLike | None) -> str | None:
    """The name of the bundled model that is meant by "flowers", "flowers (bundled)" or None.

    None if another model is meant, such as a folder of that name.
    """
    if model is None:
        return DEFAULT
    name = str(model).removesuffix(_BUNDLED_SUFFIX)
    return name if name in BUNDLED and not os.path.isdir(model) else None


def bundled_title(name: str) -> str:
    """The name of a bundled model as it is shown, such as "flowers (bundled)"."""
    return name + _BUNDLED_SUFFIX


def plain_name(name: str) -> str:
    """The name of a model without what people paste with it: timm's prefixes, or the address of its page."""
    name = name.strip(_AROUND)
    for prefix in ("hf-hub:", "hf_hub:", "local-dir:"):
        name = name.removeprefix(prefix)
    address = _ADDRESS.fullmatch(name)
    if not address:
        return name
    return "@".join(urllib.parse.unquote(part) for part in address.groups() if part)


def _open_bundled(name: str, revision: str | None) -> Repository:
    if revision:
        raise RepositoryError(
            f"The bundled model {name} has no revisions: name a Hub repository, or leave the revision "
            f"{revision!r} out."
        )
    missing = [file for file in NEEDED if not os.path.isfile(BUNDLED[name] / file)]
    if missing:
        raise RepositoryError(
            f"The bundled model {name} has no {missing[0]}: install the package again, or name another model."
        )
    return Repository(bundled_title(name), BUNDLED[name])


def is_repo_id(name: str) -> bool:
    """Whether a name can be that of a Hub repository, without a revision."""
    refused = "--" in name or ".." in name or name.endswith(".git")  # by the Hub
    return _REPO_ID.fullmatch(name) is not None and not refused


def _open_folder(model: str | os.PathLike, folder: pathlib.Path, revision: str | None) -> Repository:
    if revision:
        raise RepositoryError(
            f"{model} is a folder and has no revisions: leave the revision {revision!r} out."
        )
    if not os.access(folder, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise RepositoryError(f"The folder {model} cannot be read: check its permissions.")
    # A named pipe is not a file either: reading it would block forever.
    for file in (folder / "config.json", weights_file(folder)):
        if not os.path.isfile(file):
            raise RepositoryError(missing_file(str(model), file.name, _file_names(folder)))
    return Repository(str(model), folder)


def _file_names(folder: pathlib.Path) -> list[str]:
    return [file.name for file in folder.iterdir() if file.is_file()]


def own_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of a model repository that this project reads.

    Hidden files are none of them: an editor, the system or a killed process has left them.

    Args:
        folder: The folder of the repository.

    Raises:
        RepositoryError: One of them is outside of the folder.
    """
    found = (file for pattern in PATTERNS for file in sorted(folder.glob(pattern)))
    files = [file for file in found if file.is_file() and not file.name.startswith(".")]
    for file in files:
        check_inside(file, folder)
    return files


def check_inside(file: pathlib.Path, folder: pathlib.Path) -> None:
    """Checks that a file of a model repository is not somebody else's, which must not be published.

    Args:
        file: The file, whose path begins with that of the folder.
        folder: The folder of the repository.

    Raises:
        RepositoryError: A link leads to another folder.
    """
    if not is_inside(file, folder):
        raise RepositoryError(
            f"{file} is outside of {folder}, because a link leads there: put a copy of the file in the place "
            "of the link, or delete the link."
        )


def is_inside(file: pathlib.Path, folder: pathlib.Path) -> bool:
    """Whether a file of a model repository is in its folder, wherever links lead.

    A snapshot in the cache of the Hub's client consists of links to a folder of blobs.
    """
    root, target = folder.resolve(), file.resolve()
    blobs = root.parents[1] / "blobs" if root.parent.name == "snapshots" else root
    return target.is_relative_to(root) or target.is_relative_to(blobs)


def copy_files(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies the files of a model repository that this project reads.

    Args:
        source: The folder of the repository.
        target: The folder to copy to, which is made if it does not exist.
    """
    for file in {*own_files(source), weights_file(source)}:
        with replacing(target / file.relative_to(source)) as beside:
            shutil.copyfile(file, beside)


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
    with weights_file(folder).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_of_other_weights(folder: pathlib.Path, digest: str | None) -> bool:
    """Whether a result belongs to other weights than those of a repository.

    Args:
        folder: The model repository.
        digest: The digest of the weights that the result belongs to (`weights_digest`); None if it is not
            known, as of older versions.
    """
    if digest is None or not weights_file(folder).is_file():
        return False
    return digest != weights_digest(folder)


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
    return read_tensors(weights_file(repository.folder), expected)
