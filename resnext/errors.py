"""The errors that this project raises on purpose: one sentence that names the thing, the fault and the next step."""


class ResNeXtError(Exception):
    """Base of every error whose message is meant for the person at the keyboard."""


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
