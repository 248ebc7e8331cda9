"""Recipes: all settings that decide how a network is trained, as plain values."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from resnext.errors import ConfigError
from resnext.recipe_file import MAX_SEED

OPTIMIZERS = ("sgd", "adamw")
LABEL_MODES = ("int", "categorical", "binary")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
CLASS_WEIGHTS = ("equal", "balanced")
# How many images fine-tuning sees in all its epochs, and the fewest and most epochs.
_FINETUNING_IMAGES = 37_000
_FINETUNING_EPOCHS = (5, 50)
# The peak learning rate of fine-tuning, for 32 images per step: of networks of fewer classes than ImageNet's,
# such as the bundled backbone, as chosen on the validation images of the flowers; and of networks trained on
# ImageNet, whose features are worth keeping. That one lies between two published ones, scaled linearly to 32:
# 0.01 for 256, of most studies (Li et al., 2020, arXiv:2002.11770), and 0.001 for 4, of PyTorch's tutorial on
# transfer learning.
_FINETUNING_RATE = 0.05
_IMAGENET_FINETUNING_RATE = 0.004
_IMAGENET_CLASSES = 1000
# How many images give batch norm's statistics: a thousand are enough (Wu & Johnson, 2021, arXiv:2105.07576).
_PRECISE_BN = 1024
# The crop ratio of fine-tuning on whole images. Smaller crops magnify more, which a smaller ratio answers.
WHOLE_IMAGE_CROP = 0.875


def _setting(default, help: str, *, choices=None, min=None, max=None, above=None):
    """A field of `Recipe` with what the command line says and checks of it.

    Args:
        default: The value where a recipe.json, such as an older one, lacks it.
        help: What it is, in a sentence or two.
        choices: The values that it can have.
        min, max: The limits of its range, which belong to it.
        above: A lower limit that does not belong to its range.
    """
    details = {"help": help, "choices": choices, "min": min, "max": max, "above": above}
    return dataclasses.field(default=default, metadata=details)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained. The metadata of each field says what it is, and its range.

    Raises:
        ConfigError: A value is of the wrong type or out of range, or two values contradict each other.
    """

    model: str = _setting("resnext26_small", "Architecture, such as resnext50_32x4d.")
    probe_passes: int = _setting(
        0,
        "Fine-tuning: before the epochs, fit a new classifier to the pretrained network's features in at "
        "most this many passes (a linear probe; Kumar et al., 2022, arXiv:2202.10054), 0 for none.",
        min=0,
    )
    epochs: int = _setting(
        110,
        "Number of epochs in which the layers are trained; 0 leaves the network as it is, with the linear "
        "probe's classifier.",
        min=0,
        max=1_000_000,
    )
    batch_size: int = _setting(32, "Number of images per step.", min=1)
    image_size: int = _setting(
        144, "Height and width in pixels at which the network is evaluated and served.", min=1
    )
    train_size: int = _setting(
        112,
        "Height and width in pixels of the training crops. With image-size alone, they keep the recipe's "
        "ratio; those of finetune have at least 176 pixels, or image-size. Smaller than image-size is "
        "faster, and for large images not less accurate, because random crops magnify (Touvron et al., 2019, "
        "arXiv:1906.06423).",
        min=1,
    )
    optimizer: str = _setting(
        "sgd", "Optimizer: sgd (with Nesterov momentum 0.9) or adamw.", choices=OPTIMIZERS
    )
    learning_rate: float = _setting(0.05, "Peak learning rate, for this batch size.", min=0)
    weight_decay: float = _setting(
        5e-3, "Decoupled weight decay, as Keras defines it, of convolution and dense kernels only.", min=0
    )
    warmup_epochs: float = _setting(
        3, "Epochs of linear warmup to the peak learning rate, at most a quarter of all epochs.", min=0
    )
    cosine: bool = _setting(
        True, "Let the learning rate decay to 0 along a cosine; otherwise it is constant, without warmup."
    )
    label_smoothing: float = _setting(0.1, "Label smoothing of the training loss.", min=0, max=0.999)
    labels: str = _setting(
        "categorical",
        "Label format of the loss: int, categorical (one-hot) or binary (two classes).",
        choices=LABEL_MODES,
    )
    class_weights: str = _setting(
        "equal",
        "Weights of the classes in the training loss: equal, or balanced, in inverse proportion to their "
        "images.",
        choices=CLASS_WEIGHTS,
    )
    flip: bool = _setting(True, "Flip half of the training images left to right.")
    zoom: float = _setting(
        0.4,
        "Magnify by up to 1 / (1 - zoom), height and width independently, so that shapes vary.",
        min=0,
        max=0.95,
    )
    rotation: float = _setting(
        0.03, "Rotate by up to this fraction of a full circle in both directions.", min=0, max=0.5
    )
    jitter: float = _setting(
        0.3,
        "Change contrast and saturation by up to this fraction, brightness by half of it.",
        min=0,
        max=0.9,
    )
    low_res: float = _setting(
        0.0,
        "Fraction of the training images that are reduced to a half, a quarter or an eighth of their size "
        "and enlarged again, so that small and blurred photographs are classified, too.",
        min=0,
        max=1,
    )
    mixup: float = _setting(
        0.2, "Alpha of MixUp (arXiv:1710.09412), 0 for none. It needs categorical labels.", min=0, max=100
    )
    cutmix: float = _setting(
        1.0,
        "Alpha of CutMix (arXiv:1905.04899), 0 for none. Each image gets one of the two, or neither.",
        min=0,
        max=100,
    )
    mean: tuple[float, float, float] = _setting(
        (0.485, 0.456, 0.406),
        "Mean of the channels R, G, B, with pixels in [0, 1], that the network normalizes by.",
        min=0,
        max=1,
    )
    std: tuple[float, float, float] = _setting(
        (0.229, 0.224, 0.225), "Standard deviation of the channels, as mean.", above=0
    )
    crop_pct: float = _setting(
        0.9, "Crop ratio: image-size divided by the length of the resized shorter side.", above=0, max=1
    )
    ema: float = _setting(
        0.0,
        "Decay of the exponential moving average of the weights, such as 0.999; 0 for none. The averaged "
        "weights are validated and kept.",
        min=0,
        max=0.99999,
    )
    clip_norm: float = _setting(
        0.0, "Limit of the norm of the gradient (with layer-decay, of each stage's), 0 for none.", min=0
    )
    accumulate: int = _setting(
        1, "Number of steps whose gradients are accumulated before the weights change.", min=1
    )
    patience: int = _setting(
        0, "Stop after this many epochs without a lower validation loss, 0 for never.", min=0
    )
    keep_last: bool = _setting(
        False, "Keep the weights of the last epoch, not those of the lowest validation loss."
    )
    precise_bn: int = _setting(
        0,
        "After training, compute batch norm's statistics again on at most this many training images, as the "
        "network will see them (Wu & Johnson, 2021, arXiv:2105.07576); kept if the validation loss is lower. "
        "0 for none.",
        min=0,
    )
    calibrate: bool = _setting(
        True,
        "After training, scale the classifier by the temperature that minimizes the validation loss (Guo et "
        "al., 2017, arXiv:1706.04599), so that probabilities match accuracies.",
    )
    detect_unknown: bool = _setting(
        True,
        "After training, fit a detector that recognizes photographs of none of the classes, on the bundled "
        "backbone's features (outlier exposure; Hendrycks et al., 2019, arXiv:1812.04606).",
    )
    freeze_bn: bool = _setting(
        False,
        "Fine-tuning: freeze batch norm, statistics and parameters (timm's freeze_batch_norm_2d, Keras' "
        "trainable = False).",
    )
    freeze_at: int = _setting(
        0,
        "Fine-tuning: freeze this many stages next to the input, with their batch norm: 0 for none, 1 for "
        "the stem, 2 for the stem and layer1 (Detectron2's default), ..., 5 for all but the classifier.",
        min=0,
        max=5,
    )
    layer_decay: float = _setting(
        1.0,
        "Fine-tuning: layer-wise learning-rate decay. The classifier has learning-rate, layer4 that times "
        "layer-decay, ..., the stem that times its fifth power (Howard & Ruder, 2018, arXiv:1801.06146); 1 "
        "for none.",
        above=0,
        max=1,
    )
    unfreeze_epochs: float = _setting(
        0.0,
        "Fine-tuning: train only the classifier for this many epochs, then unfreeze one more stage each time "
        "(same paper); 0 trains all stages from the start.",
        min=0,
    )
    precision: str = _setting(
        "auto",
        "Precision of the computation. auto: bfloat16 on a GPU or a processor that computes in it, otherwise "
        "float16 on a GPU and float32 on a processor.",
        choices=PRECISIONS,
    )
    seed: int = _setting(0, "Seed of the weights, shuffling, augmentation and splits.", min=0, max=MAX_SEED)

    @classmethod
    def from_json(cls, values: Any) -> "Recipe":
        """Makes a recipe of the content of recipe.json, or of its part "recipe".

        Args:
            values: The parsed JSON. What it leaves out has its default.

        Raises:
            ConfigError: It is not a recipe, or has an unknown or invalid setting.
        """
        if isinstance(values, dict):
            values = values.get("recipe", values)
        if not isinstance(values, dict):
            raise ConfigError("A recipe must be a JSON object of settings.")
        unknown = sorted(values.keys() - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise ConfigError(f"{unknown[0]!r} is not a setting of a recipe: remove or correct it.")
        return cls(
            **{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            self._check(field)
        if not self.epochs and not self.probe_passes:
            raise ConfigError("epochs and probe-passes are both 0: there is nothing to train.")
        if self.label_smoothing and self.labels == "int":
            raise ConfigError("Label smoothing needs categorical or binary labels, not int.")
        if (self.mixup or self.cutmix) and self.labels != "categorical":
            raise ConfigError(
                f"MixUp and CutMix blend labels: they need categorical labels, not {self.labels}."
            )

    def _check(self, field: dataclasses.Field) -> None:
        name = option_name(field.name)
        value = getattr(self, field.name)
        kinds = {float: (int, float)}.get(field.type, field.type)
        numbers = (value,)
        if field.type == tuple[float, float, float]:
            kinds = (int, float)
            numbers = value
            if not isinstance(value, tuple) or len(value) != 3:
                raise ConfigError(f"{name} must be three numbers, not {value!r}.")
        for number in numbers:
            if not isinstance(number, kinds) or (isinstance(number, bool) and field.type is not bool):
                raise ConfigError(f"{name} must be {_KINDS[field.type]}, not {value!r}.")
            _check_range(name, number, field.metadata)


_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    tuple[float, float, float]: "three numbers",
}


def option_name(field: str) -> str:
    """What the command line calls a field of `Recipe`."""
    return field.replace("_", "-")


def _check_range(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    choices, least, most, above = (limits[key] for key in ("choices", "min", "max", "above"))
    if choices is not None and value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
    if isinstance(value, str):
        return
    if not math.isfinite(value):
        raise ConfigError(f"{name} must be a finite number, not {value}.")
    bounds = {"above": above, "at least": least, "at most": most}
    outside = (above is not None and value <= above) or (least is not None and value < least)
    if outside or (most is not None and value > most):
        limits = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
        raise ConfigError(f"{name} must be {limits}, not {value}.")


RECIPES = {
    # A new classifier on the features of a pretrained network, in seconds.
    "probe": Recipe(probe_passes=300, epochs=0, image_size=160, train_size=124, crop_pct=0.875),
    # Starts from a pretrained network with the linear probe's classifier, then trains the layers, slower near
    # the input, where features are general; the first ones stay. Validation images chose image_size, crop_pct
    # and freeze_at, and their worse copies low_res.
    "finetune": Recipe(
        probe_passes=300,
        epochs=30,
        image_size=224,
        train_size=176,
        crop_pct=0.8,
        zoom=0.35,
        learning_rate=_FINETUNING_RATE,
        low_res=0.3,
        freeze_at=2,
        layer_decay=0.9,
        ema=0.99,
        precise_bn=_PRECISE_BN,
    ),
    # The best recipe found for training on small data sets from random weights: a small network, strong
    # augmentation.
    "scratch": Recipe(precise_bn=_PRECISE_BN),
    # A general backbone from Tiny-ImageNet's 100,000 images of 64 pixels, which are enlarged. The learning
    # rate grows with the batch size (Goyal et al., 2017, arXiv:1706.02677); the training crops are smaller
    # than the images that are validated (Touvron et al., 2019, arXiv:1906.06423). Blended labels can make
    # features that transfer less well (Kornblith et al., 2021, arXiv:2010.16402), but without them the
    # network learned its images by heart: 79% of the training and 48% of the validation images.
    "pretrain": Recipe(
        epochs=40,
        batch_size=128,
        image_size=96,
        train_size=80,
        learning_rate=0.2,
        weight_decay=2.5e-3,
        warmup_epochs=2,
        label_smoothing=0.0,
        zoom=0.3,
        rotation=0.0,
        jitter=0.2,
        crop_pct=1.0,
        precise_bn=_PRECISE_BN,
        detect_unknown=False,  # the detector needs the backbone that is trained here
    ),
    # The tutorial's: ResNeXt-50 on pixels in [0, 1], Adam at Keras' default rate, shuffling as the only
    # augmentation.
    "tutorial": Recipe(
        model="resnext50_32x4d",
        epochs=20,
        image_size=224,
        train_size=224,
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=0.0,
        warmup_epochs=0,
        cosine=False,
        label_smoothing=0.0,
        labels="int",
        flip=False,
        zoom=0.0,
        rotation=0.0,
        jitter=0.0,
        mixup=0.0,
        cutmix=0.0,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        crop_pct=1.0,
    ),
}


def finetuning_epochs(images: int) -> int:
    """The length of fine-tuning that fits a number of training images: the fewer, the more epochs."""
    return min(max(round(_FINETUNING_IMAGES / images), _FINETUNING_EPOCHS[0]), _FINETUNING_EPOCHS[1])


def finetuning_rate(classes: int) -> float:
    """The learning rate of fine-tuning that fits a pretrained network with this number of classes."""
    return _IMAGENET_FINETUNING_RATE if classes >= _IMAGENET_CLASSES else _FINETUNING_RATE


def find_recipe(name: str) -> Recipe:
    """Finds a recipe by its name, or reads it from a file.

    Args:
        name: One of `RECIPES`, or the path of a recipe.json.

    Raises:
        ConfigError: There is no such recipe, or the file is not a valid one.
    """
    if name in RECIPES:
        return RECIPES[name]
    path = pathlib.Path(name)
    if not path.is_file():
        raise ConfigError(
            f"Unknown recipe {name!r}: give {', '.join(RECIPES)}, or the path of a recipe.json."
        )
    try:
        return Recipe.from_json(json.loads(path.read_text(encoding="utf-8")))
    except ConfigError as error:
        raise ConfigError(f"{path} is not a valid recipe: {error}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not a valid recipe ({error}): give a recipe.json.") from None
