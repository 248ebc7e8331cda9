"""Imports Keras, with one clear error where Keras or the backend that it is set to cannot be imported.

`from resnext.keras_backend import keras` replaces `import keras` in every module of this package.
"""

import importlib.util
import os

from resnext.errors import ConfigError

BACKENDS = ("tensorflow", "jax", "torch")
__all__ = ["keras", "require_tensorflow"]


def _import_error(error: Exception) -> ConfigError:
    """Says why Keras could not be imported, and what to do about it."""
    if importlib.util.find_spec("keras") is None:
        return ConfigError("This needs Keras, which is not installed: pip install 'resnext[train]'")
    backend = os.environ.get("KERAS_BACKEND")
    unset = "unset KERAS_BACKEND" if backend else "correct the backend in ~/.keras/keras.json"
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "a package").partition(".")[0]
        if package == "tensorflow":
            return ConfigError("Keras needs TensorFlow, which is not installed: pip install 'resnext[train]'")
        return ConfigError(
            f"Keras is set to a backend that needs {package}, which is not installed: install it, or {unset}."
        )
    return ConfigError(
        f"Keras cannot be imported ({error}): {unset}; the backend must be one of {', '.join(BACKENDS)}."
    )


try:
    import keras
except (ImportError, ValueError, AssertionError) as error:
    raise _import_error(error) from None


def require_tensorflow(what: str) -> None:
    """Checks that Keras computes with TensorFlow.

    Args:
        what: The subject of the error message, such as "The keras runtime".

    Raises:
        ConfigError: Keras is set to another backend.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ConfigError(
            f"{what} needs TensorFlow, but Keras is set to the backend {backend!r}: "
            "set the environment variable KERAS_BACKEND to tensorflow."
        )
