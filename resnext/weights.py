"""Weights in timm's keys and layout: model.safetensors to and from the Keras reading, bit for bit."""

import pathlib
from collections.abc import Iterator

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from resnext.atomic import replacing
from resnext.errors import WeightsError

# Keras' name of a variable -> timm's, for each kind of layer
_TIMM_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_MAX_HEADER = (
    8 * 2**20
)  # bytes; ResNeXt-101 has 64 kB of it, and a million tensors in 66 MB took 1.2 GB to read


def read_tensors(
    path: pathlib.Path, expected: dict[str, tuple[int, ...]] | None = None
) -> dict[str, np.ndarray]:
    """Tensors of a safetensors file, by timm's keys.

    Args:
        path: of the file.
        expected: shapes that the network needs, by key. They are compared with the file's header before any data is read, and
            only these tensors are read, so that a file takes no more memory than the network; all of them if left out.

    Raises:
        WeightsError: the file is missing, no whole safetensors file, or not of this network.
    """
    try:
        with open(path, "rb") as opened:
            size = int.from_bytes(opened.read(8), "little")
        if size == int.from_bytes(b"version ", "little"):
            raise WeightsError(
                f"{path} is a Git LFS pointer, not the weights: run `git lfs pull` in its folder."
            )
        if size > _MAX_HEADER:
            raise ValueError(f"its header claims to have {size:,} bytes")
        with safetensors.safe_open(path, "numpy") as file:
            if expected is not None:
                _compare({key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}, expected, path)  # noqa: SIM118
            return {key: file.get_tensor(key) for key in expected or file.keys()}
    except FileNotFoundError:
        raise WeightsError(
            f"{path} is missing: download the repository again, or train with `python -m training fit`."
        ) from None
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} is no whole safetensors file ({error}): download it again (`hf download REPO --force-download`)."
        ) from None


def check_shapes(tensors: dict[str, np.ndarray], expected: dict[str, tuple[int, ...]], where: object) -> None:
    """Compares a file's tensors with what the network needs; `num_batches_tracked` counters are ignored.

    Raises:
        WeightsError: a tensor is missing, misshapen, not floating point, not finite, a variance below 0, or not of this network; names the first.
    """
    _compare({key: value.shape for key, value in tensors.items()}, expected, where)
    for key in expected:
        dtype = tensors[key].dtype
        if dtype.kind != "f" and dtype != ml_dtypes.bfloat16:
            raise WeightsError(f"{where}: tensor {key!r} holds {dtype}, but floating point is needed.")
        with np.errstate(over="ignore"):
            finite = np.isfinite(np.asarray(tensors[key], np.float32)).all()
        if not finite:
            raise WeightsError(f"{where}: tensor {key!r} holds NaN or infinity: train or download it again.")
        if key.endswith("running_var") and (tensors[key] < 0).any():
            raise WeightsError(
                f"{where}: tensor {key!r} is a variance, but holds numbers below 0: train or download it again."
            )


def _compare(shapes: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]], where: object) -> None:
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
    """The Keras model's weights under timm's keys: kernels OIHW, dense kernels (out, in), float32."""
    return {key: _to_timm(variable.numpy()) for key, variable in _variables(model)}


def load_into_keras(model, tensors: dict[str, np.ndarray], where: object = "The file") -> None:
    """Puts tensors under timm's keys into the Keras model.

    Raises:
        WeightsError: they do not fit (`check_shapes`); the model is left as it was.
    """
    variables = dict(_variables(model))
    check_shapes(tensors, {key: _timm_shape(tuple(v.shape)) for key, v in variables.items()}, where)
    for key, variable in variables.items():
        variable.assign(_to_keras(tensors[key]))


def save_tensors(tensors: dict[str, np.ndarray], path: pathlib.Path, dtype: str = "float32") -> None:
    """Writes tensors as safetensors in `dtype` ("float32" or "float16"); one with values beyond its range stays as it is."""
    with replacing(path) as beside:
        # "format" tells transformers and timm which framework's layout this is.
        contiguous = {
            key: np.ascontiguousarray(value, dtype if np.abs(value).max() <= np.finfo(dtype).max else None)
            for key, value in tensors.items()
        }
        safetensors.numpy.save_file(contiguous, beside, metadata={"format": "pt"})


def _variables(model) -> Iterator[tuple[str, object]]:
    for layer in model.layers:
        for variable in layer.weights:
            if variable.name in _TIMM_NAMES:
                yield f"{layer.name}.{_TIMM_NAMES[variable.name]}", variable


def _to_timm(value: np.ndarray) -> np.ndarray:
    # Keras keeps a kernel as (height, width, in, out) and a dense kernel as (in, out).
    return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T


def _to_keras(value: np.ndarray) -> np.ndarray:
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T


def _timm_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else shape[::-1]
