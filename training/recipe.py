"""Recipes: all settings that decide how a network is trained, as plain values."""

import dataclasses
import math

from resnext.errors import ConfigError

OPTIMIZERS = ("sgd", "adamw")
LABEL_MODES = ("int", "categorical", "binary")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
MAX_SEED = 2**32 - 1  # the largest that NumPy takes


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Args:
        model: The name of the architecture.
        epochs: The number of passes over the training images.
        batch_size: The number of images per step.
        image_size: The height and width in pixels at which the network is evaluated and served.
        train_size: The height and width in pixels of the training crops. Smaller than image_size is faster,
            and not less accurate, because random crops magnify (Touvron et al., 2019, arXiv:1906.06423).
        optimizer: "sgd" (Nesterov momentum 0.9) or "adamw".
        learning_rate: The peak learning rate, for this batch size.
        weight_decay: The decoupled weight decay, as Keras defines it, of convolution and dense kernels only.
        warmup_epochs: The epochs of linear warmup to the peak learning rate, at most a quarter of all epochs.
        cosine: Whether a cosine decay to 0 follows. Otherwise the learning rate is constant, without warmup.
        label_smoothing: The label smoothing, in [0, 1).
        labels: The label format: "int", "categorical" (one-hot) or "binary" (two classes).
        flip: Whether half of the images are flipped left to right.
        zoom: Images are magnified by up to 1 / (1 - zoom), height and width independently, so that shapes
            vary.
        rotation: Images are rotated by up to this fraction of a full circle in both directions.
        jitter: Contrast and saturation change by up to this fraction, brightness by half of it; at most 0.9.
        mixup: The alpha of MixUp (arXiv:1710.09412); 0 for none. It needs categorical labels.
        cutmix: The alpha of CutMix (arXiv:1905.04899); 0 for none. Each batch gets one of the two, or
            neither.
        mean, std: The mean and standard deviation of the channels R, G, B, with pixels in [0, 1], that the
            network normalizes by.
        crop_pct: The crop ratio: image_size divided by the length to which the shorter side is resized.
        freeze_bn: Whether batch norm is frozen, statistics and parameters (timm's freeze_batch_norm_2d,
            Keras' `trainable = False`). Only for fine-tuning.
        layer_decay: The layer-wise learning-rate decay, in (0, 1]: the classifier has learning_rate, layer4
            that times layer_decay, ..., the stem that times its fifth power (Howard & Ruder, 2018,
            arXiv:1801.06146, section 3.2). Only for fine-tuning.
        unfreeze_epochs: Gradual unfreezing (same paper, section 3.3): only the classifier is trained for this
            many epochs, then one more stage is unfrozen each time; 0 trains all stages from the start. It is
            not faster, and the statistics of batch norm also move in frozen stages. Only for fine-tuning.
        precision: "auto" (float16 on a GPU, float32 elsewhere), "float32", "bfloat16" or "float16".
        seed: The seed of weights, shuffling, augmentation, and of the split if the data set is one folder.

    Raises:
        ConfigError: A value is out of range, or two values contradict each other.
    """

    model: str = "resnext26_small"
    epochs: int = 110
    batch_size: int = 32
    image_size: int = 144
    train_size: int = 112
    optimizer: str = "sgd"
    learning_rate: float = 0.05
    weight_decay: float = 5e-3
    warmup_epochs: float = 3
    cosine: bool = True
    label_smoothing: float = 0.1
    labels: str = "categorical"
    flip: bool = True
    zoom: float = 0.4
    rotation: float = 0.03
    jitter: float = 0.3
    mixup: float = 0.2
    cutmix: float = 1.0
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    crop_pct: float = 0.9
    freeze_bn: bool = False
    layer_decay: float = 1.0
    unfreeze_epochs: float = 0.0
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self):
        self._check_choices()
        self._check_ranges()
        self._check_labels()

    def _check_choices(self):
        for name, allowed in (("optimizer", OPTIMIZERS), ("labels", LABEL_MODES), ("precision", PRECISIONS)):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")

    def _check_ranges(self):
        for name in ("epochs", "batch_size", "image_size", "train_size"):
            value = getattr(self, name)
            if value < 1:
                raise ConfigError(f"{name.replace('_', '-')} must be at least 1, not {value}.")
        if not 0 <= self.seed <= MAX_SEED:
            raise ConfigError(f"seed must be from 0 to {MAX_SEED}, not {self.seed}.")
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"layer-decay must be above 0 and at most 1, not {self.layer_decay}.")
        if not 0 <= self.unfreeze_epochs < math.inf:
            raise ConfigError(f"unfreeze-epochs must be 0 or more, not {self.unfreeze_epochs}.")

    def _check_labels(self):
        if self.label_smoothing and self.labels == "int":
            raise ConfigError("Label smoothing needs categorical or binary labels, not int.")
        if (self.mixup or self.cutmix) and self.labels != "categorical":
            raise ConfigError(
                f"MixUp and CutMix blend labels: they need categorical labels, not {self.labels}."
            )


RECIPES = {
    # The best recipe found for training on small data sets from scratch: a small network, strong
    # augmentation.
    "small": Recipe(),
    # Starts from another network's weights, so it is shorter, and slower near the input, where features are
    # general. Fine-tuning from CIFAR-10 weights, 0.05 and 0.9 were better on the validation images of the
    # flowers than 0.02 and 0.7. A rate of 0.1, or no decay, was better still, but those weights are weak:
    # better ones have more to lose.
    "finetune": Recipe(epochs=40, learning_rate=0.05, layer_decay=0.9),
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


def find_recipe(name: str) -> Recipe:
    """Finds a recipe by its name.

    Args:
        name: One of `RECIPES`.

    Raises:
        ConfigError: There is no such recipe.
    """
    if name not in RECIPES:
        raise ConfigError(f"Unknown recipe {name!r}: the recipes are {', '.join(RECIPES)}.")
    return RECIPES[name]
