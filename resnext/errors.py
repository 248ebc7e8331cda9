"""The errors that this project raises: one sentence that names the cause, the fault and the next step."""

import re
from collections.abc import Iterable

MAX_NAME = 100  # characters of a name that a page or a card shows
_MAX_LENGTH = 1000  # characters of a line
# The path of a file in the cache of the Hub's client.
_IN_CACHE = re.compile(
    r".*[/\\]models--(?P<repo>[^/\\]+)[/\\]snapshots[/\\](?P<commit>[0-9a-f]{40})[/\\](?P<file>.+)"
)


class ResNeXtError(Exception):
    """The base of all errors whose message is meant for the user.

    Messages quote files of unknown origin: characters that cannot be printed are replaced, and a line of
    more than 1,000 characters, which no sentence of ours has, is cut in the middle.

    Args:
        message: The sentence.
        details: Lines that follow it, such as a list of files, each indented. All of them are shown.
    """

    def __init__(self, message: str = "", details: Iterable[str] = ()):
        super().__init__(message)
        self.details = tuple(details)

    def __str__(self) -> str:
        return "\n  ".join(_line(text) for text in (super().__str__(), *self.details))


def printable(text: str) -> str:
    """Returns text of any origin with unprintable characters, such as control codes, replaced."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def shortened(text: str, longest: int = MAX_NAME) -> str:
    """The text, with its end left out if it is too long: repositories have names of any length."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def file_name(path: object) -> str:
    """How messages name a file: by its path, or if it is in the Hub's cache, by its repository and commit."""
    found = _IN_CACHE.fullmatch(str(path))
    if not found:
        return str(path)
    return f"{found['file']} of {found['repo'].replace('--', '/')} (commit {found['commit'][:7]})"


def file_step(path: object, step: str) -> str:
    """What to do about a file that cannot be used.

    Args:
        path: The file.
        step: What to do if it is on this machine. What is in the Hub's cache was downloaded as it is there.
    """
    if not _IN_CACHE.fullmatch(str(path)):
        return step
    return "name another revision or model, or ask its owner to push a valid file"


def _line(text: str) -> str:
    if len(text) > _MAX_LENGTH:
        text = f"{text[: _MAX_LENGTH // 2]} … {text[-_MAX_LENGTH // 3 :]}"
    return printable(text)


class ConfigError(ResNeXtError):
    """A `config.json`, an architecture or an option is not valid."""


class WeightsError(ResNeXtError):
    """A `model.safetensors` is corrupt, or does not fit the architecture."""


class ImageError(ResNeXtError):
    """A file is not an image, or is too large to decode safely."""


class UnsupportedImageError(ImageError):
    """A file is an image in a format that is not read."""


class RepositoryError(ResNeXtError):
    """A model repository, local or on the Hub, is missing, incomplete or cannot be reached."""


class DataError(ResNeXtError):
    """A folder of images cannot be used for training or testing."""


class TeachingError(ResNeXtError):
    """A class or its name cannot be added to what a visitor teaches."""
