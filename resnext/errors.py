"""The errors that this project raises on purpose: one sentence that names the thing, the fault and the next step."""

_LONGEST = 1000  # characters of a message


class ResNeXtError(Exception):
    """Base of every error whose message is meant for the person at the keyboard.

    Messages quote files that nobody vouches for: a long one is cut in the middle, and what cannot be printed is replaced.
    """

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) > _LONGEST:
            text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 3 :]}"
        return printable(text)


def printable(text: str) -> str:
    """Text of anyone's for a terminal: what cannot be printed, such as its control codes, is replaced."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


class ConfigError(ResNeXtError):
    """A `config.json` or an architecture that cannot be read or built."""


class WeightsError(ResNeXtError):
    """A `model.safetensors` that is broken or does not fit the architecture."""


class ImageError(ResNeXtError):
    """A file that is not an image, or one that is too large to decode safely."""


class RepositoryError(ResNeXtError):
    """A model repository, local or on the Hub, that is missing, out of reach or incomplete."""


class DataError(ResNeXtError):
    """A folder of images that cannot be trained or tested on."""
