"""config.json in timm's form: which network, which classes, and how to prepare an image for it."""

import dataclasses
import json
import pathlib
from typing import Any

from resnext.architecture import ARCHITECTURES, Architecture, find_architecture
from resnext.errors import ConfigError
from resnext.files import write_atomically

# ImageNet's channel means and deviations in [0, 1] (timm.data.IMAGENET_DEFAULT_MEAN, _STD)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
INTERPOLATIONS = ("bilinear", "bicubic", "lanczos", "nearest")
_TIMM_BASE = "resnext50_32x4d"  # what timm is told to build, with model_args, when it has no such name itself
_ONLY_HERE = ("resnext26_small",)
_LEAST_SIZE = 32  # the network's stride: below it, average pooling would have nothing to pool
_MOST_SIZE = 4096  # of an image's side in pixels, resized or cropped
_MOST_BYTES = 16 * 2**20
_MOST_CLASSES = 100_000


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value and abs(value) < 1e6


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How a photograph becomes the network's input (timm's `pretrained_cfg`).

    Args:
        image_size: height and width of the network's input in pixels.
        crop_pct: image_size over the length that the shorter side is resized to, in (0, 1].
        interpolation: Pillow's filter for the resize: "bilinear", "bicubic", "lanczos" or "nearest".
        mean, std: of the training images' channels R, G, B, in [0, 1].
    """

    image_size: int = 224
    crop_pct: float = 0.875
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self):
        if not (isinstance(self.image_size, int) and _LEAST_SIZE <= self.image_size <= _MOST_SIZE):
            raise ConfigError(f"The image size has to be a whole number from {_LEAST_SIZE} to {_MOST_SIZE}, not {self.image_size!r}.")
        if not (_is_number(self.crop_pct) and 0.05 <= self.crop_pct <= 1):
            raise ConfigError(f"crop_pct has to be a number from 0.05 to 1, not {self.crop_pct!r}.")
        if self.resize_to > _MOST_SIZE:
            raise ConfigError(f"crop_pct {self.crop_pct} asks for a resize to {self.resize_to} pixels: {_MOST_SIZE} is the most.")
        if self.interpolation not in INTERPOLATIONS:
            raise ConfigError(f"Unknown interpolation {self.interpolation!r}: it can be {', '.join(INTERPOLATIONS)}.")
        for field in ("mean", "std"):
            values = getattr(self, field)
            if not (isinstance(values, tuple) and len(values) == 3 and all(map(_is_number, values))):
                raise ConfigError(f"{field} has to be three numbers, not {values!r}.")
        if min(self.std) <= 0:
            raise ConfigError(f"std has to be above 0 in every channel, not {self.std!r}.")

    @property
    def resize_to(self) -> int:
        """Length of the shorter side after the resize, in pixels (timm: floor(size / crop_pct))."""
        return int(self.image_size / self.crop_pct)


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

    @property
    def num_classes(self) -> int:
        return len(self.label_names)

    def to_json(self) -> dict[str, Any]:
        """config.json's content; timm opens a repository by it (`timm.create_model("local-dir:...")`)."""
        prep = self.preprocessing
        base = _TIMM_BASE if self.name in _ONLY_HERE else self.name
        size = [3, prep.image_size, prep.image_size]
        return {
            "architecture": base,
            "num_classes": self.num_classes,
            "num_features": self.architecture.features,
            "label_names": list(self.label_names),
            "model_args": _model_args(self.architecture, find_architecture(base)),
            "pretrained_cfg": {
                "tag": self.name,
                "custom_load": False,
                "input_size": size,
                "fixed_input_size": False,
                "interpolation": prep.interpolation,
                "crop_pct": prep.crop_pct,
                "crop_mode": "center",
                "mean": list(prep.mean),
                "std": list(prep.std),
                "num_classes": self.num_classes,
                "pool_size": [-(-prep.image_size // 32)] * 2,
                "first_conv": "conv1.0" if self.architecture.stem_type else "conv1",
                "classifier": "fc",
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
        architecture = _apply_model_args(find_architecture(base), _section(values.get("model_args"), "model_args"))
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
            if path.stat().st_size > _MOST_BYTES:
                raise ConfigError(f"it is larger than {_MOST_BYTES >> 20} MiB.")
            return cls.from_json(json.loads(path.read_bytes()))
        except FileNotFoundError:
            raise ConfigError(f"{path} is missing: a model repository needs a config.json in timm's form.") from None
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
    args = {key: tuple(value) if isinstance(value, list) else value for key, value in args.items()}
    block_args = _section(args.pop("block_args", None), "block_args")
    if "attn_layer" in block_args:
        args["attn_layer"] = block_args["attn_layer"]
    known = {field.name for field in dataclasses.fields(Architecture)}
    unknown = sorted(set(args) - known) + sorted(set(block_args) - {"attn_layer"})
    if unknown:
        raise ConfigError(f"model_args asks for {', '.join(unknown)[:200]}, which this project does not build.")
    return dataclasses.replace(base, **args)


def _label_names(values: dict, cfg: dict) -> tuple[str, ...]:
    names = values.get("label_names") or cfg.get("label_names")
    count = values.get("num_classes", cfg.get("num_classes", len(names or ())))
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= _MOST_CLASSES:
        raise ConfigError(f"num_classes has to be a whole number from 1 to {_MOST_CLASSES}, not {str(count)[:80]!r}.")
    if names is None:
        return tuple(f"class {index}" for index in range(count))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError("label_names has to be a list of names, one for each class.")
    if any("\ud800" <= character <= "\udfff" for name in names for character in name):
        raise ConfigError("label_names holds a name that is no Unicode text (a lone surrogate): write it in UTF-8.")
    if len(names) != count:
        raise ConfigError(f"label_names has {len(names)} names, but num_classes is {count}.")
    return tuple(names)


def _preprocessing(cfg: dict) -> Preprocessing:
    default = Preprocessing()
    size = cfg.get("input_size", [3, default.image_size, default.image_size])
    if not isinstance(size, list) or len(size) != 3 or size[0] != 3 or size[1] != size[2]:
        raise ConfigError(f"input_size has to be [3, size, size], not {str(size)[:80]}.")
    options = {key: cfg[key] for key in ("crop_pct", "interpolation", "mean", "std") if key in cfg}
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    return Preprocessing(image_size=size[1], **options)
