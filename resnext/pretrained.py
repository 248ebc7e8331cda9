"""The trainable network of a model repository, as a Keras model, and back."""

import dataclasses
import numbers
import os
import pathlib
from collections.abc import Sequence

import keras

from resnext.config import MAX_CLASSES, ModelConfig
from resnext.errors import ConfigError
from resnext.keras_model import build_model
from resnext.repository import find_repository, load_config, load_tensors
from resnext.weights import keras_tensors, load_into_keras, save_tensors


def from_pretrained(
    model: str | os.PathLike | None = None,
    num_classes: int | None = None,
    revision: str | None = None,
    *,
    features_only: bool = False,
) -> keras.Model:
    """Opens a model repository as a Keras model.

    Args:
        model: a folder, or a repository id on the Hub such as "OWNER/NAME"; the bundled model if left out.
        num_classes: None for the repository's own classes; 0 for pooled features instead of logits; another
            number for a new classifier with random weights on the trained network (fine-tuning).
        revision: branch, tag or commit of a Hub repository.
        features_only: the maps of the four stages instead, for detection or segmentation; num_classes has to be left out.

    Returns:
        A model from (batch, height, width, 3) RGB pixels from 0 to 255 to (batch, num_classes) float32 logits; with 0
        classes to (batch, features) float32, the last map's mean over height and width; with `features_only` to a dict of
        `layer1` to `layer4`, (batch, height / stride, width / stride, channels) float32 with strides 4, 8, 16 and 32 (sizes
        rounded up) and, in all networks of the full width, 256, 512, 1024 and 2048 channels.

    Raises:
        RepositoryError, ConfigError, WeightsError: it cannot be found, reached or used.

    Example:
        >>> from resnext import from_pretrained
        >>> model = from_pretrained(num_classes=3)
        >>> model(keras.ops.zeros((1, 64, 64, 3))).shape
        TensorShape([1, 3])
        >>> maps = from_pretrained(features_only=True)(keras.ops.zeros((1, 64, 96, 3)))
        >>> [tuple(features.shape) for features in maps.values()]
        [(1, 16, 24, 128), (1, 8, 12, 256), (1, 4, 6, 512), (1, 2, 3, 1024)]
    """
    if features_only and num_classes is not None:
        raise ConfigError("features_only gives maps, not classes: leave num_classes out.")
    whole = isinstance(num_classes, numbers.Integral) and not isinstance(num_classes, bool)
    if num_classes is not None and not (whole and 0 <= num_classes <= MAX_CLASSES):
        raise ConfigError(
            f"num_classes has to be a whole number from 0 to {MAX_CLASSES}, not {num_classes!r}."
        )
    repository = find_repository(model, revision)
    config = load_config(repository)
    tensors = load_tensors(repository, config)
    classes = config.num_classes if num_classes is None else num_classes
    prep = config.preprocessing
    network = build_model(
        config.architecture,
        classes,
        mean=prep.mean,
        std=prep.std,
        features_only=features_only,
        name=config.name,
    )
    if features_only or num_classes is not None:
        head = f"{config.architecture.classifier}."
        tensors = {key: value for key, value in tensors.items() if not key.startswith(head)}
        tensors |= {key: value for key, value in keras_tensors(network).items() if key.startswith(head)}
    load_into_keras(network, tensors, repository.folder / "model.safetensors")
    return network


def save_pretrained(
    model: keras.Model,
    config: ModelConfig,
    folder: str | os.PathLike,
    dtype: str = "float32",
    *,
    label_names: Sequence[str] | None = None,
) -> None:
    """Writes config.json and model.safetensors, which this project and timm open.

    Args:
        model: of `from_pretrained` or `build_model`.
        config: its architecture, class names and preprocessing, such as `Classifier.from_pretrained(...).config`.
        folder: made if it is not there.
        dtype: of the stored weights, "float32" or "float16".
        label_names: of the model's classes, if they are not the config's.

    Raises:
        ConfigError: config and model do not have the same number of classes, or dtype is another.
    """
    if dtype not in ("float32", "float16"):
        raise ConfigError(f"dtype can be float32 or float16, not {dtype!r}.")
    if label_names is not None:
        config = dataclasses.replace(config, label_names=tuple(label_names))
    folder = pathlib.Path(folder)
    if model.output_shape[-1] != config.num_classes:
        raise ConfigError(
            f"The model has {model.output_shape[-1]} outputs, but config names {config.num_classes} classes."
        )
    config.write(folder / "config.json")
    save_tensors(keras_tensors(model), folder / "model.safetensors", dtype)
