"""config.json in timm's form: the network, its classes, and how to prepare an image for it."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from resnext.architecture import ARCHITECTURES, Architecture, current_name, find_architecture
from resnext.atomic import write_atomically
from resnext.errors import ConfigError, file_name, file_step
from resnext.imagenet import class_names, disambiguate
from resnext.shapes import network_modules

# ImageNet's channel means and standard deviations in [0, 1] (timm.data.IMAGENET_DEFAULT_MEAN, _STD).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INTERPOLATIONS = ("bilinear", "bicubic", "lanczos", "nearest")
CROP_MODES = ("center", "squash", "border")
# The network that timm is told to build, with model_args, where timm has no such name itself.
TIMM_BASE = "resnext50_32x4d"
UNKNOWN_TO_TIMM = ("resnext26_small",)
MAX_CLASSES = 100_000
# The network's stride: at smaller images, average pooling would have nothing to pool.
_MIN_IMAGE_SIZE = 32
# The largest side of an image in pixels, resized or cropped.
_MAX_IMAGE_SIZE = 4096
_MAX_BYTES = 8 * 2**20
# The largest feature map: the network then takes 0.6 GB in total. ResNeXt-101 32x32d has it at 1,024 pixels.
_MAX_ACTIVATIONS = 2**26
# timm's model_args that do not change the network for inference, or are read elsewhere.
_IGNORED_MODEL_ARGS = ("num_classes", "drop_rate", "drop_block_rate", "zero_init_last")
# timm's model_args of which this project builds one value only.
_FIXED_MODEL_ARGS = {
    "in_chans": 3,
    "global_pool": "avg",
    "output_stride": 32,
    "replace_stem_pool": False,
    "block_reduce_first": 1,
    "down_kernel_size": 1,
    "act_layer": "relu",
    "norm_layer": "batchnorm2d",
}


def _is_number(value) -> bool:
    is_numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Also false for NaN.
    return is_numeric and abs(value) < 1e6


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How a photograph becomes the network's input (timm's `pretrained_cfg`).

    Args:
        image_size: The height and width of the network's input in pixels.
        crop_pct: float in [0.05, 1]. The crop ratio: `image_size` divided by the length of the resize.
        interpolation: Pillow's filter for the resize: "bilinear", "bicubic", "lanczos" or "nearest".
        mean: three floats in [0, 1]. The mean of the training images' channels R, G and B.
        std: three floats in [0, 1]. The standard deviation of the channels.
        crop_mode: The side that is resized to that length. "center": the shorter side, and the ends of the
            longer one are cropped. "squash": both sides. "border": the longer side, and margins of the mean
            color fill the square.
        test_image_size: The larger image size that the weights were tested at, or None.
        test_crop_pct: The crop ratio that the weights were tested at, or None.

    Raises:
        ConfigError: A value is out of range.
    """

    image_size: int = 224
    crop_pct: float = 0.875
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    crop_mode: str = "center"
    test_image_size: int | None = None
    test_crop_pct: float | None = None

    def __post_init__(self):
        _check_size(self.image_size, self.crop_pct)
        _check_size(*self._tested_at)
        for field, known in (("interpolation", INTERPOLATIONS), ("crop_mode", CROP_MODES)):
            value = getattr(self, field)
            if value not in known:
                raise ConfigError(f"Unknown {field} {value!r}: choose one of {', '.join(known)}.")
        for field in ("mean", "std"):
            values = getattr(self, field)
            if not (isinstance(values, tuple) and len(values) == 3 and all(map(_is_number, values))):
                raise ConfigError(f"{field} must be three numbers, not {values!r}.")
        if min(self.std) < 1e-6:
            raise ConfigError(f"std must be above 0 in every channel, not {self.std!r}.")

    @property
    def resize_to(self) -> int:
        """The length of the resize in pixels (timm: floor(size / crop_pct)), applied as `crop_mode` says."""
        return int(self.image_size / self.crop_pct)

    def at_test_size(self) -> "Preprocessing":
        """Returns the same at the size of the test (timm: `use_test_size`), if there is one."""
        size, crop_pct = self._tested_at
        return dataclasses.replace(self, image_size=size, crop_pct=crop_pct)

    @property
    def _tested_at(self) -> tuple[int, float]:
        size = self.image_size if self.test_image_size is None else self.test_image_size
        crop_pct = self.crop_pct if self.test_crop_pct is None else self.test_crop_pct
        return size, crop_pct


def _check_size(size, crop_pct) -> None:
    if not (isinstance(size, int) and _MIN_IMAGE_SIZE <= size <= _MAX_IMAGE_SIZE):
        raise ConfigError(
            f"The image size must be a whole number from {_MIN_IMAGE_SIZE} to {_MAX_IMAGE_SIZE}, "
            f"not {size!r}."
        )
    if not (_is_number(crop_pct) and 0.05 <= crop_pct <= 1):
        raise ConfigError(f"crop_pct must be a number from 0.05 to 1, not {crop_pct!r}.")
    length = int(size / crop_pct)
    if length > _MAX_IMAGE_SIZE:
        raise ConfigError(
            f"crop_pct {crop_pct} asks for a resize to {length} pixels, "
            f"more than the {_MAX_IMAGE_SIZE} allowed."
        )


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The content of config.json.

    Args:
        name: The name of the architecture.
        architecture: The network.
        label_names: The name of each class, in the order of the logits. Empty for a network without a
            classifier, which config.json cannot hold.
        preprocessing: How an image is prepared for the network.

    Raises:
        ConfigError: The network does not fit the image size, or a name of a class is not valid text.
    """

    name: str
    architecture: Architecture
    label_names: tuple[str, ...]
    preprocessing: Preprocessing = Preprocessing()

    def __post_init__(self):
        check_label_names(self.label_names)
        size = self.preprocessing.image_size
        if self.architecture.aa_layer and size % 32:
            raise ConfigError(f"{self.name} needs an image size that is a multiple of 32, not {size}.")
        modules = network_modules(self.architecture, self.num_classes, size)
        if max(math.prod(module.output) for module in modules) > _MAX_ACTIVATIONS:
            raise ConfigError(
                f"{self.name} would take gigabytes of memory at {size} pixels: choose a smaller image size."
            )

    @property
    def num_classes(self) -> int:
        return len(self.label_names)

    def to_json(self) -> dict[str, Any]:
        """Returns config.json's content, with which `timm.create_model("local-dir:...")` opens a folder."""
        base = TIMM_BASE if self.name in UNKNOWN_TO_TIMM else self.name
        return {
            "architecture": base,
            "num_classes": self.num_classes,
            "num_features": self.architecture.features,
            "label_names": list(self.label_names),
            "model_args": _model_args(self.architecture, find_architecture(base)),
            "pretrained_cfg": self._pretrained_cfg(),
        }

    def _pretrained_cfg(self) -> dict[str, Any]:
        prep = self.preprocessing
        tested: dict[str, Any] = {}
        if prep.test_image_size is not None:
            tested["test_input_size"] = [3, prep.test_image_size, prep.test_image_size]
        if prep.test_crop_pct is not None:
            tested["test_crop_pct"] = prep.test_crop_pct
        return {
            "tag": self.name,
            "custom_load": False,
            "input_size": [3, prep.image_size, prep.image_size],
            "fixed_input_size": False,
            "interpolation": prep.interpolation,
            "crop_pct": prep.crop_pct,
            "crop_mode": prep.crop_mode,
            **tested,
            "mean": list(prep.mean),
            "std": list(prep.std),
            "num_classes": self.num_classes,
            "pool_size": [-(-prep.image_size // 32)] * 2,
            "first_conv": self.architecture.first_conv,
            "classifier": self.architecture.classifier,
        }

    @classmethod
    def from_json(cls, values: Any) -> "ModelConfig":
        """Reads config.json's content, and ignores keys that this project does not use.

        Args:
            values: The parsed JSON, of any origin.

        Raises:
            ConfigError: A value is missing, invalid or out of range, or the network is not supported.
        """
        values = _section(values, "config.json")
        base = values.get("architecture")
        if not isinstance(base, str):
            raise ConfigError("it does not name an architecture, which must be a timm ResNeXt or ResNet.")
        base, tag = current_name(base)
        model_args = _section(values.get("model_args"), "model_args")
        architecture = _apply_model_args(find_architecture(base), model_args)
        cfg = _section(values.get("pretrained_cfg", values), "pretrained_cfg")
        labels = _label_names([values, cfg, {"tag": tag or None}])
        own = (name for name in UNKNOWN_TO_TIMM if ARCHITECTURES[name] == architecture)
        return cls(next(own, base), architecture, labels, _preprocessing(cfg))

    @classmethod
    def read(cls, path: pathlib.Path) -> "ModelConfig":
        """Reads a config.json file.

        Raises:
            ConfigError: The file is missing, too large or not valid. The message names the file.
        """
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise ConfigError(f"it is larger than {_MAX_BYTES >> 20} MiB.")
            content = path.read_bytes()
            if not content.strip():
                raise ValueError("it is empty")
            return cls.from_json(json.loads(content))
        except FileNotFoundError:
            raise ConfigError(
                f"{file_name(path)} is missing: a model repository needs a config.json in timm's form."
            ) from None
        except OSError as error:
            raise ConfigError(
                f"{file_name(path)} cannot be read ({error.strerror}): check its permissions, or download it "
                "again."
            ) from None
        except (ValueError, RecursionError) as error:
            step = file_step(path, "download or write it again")
            raise ConfigError(f"{file_name(path)} is not valid JSON ({error}): {step}.") from None
        except ConfigError as error:
            raise ConfigError(f"{file_name(path)} cannot be used: {error}") from None

    def write(self, path: pathlib.Path) -> None:
        """Writes config.json."""
        write_atomically(path, json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n")


def unnamed_labels(count: int) -> tuple[str, ...]:
    """Returns names for classes that have none: "class 0", "class 1", ..."""
    return tuple(f"class {index}" for index in range(count))


def check_label_names(names: Sequence[str]) -> None:
    """Checks the names of classes.

    Raises:
        ConfigError: It is not a list of names, or a name cannot be written as UTF-8.
    """
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ConfigError("label_names must be a list of names, one for each class.")
    if any("\ud800" <= character <= "\udfff" for name in names for character in name):
        raise ConfigError(
            "label_names holds a name that is not valid Unicode text (a lone surrogate): write it in UTF-8."
        )


def _section(value, name) -> dict:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{name} must be an object, not {str(value)[:80]!r}.")
    return value


def _model_args(architecture: Architecture, base: Architecture) -> dict[str, Any]:
    """What timm has to change in `base` to build the architecture."""
    args = {}
    for field in dataclasses.fields(Architecture):
        value = getattr(architecture, field.name)
        if value != getattr(base, field.name):
            args[field.name] = list(value) if isinstance(value, tuple) else value
    if "attn_layer" in args:
        args["block_args"] = {"attn_layer": args.pop("attn_layer")}
    return args


def _apply_model_args(base: Architecture, args: dict) -> Architecture:
    args = {key: value for key, value in _with_tuples(args).items() if key not in _IGNORED_MODEL_ARGS}
    _check_channels(args.get("in_chans", 3))
    for key, only in _FIXED_MODEL_ARGS.items():
        if key in args and args[key] == only:
            del args[key]
    block_args = _section(args.pop("block_args", None), "block_args")
    if "attn_layer" in block_args:
        args["attn_layer"] = block_args["attn_layer"]
    known = {field.name for field in dataclasses.fields(Architecture)}
    unknown = sorted(set(args) - known) + sorted(set(block_args) - {"attn_layer"})
    if unknown:
        raise ConfigError(
            f"model_args asks for {', '.join(unknown)[:200]}, which this project does not build."
        )
    return dataclasses.replace(base, **args)


def _check_channels(count) -> None:
    if count != 3:
        raise ConfigError(
            f"it is of a network for images of {str(count)[:80]} channels, which this project does not "
            "build: its networks read RGB images."
        )


def _with_tuples(values: dict) -> dict:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _label_names(sections: list[dict]) -> tuple[str, ...]:
    """Finds the names of the classes in every form that timm writes, checks them, and fills gaps."""
    names = _find(sections, "label_names", "labels")
    count = _check_num_classes(_find(sections, "num_classes"), names)
    if not names:
        tag = str(_find(sections, "tag") or "")
        return class_names(count, tag) or unnamed_labels(count)
    if isinstance(names, dict):
        names = _names_by_index(names, count)
    if isinstance(names, list):
        names = [str(name) if type(name) is int else name for name in names]
    check_label_names(names)
    if len(names) != count:
        raise ConfigError(f"label_names has {len(names)} names, but num_classes is {count}.")
    descriptions = _section(_find(sections, "label_descriptions"), "label_descriptions")
    return _describe(names, descriptions) if descriptions else tuple(names)


def _find(sections: list[dict], *keys: str) -> Any:
    """The first value that is there, by the order of the keys and then of the sections."""
    values = (section[key] for key in keys for section in sections if section.get(key) is not None)
    return next(values, None)


def _check_num_classes(count, names) -> int:
    if count is None:
        count = len(names) if isinstance(names, (list, dict)) else 0
    if count == 0:
        raise ConfigError(
            "it has no classes (num_classes is 0), so there is no classifier: choose weights that have one."
        )
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_CLASSES:
        raise ConfigError(
            f"num_classes must be a whole number from 1 to {MAX_CLASSES}, not {str(count)[:80]!r}."
        )
    return count


def _names_by_index(names: dict, count: int) -> list:
    """The names of a dict from index to name, which may have gaps."""
    by_index = {str(index): name for index, name in enumerate(unnamed_labels(count))}
    unknown = sorted(set(names) - set(by_index))
    if unknown:
        raise ConfigError(
            f"label_names has an index {unknown[0][:80]!r}: with {count} classes it can be 0 to {count - 1}."
        )
    return list((by_index | names).values())


def _describe(names: list[str], descriptions: dict) -> tuple[str, ...]:
    """The description of each name, if there is one. Names that then are equal get their own in brackets."""
    if not all(isinstance(text, str) for text in descriptions.values()):
        raise ConfigError("label_descriptions must give a text for each name.")
    check_label_names(tuple(descriptions.values()))
    return disambiguate([descriptions.get(name) or name for name in names], names)


def _preprocessing(cfg: dict) -> Preprocessing:
    cfg = {key: value for key, value in _with_tuples(cfg).items() if value is not None}
    keys = ("crop_pct", "interpolation", "mean", "std", "crop_mode", "test_crop_pct")
    options = {key: cfg[key] for key in keys if key in cfg}
    for field, key in (("image_size", "input_size"), ("test_image_size", "test_input_size")):
        if key in cfg:
            options[field] = _square(cfg[key], key)
    return Preprocessing(**options)


def _square(size, key) -> int:
    if not isinstance(size, tuple) or len(size) != 3:
        raise ConfigError(f"{key} must be [3, size, size], not {str(size)[:80]}.")
    _check_channels(size[0])
    if size[1] != size[2]:
        raise ConfigError(
            f"{key} is {str(size[1])[:40]} x {str(size[2])[:40]} pixels, but this project classifies square "
            "images only: choose weights for a square."
        )
    return size[1]
