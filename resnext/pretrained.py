"""The trainable network of a model repository, as a Keras model, and back."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from resnext.config import MAX_CLASSES, ModelConfig, unnamed_labels
from resnext.errors import ConfigError
from resnext.keras_backend import keras
from resnext.keras_model import build_model, is_class_count
from resnext.repository import find_repository, load_config, load_tensors
from resnext.shapes import tensor_shapes
from resnext.weights import check_shapes, keras_tensors, load_into_keras, save_tensors, weights_file

# What a layer's config may say differently without changing the network's outputs: training and precision.
_FREE_OPTIONS = ("name", "trainable", "dtype", "momentum", "rate", "seed", "noise_shape")
_FREE_SUFFIXES = ("_initializer", "_regularizer", "_constraint")


def from_pretrained(
    model: str | os.PathLike | None = None,
    *,
    num_classes: int | None = None,
    revision: str | None = None,
    features_only: bool = False,
) -> keras.Model:
    """Opens a model repository as a Keras model.

    The model carries the repository's `ModelConfig` in the attribute `resnext_config`.

    Args:
        model: A folder, or a repository id on the Hub such as "OWNER/NAME". Defaults to the bundled model.
        num_classes: The number of classes of a new classifier with random weights, for fine-tuning, or 0 for
            pooled features instead of logits. Defaults to the repository's own classes.
        revision: A branch, tag or commit of a Hub repository.
        features_only: Whether to return the feature maps of the four stages instead of logits, for detection
            or segmentation. `num_classes` must then be left out.

    Returns:
        A model from `(batch, height, width, 3)` RGB pixels from 0 to 255 to `(batch, num_classes)` float32
        logits. With 0 classes, it returns `(batch, features)` float32, the mean of the last feature map over
        height and width. With `features_only`, it returns a dict of `layer1` to `layer4`,
        `(batch, height / stride, width / stride, channels)` float32 with strides 4, 8, 16 and 32 (sizes
        rounded up) and, in all networks of full width, 256, 512, 1024 and 2048 channels.

    Raises:
        RepositoryError: The repository cannot be found or reached.
        ConfigError: Its config.json or an argument is not valid.
        WeightsError: Its weights are corrupt, or do not fit its config.json.

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
        raise ConfigError("features_only returns feature maps, not classes: leave num_classes out.")
    if num_classes is not None and not is_class_count(num_classes):
        raise ConfigError(f"num_classes must be a whole number from 0 to {MAX_CLASSES}, not {num_classes!r}.")
    repository = find_repository(model, revision, optional=())
    config = load_config(repository)
    tensors = load_tensors(repository, config)
    new_classifier = features_only or num_classes is not None
    if new_classifier:
        config = dataclasses.replace(config, label_names=unnamed_labels(int(num_classes or 0)))
    network = build_model(
        config.architecture,
        config.num_classes,
        label_names=config.label_names,
        preprocessing=config.preprocessing,
        features_only=features_only,
        name=config.name,
    )
    network.resnext_config = config
    if new_classifier:
        head = f"{config.architecture.classifier}."
        tensors = {key: value for key, value in tensors.items() if not key.startswith(head)}
        tensors |= {key: value for key, value in keras_tensors(network).items() if key.startswith(head)}
    load_into_keras(network, tensors, weights_file(repository.folder))
    return network


def save_pretrained(
    model: keras.Model,
    folder: str | os.PathLike,
    label_names: Sequence[str] | None = None,
    *,
    dtype: str = "float32",
) -> None:
    """Writes config.json and model.safetensors, which this project and timm open.

    Args:
        model: A model of `from_pretrained` or `build_model`. Before anything is written, its layers and
            tensors are compared with the architecture that it was built as.
        folder: The folder to write to, which is made if it does not exist.
        label_names: The name of each class, in the order of the logits. Defaults to the names that the model
            was built with.
        dtype: The dtype of the stored weights, "float32" or "float16". A tensor beyond the range of float16
            is stored as float32.

    Raises:
        ConfigError: The model is not the network that its architecture describes, or an argument is not
            valid.
        WeightsError: The weights are not valid, or the model is quantized or has LoRA.
    """
    if dtype not in ("float32", "float16"):
        raise ConfigError(f"dtype must be float32 or float16, not {dtype!r}.")
    config = _config_of(model, label_names)
    tensors = keras_tensors(model)
    _check_layers(model, config)
    check_shapes(tensors, tensor_shapes(config.architecture, config.num_classes), "The model")
    folder = pathlib.Path(folder)
    config.write(folder / "config.json")
    save_tensors(tensors, folder / "model.safetensors", dtype)


def _config_of(model: Any, label_names: Sequence[str] | None) -> ModelConfig:
    config = getattr(model, "resnext_config", None)
    if not isinstance(config, ModelConfig):
        raise ConfigError(
            "The model was not made by from_pretrained or build_model, so its architecture is not known: "
            "save it with model.save. If it is an unchanged copy of such a model (clone_model, load_model), "
            "first assign copy.resnext_config = original.resnext_config."
        )
    if config.num_classes == 0:
        raise ConfigError(
            "The model has no classifier (num_classes=0 or features_only), but a repository needs one: "
            "save a model with a classifier."
        )
    if label_names is None:
        return config
    if isinstance(label_names, str):
        raise ConfigError("label_names must be a list of names, one for each class.")
    if len(label_names) != config.num_classes:
        raise ConfigError(
            f"The model has {config.num_classes} outputs, but label_names has {len(label_names)} names: "
            "name each class."
        )
    return dataclasses.replace(config, label_names=tuple(label_names))


def _check_layers(model: keras.Model, config: ModelConfig) -> None:
    """Compares a model with a new one of its architecture, layer by layer.

    Raises:
        ConfigError: A layer is missing, added, connected otherwise or computes something else.
    """
    expected = _layers(
        build_model(config.architecture, label_names=config.label_names, preprocessing=config.preprocessing)
    )
    fault = "The model is not the network that it was built as"
    advice = "save it with model.save, or copy its weights into a model of build_model"
    try:
        layers = _layers(model)
    except (KeyError, TypeError, AttributeError, NotImplementedError):
        raise ConfigError(f"{fault} (it is not a functional model): {advice}.") from None
    for (name, layer), (expected_name, expected_layer) in zip(layers, expected):
        if layer != expected_layer:
            place = f"{name!r}" if name == expected_name else f"{name!r} in place of {expected_name!r}"
            raise ConfigError(f"{fault} (layer {place} differs): {advice}.")
    if len(layers) != len(expected):
        raise ConfigError(f"{fault} ({len(layers)} layers instead of {len(expected)}): {advice}.")


def _layers(model: keras.Model) -> list[tuple[str, Any]]:
    """Each layer's name, and what it computes: its class, inputs and options, without its name.

    Names of layers without weights count up in each process, so that layers are told apart by their place.
    """
    config = model.get_config()
    places = {layer["name"]: place for place, layer in enumerate(config["layers"])}
    layers: list[tuple[str, Any]] = []
    for layer in config["layers"]:
        options = {key: value for key, value in layer["config"].items() if not _is_free(key)}
        inputs = _placed(layer["inbound_nodes"], places)
        layers.append((layer["name"], (layer["class_name"], _plain(options), inputs)))
    layers.append(("output", _placed(config["output_layers"], places)))
    return layers


def _is_free(option: str) -> bool:
    return option in _FREE_OPTIONS or option.endswith(_FREE_SUFFIXES)


def _placed(value: Any, places: dict[str, int]) -> Any:
    """Replaces names of layers in a Keras config's connections by their places, and drops dtypes."""
    if isinstance(value, dict):
        return {key: _placed(item, places) for key, item in value.items() if key != "dtype"}
    if isinstance(value, (list, tuple)):
        return [_placed(item, places) for item in value]
    return places.get(value, value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """Lists for tuples, so that a model and its copy from a file compare equal."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
