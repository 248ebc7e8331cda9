"""Weights in timm's keys and layout: model.safetensors to and from the Keras backend, bit for bit."""

import errno
import glob
import json
import os
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from resnext.atomic import replacing
from resnext.errors import WeightsError, file_name, file_step

# Keras' name of a variable -> timm's name. No name occurs in two kinds of layers with different meanings.
_TIMM_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
OOD = "ood.safetensors"  # the detector of unknown photographs, which is not the network
_WRAPPERS = ("module.", "_orig_mod.")
# In bytes. ResNeXt-101 has a header of 64 kB; one of a million tensors in 66 MB took 1.2 GB of memory to
# read.
_MAX_HEADER = 8 * 2**20


def weights_file(folder: pathlib.Path) -> pathlib.Path:
    """The weights of a model repository: model.safetensors, or as in timm the only such file."""
    named = folder / "model.safetensors"
    # Unlike pathlib's, these functions find nothing, and do not raise, where a folder may not be searched.
    if os.path.isfile(named):
        return named
    names = networks(glob.glob("*.safetensors", root_dir=folder))
    others = [folder / name for name in names if os.path.isfile(folder / name)]
    return others[0] if len(others) == 1 else named


def networks(names: Iterable[str]) -> list[str]:
    """Those files of a model repository that may hold a network, in safetensors.

    Args:
        names: The names of its files.
    """
    return sorted(n for n in names if n.endswith(".safetensors") and "/" not in n and n != OOD)


def read_tensors(
    path: pathlib.Path, expected: dict[str, tuple[int, ...]] | None = None
) -> dict[str, np.ndarray]:
    """Reads the tensors of a safetensors file.

    Args:
        path: The file.
        expected: The shapes of the tensors that the network needs, by timm's key. They are compared with the
            file's header before any data is read, and only these tensors are read, so that the file takes no
            more memory than the network. Defaults to all tensors.

    Returns:
        Arrays by timm's key.

    Raises:
        WeightsError: The file is missing, corrupt, or belongs to another network.
    """
    try:
        _check_header(path)
        with safetensors.safe_open(path, "numpy") as file:
            stored = file.keys()
            keys = {_without_wrappers(key): key for key in stored}
            if len(keys) < len(stored):
                raise ValueError("two tensors have the same name but for a prefix")
            if expected is not None:
                shapes = {name: tuple(file.get_slice(key).get_shape()) for name, key in keys.items()}
                _compare(shapes, expected, path)
            return {name: file.get_tensor(keys[name]) for name in expected or keys}
    except FileNotFoundError:
        raise WeightsError(
            f"{file_name(path)} is missing: download the repository again, or train with `resnext fit`."
        ) from None
    except PermissionError as error:
        raise WeightsError(
            f"{file_name(path)} cannot be read ({error.strerror}): check its permissions, or download it "
            "again."
        ) from None
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        step = file_step(path, "download it again (`hf download REPO --force-download`)")
        raise WeightsError(
            f"{file_name(path)} is not a valid safetensors file, or is incomplete ({error}): {step}."
        ) from None


def _without_wrappers(key: str) -> str:
    """The name of a tensor without what PyTorch's DataParallel and compiled modules put before it."""
    while key.startswith(_WRAPPERS):
        key = key.partition(".")[2]
    return key


def _check_header(path: pathlib.Path) -> None:
    with open(path, "rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
    if size == int.from_bytes(b"version ", "little"):
        step = file_step(path, "run `git lfs pull` in its folder")
        raise WeightsError(f"{file_name(path)} is a Git LFS pointer, not the weights: {step}.")
    if size > _MAX_HEADER:
        raise ValueError(f"its header claims to have {size:,} bytes")


def check_shapes(tensors: dict[str, np.ndarray], expected: dict[str, tuple[int, ...]], where: object) -> None:
    """Checks that tensors are valid and fit a network; `num_batches_tracked` counters are ignored.

    Args:
        tensors: Arrays by timm's key.
        expected: The shapes that the network needs, by timm's key.
        where: The source of the tensors, which error messages name.

    Raises:
        WeightsError: A tensor is missing, is not one of the network's, has another shape, is not floating
            point, holds NaN or infinity, or is a negative variance. The message names the first such tensor.
    """
    _compare({key: value.shape for key, value in tensors.items()}, expected, where)
    step = file_step(where, "train or download it again")
    where = file_name(where)
    for key in expected:
        dtype = tensors[key].dtype
        if dtype.kind != "f" and dtype != ml_dtypes.bfloat16:
            raise WeightsError(f"{where}: tensor {key!r} holds {dtype}, but must be floating point.")
        with np.errstate(over="ignore"):
            finite = np.isfinite(np.asarray(tensors[key], np.float32)).all()
        if not finite:
            raise WeightsError(f"{where}: tensor {key!r} holds NaN or infinity: {step}.")
        if key.endswith("running_var") and (tensors[key] < 0).any():
            raise WeightsError(f"{where}: tensor {key!r} is a variance, but holds numbers below 0: {step}.")


def _compare(shapes: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]], where: object) -> None:
    where = file_name(where)
    for key, shape in expected.items():
        if key not in shapes:
            raise WeightsError(
                f"{where} has no tensor {key!r}: it does not fit the architecture in config.json."
            )
        if shapes[key] != shape:
            raise WeightsError(
                f"{where}: tensor {key!r} has shape {shapes[key]}, but the architecture needs {shape}."
            )
    extra = sorted(key for key in shapes if key not in expected and not key.endswith("num_batches_tracked"))
    if extra:
        raise WeightsError(
            f"{where} has a tensor {extra[0]!r} that the architecture in config.json does not have."
        )


def keras_tensors(model) -> dict[str, np.ndarray]:
    """Returns a Keras model's weights in timm's layout.

    Args:
        model: A `keras.Model` whose layers have timm's names.

    Returns:
        float32 arrays by timm's key. Kernels are OIHW, dense kernels `(out, in)`.

    Raises:
        WeightsError: The model is quantized, has LoRA, or holds another variable that timm's format has no
            key for.
    """
    return {key: _to_timm(np.asarray(variable.numpy(), np.float32)) for key, variable in _variables(model)}


def load_into_keras(model, tensors: dict[str, np.ndarray], where: object = "The file") -> None:
    """Assigns tensors to the variables of a Keras model.

    Args:
        model: A `keras.Model` whose layers have timm's names.
        tensors: Arrays by timm's key.
        where: The source of the tensors, which error messages name.

    Raises:
        WeightsError: The tensors do not fit (see `check_shapes`), and the model is left as it was.
    """
    variables = dict(_variables(model))
    check_shapes(tensors, {key: _timm_shape(tuple(v.shape)) for key, v in variables.items()}, where)
    for key, variable in variables.items():
        variable.assign(_to_keras(tensors[key]))


def save_tensors(tensors: dict[str, np.ndarray], path: pathlib.Path, dtype: str = "float32") -> None:
    """Writes a safetensors file.

    Args:
        tensors: Arrays by timm's key.
        path: The file to write.
        dtype: "float32" or "float16". A tensor with values beyond the range of float16 keeps its own dtype.
    """
    # "format" tells transformers and timm which framework's layout this is.
    write_safetensors(convert_tensors(tensors, dtype), path, {"format": "pt"})


def convert_tensors(tensors: dict[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Converts tensors to a dtype; one with values beyond the range of float16 keeps its own dtype."""
    largest = np.finfo(dtype).max
    return {
        key: np.asarray(value, dtype if np.abs(value).max() <= largest else None)
        for key, value in tensors.items()
    }


def write_safetensors(tensors: dict[str, np.ndarray], path: pathlib.Path, metadata: dict[str, str]) -> None:
    """Writes arrays as they are into a safetensors file, which is renamed into place when it is complete.

    Args:
        tensors: Arrays by name.
        path: The file to write.
        metadata: The texts in the file's header.

    Raises:
        OSError: The file cannot be written, for example because the disk is full.
    """
    with replacing(path) as beside:
        try:
            safetensors.numpy.save_file(
                {key: np.asarray(value, order="C") for key, value in tensors.items()}, beside, metadata
            )
        except safetensors.SafetensorError as error:
            # The system's error is in the text alone: "... No space left on device (os error 28)".
            code = re.search(r"\(os error (\d+)\)", str(error))
            number = int(code[1]) if code else errno.EIO
            raise OSError(number, os.strerror(number), str(path)) from None
        _sort_metadata(beside)


def _sort_metadata(path: pathlib.Path) -> None:
    """Sorts the texts in a safetensors file's header, which the library writes in a random order.

    Otherwise two files of the same content would differ.
    """
    with open(path, "r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        file.seek(8)
        file.write(text.ljust(size))


def _variables(model) -> Iterator[tuple[str, Any]]:
    """The variables of a Keras model, by timm's key."""
    for layer in model.layers:
        if getattr(layer, "quantization_mode", None):
            raise WeightsError(
                f"Layer {layer.name!r} is quantized to {layer.quantization_mode}, which timm's format cannot "
                "hold: save the model before you quantize it."
            )
        if getattr(layer, "lora_enabled", False):
            raise WeightsError(
                f"Layer {layer.name!r} has LoRA weights, which timm's format cannot hold: assign its kernel "
                "to the same layer of a model without LoRA, and save that one."
            )
        for variable in layer.weights:
            if variable.name not in _TIMM_NAMES:
                raise WeightsError(
                    f"Layer {layer.name!r} has a variable {variable.name!r}, which timm's format cannot hold."
                )
            yield f"{layer.name}.{_TIMM_NAMES[variable.name]}", variable


def _to_timm(value: np.ndarray) -> np.ndarray:
    # Keras has kernels as (height, width, in, out) and dense kernels as (in, out).
    return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T


def _to_keras(value: np.ndarray) -> np.ndarray:
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T


def _timm_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else shape[::-1]
