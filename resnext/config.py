"""config.json in timm's form: which network, which classes, and how to prepare an image for it."""

import dataclasses
import json
import math
import pathlib
from typing import Any

from resnext.architecture import ARCHITECTURES, Architecture, find_architecture
from resnext.atomic import write_atomically
from resnext.errors import ConfigError
from resnext.imagenet import class_names, distinct
from resnext.shapes import network_modules

# ImageNet's channel means and deviations in [0, 1] (timm.data.IMAGENET_DEFAULT_MEAN, _STD)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
INTERPOLATIONS = ("bilinear", "bicubic", "lanczos", "nearest")
CROP_MODES = ("center", "squash", "border")
_TIMM_BASE = "resnext50_32x4d"  # what timm is told to build, with model_args, when it has no such name itself
_ONLY_HERE = ("resnext26_small",)
_MIN_SIZE = 32  # the network's stride: below it, average pooling would have nothing to pool
_MAX_SIZE = 4096  # of an image's side in pixels, resized or cropped
_MAX_BYTES = 8 * 2**20
_MAX_NUMBERS = 2**26  # of a feature map: 0.6 GB in all; ResNeXt-101 32x32d has them at 1024 pixels
MAX_CLASSES = 100_000
# Of timm's model_args: what is read elsewhere or only trains, and what there is only one of here.
_NO_STRUCTURE = ("num_classes", "drop_rate", "drop_block_rate", "zero_init_last")
_ONLY_SO = {
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
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and value == value
        and abs(value) < 1e6
    )


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How a photograph becomes the network's input (timm's `pretrained_cfg`).

    Args:
        image_size: height and width of the network's input in pixels.
        crop_pct: image_size over the length of the resize, in (0, 1]; the middle is cropped from the resized image.
        interpolation: Pillow's filter for the resize: "bilinear", "bicubic", "lanczos" or "nearest".
        mean, std: of the training images' channels R, G, B, in [0, 1].
        crop_mode: what gets the length of the resize. "center": the shorter side, so that the ends of the longer one are
            cropped; "squash": both sides; "border": the longer side, and margins of the mean colour fill the square.
        test_image_size, test_crop_pct: larger ones that the weights were tested at; None if they are no others.
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
        for size, crop_pct in ((self.image_size, self.crop_pct), self._tested_at):
            if not (isinstance(size, int) and _MIN_SIZE <= size <= _MAX_SIZE):
                raise ConfigError(
                    f"The image size has to be a whole number from {_MIN_SIZE} to {_MAX_SIZE}, not {size!r}."
                )
            if not (_is_number(crop_pct) and 0.05 <= crop_pct <= 1):
                raise ConfigError(f"crop_pct has to be a number from 0.05 to 1, not {crop_pct!r}.")
            if int(size / crop_pct) > _MAX_SIZE:
                raise ConfigError(
                    f"crop_pct {crop_pct} asks for a resize to {int(size / crop_pct)} pixels: {_MAX_SIZE} is the most."
                )
        if self.interpolation not in INTERPOLATIONS:
            raise ConfigError(
                f"Unknown interpolation {self.interpolation!r}: it can be {', '.join(INTERPOLATIONS)}."
            )
        if self.crop_mode not in CROP_MODES:
            raise ConfigError(f"Unknown crop_mode {self.crop_mode!r}: it can be {', '.join(CROP_MODES)}.")
        for field in ("mean", "std"):
            values = getattr(self, field)
            if not (isinstance(values, tuple) and len(values) == 3 and all(map(_is_number, values))):
                raise ConfigError(f"{field} has to be three numbers, not {values!r}.")
        if min(self.std) < 1e-6:
            raise ConfigError(f"std has to be above 0 in every channel, not {self.std!r}.")

    @property
    def resize_to(self) -> int:
        """Length of the resize in pixels (timm: floor(size / crop_pct)); what gets it is `crop_mode`'s."""
        return int(self.image_size / self.crop_pct)

    def at_test_size(self) -> "Preprocessing":
        """The same at the size that the weights were tested at (timm: `use_test_size`); no other if there is none."""
        size, crop_pct = self._tested_at
        return dataclasses.replace(self, image_size=size, crop_pct=crop_pct)

    @property
    def _tested_at(self) -> tuple[int, float]:
        size = self.image_size if self.test_image_size is None else self.test_image_size
        return size, self.crop_pct if self.test_crop_pct is None else self.test_crop_pct


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Everything that config.json says.

    Args:
        name: the architecture's name, for people.
        architecture: the network.
        label_names: a name for every class, in the order of the logits.
        preprocessing: how an image is prepared.
    """

    name: str
    architecture: Architecture
    label_names: tuple[str, ...]
    preprocessing: Preprocessing = Preprocessing()

    def __post_init__(self):
        if self.architecture.aa_layer and self.preprocessing.image_size % 32:
            raise ConfigError(
                f"{self.name} needs an image size that is a multiple of 32, not {self.preprocessing.image_size}."
            )
        modules = network_modules(self.architecture, self.num_classes, self.preprocessing.image_size)
        if max(math.prod(module.output) for module in modules) > _MAX_NUMBERS:
            raise ConfigError(
                f"{self.name} would take gigabytes of memory at {self.preprocessing.image_size} pixels: choose a smaller image size."
            )

    @property
    def num_classes(self) -> int:
        return len(self.label_names)

    def to_json(self) -> dict[str, Any]:
        """config.json's content; timm opens a repository by it (`timm.create_model("local-dir:...")`)."""
        prep = self.preprocessing
        base = _TIMM_BASE if self.name in _ONLY_HERE else self.name
        tested = {}
        if prep.test_image_size is not None:
            tested["test_input_size"] = [3, prep.test_image_size, prep.test_image_size]
        if prep.test_crop_pct is not None:
            tested["test_crop_pct"] = prep.test_crop_pct
        return {
            "architecture": base,
            "num_classes": self.num_classes,
            "num_features": self.architecture.features,
            "label_names": list(self.label_names),
            "model_args": _model_args(self.architecture, find_architecture(base)),
            "pretrained_cfg": {
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
            },
        }

    @classmethod
    def from_json(cls, values: Any) -> "ModelConfig":
        """Reads config.json's content; keys that this project has no use for are ignored.

        Raises:
            ConfigError: something is missing, of the wrong kind, out of range, or asks for a network that is not known.
        """
        values = _section(values, "config.json")
        base = values.get("architecture")
        if not isinstance(base, str):
            raise ConfigError("config.json names no architecture: it has to be a timm ResNeXt or ResNet.")
        architecture = _apply_model_args(
            find_architecture(base), _section(values.get("model_args"), "model_args")
        )
        cfg = _section(values.get("pretrained_cfg", values), "pretrained_cfg")
        labels = _label_names(values, cfg)
        name = next((name for name in _ONLY_HERE if ARCHITECTURES[name] == architecture), base)
        return cls(name, architecture, labels, _preprocessing(cfg))

    @classmethod
    def read(cls, path: pathlib.Path) -> "ModelConfig":
        """Reads a config.json file.

        Raises:
            ConfigError: the file is missing, too large, no JSON, or `from_json` refuses it; names the file.
        """
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise ConfigError(f"it is larger than {_MAX_BYTES >> 20} MiB.")
            return cls.from_json(json.loads(path.read_bytes()))
        except FileNotFoundError:
            raise ConfigError(
                f"{path} is missing: a model repository needs a config.json in timm's form."
            ) from None
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be read ({error.strerror}): look at its permissions, or download it again."
            ) from None
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path} is no valid JSON ({error}): download or write it again.") from None
        except ConfigError as error:
            raise ConfigError(f"{path} cannot be used: {error}") from None

    def write(self, path: pathlib.Path) -> None:
        """Writes config.json."""
        write_atomically(path, json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n")


def _section(value, name) -> dict:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{name} has to be an object, not {str(value)[:80]!r}.")
    return value


def _model_args(architecture: Architecture, base: Architecture) -> dict[str, Any]:
    args = {}
    for field in dataclasses.fields(Architecture):
        value = getattr(architecture, field.name)
        if value != getattr(base, field.name):
            args[field.name] = list(value) if isinstance(value, tuple) else value
    if "attn_layer" in args:
        args["block_args"] = {"attn_layer": args.pop("attn_layer")}
    return args


def _apply_model_args(base: Architecture, args: dict) -> Architecture:
    args = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in args.items()
        if key not in _NO_STRUCTURE
    }
    args = {key: value for key, value in args.items() if key not in _ONLY_SO or value != _ONLY_SO[key]}
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


def _label_names(values: dict, cfg: dict) -> tuple[str, ...]:
    def find(*keys):
        return next(
            (section[key] for key in keys for section in (values, cfg) if section.get(key) is not None), None
        )

    names, count = find("label_names", "labels"), find("num_classes")
    if count is None:
        count = len(names) if isinstance(names, (list, dict)) else 0
    if count == 0:
        raise ConfigError(
            "it has no classes (num_classes is 0), so there is no classifier: choose weights that have one."
        )
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_CLASSES:
        raise ConfigError(
            f"num_classes has to be a whole number from 1 to {MAX_CLASSES}, not {str(count)[:80]!r}."
        )
    unnamed = tuple(f"class {index}" for index in range(count))
    if not names:
        return class_names(count, str(find("tag") or "")) or unnamed
    if isinstance(names, dict):  # from index to name, with gaps perhaps
        by_index = {str(index): name for index, name in enumerate(unnamed)}
        strange = sorted(set(names) - set(by_index))
        if strange:
            raise ConfigError(
                f"label_names has an index {strange[0][:80]!r}: with {count} classes it can be 0 to {count - 1}."
            )
        names = list((by_index | names).values())
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError("label_names has to be a list of names, one for each class.")
    descriptions = _section(find("label_descriptions"), "label_descriptions")
    if not all(isinstance(text, str) for text in descriptions.values()):
        raise ConfigError("label_descriptions has to give a text for each name.")
    if any(
        "\ud800" <= character <= "\udfff" for name in (*names, *descriptions.values()) for character in name
    ):
        raise ConfigError(
            "label_names holds a name that is no Unicode text (a lone surrogate): write it in UTF-8."
        )
    if len(names) != count:
        raise ConfigError(f"label_names has {len(names)} names, but num_classes is {count}.")
    return (
        distinct([descriptions.get(name) or name for name in names], names) if descriptions else tuple(names)
    )


def _preprocessing(cfg: dict) -> Preprocessing:
    cfg = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in cfg.items()
        if value is not None
    }
    options = {
        key: cfg[key]
        for key in ("crop_pct", "interpolation", "mean", "std", "crop_mode", "test_crop_pct")
        if key in cfg
    }
    for field, key in (("image_size", "input_size"), ("test_image_size", "test_input_size")):
        if key in cfg:
            size = cfg[key]
            if not isinstance(size, tuple) or len(size) != 3 or size[0] != 3 or size[1] != size[2]:
                raise ConfigError(f"{key} has to be [3, size, size], not {str(size)[:80]}.")
            options[field] = size[1]
    return Preprocessing(**options)
