"""Recipes: everything that decides how a network is trained, as plain values."""

import dataclasses
import math

from resnext.errors import ConfigError

OPTIMIZERS = ("sgd", "adamw")
LABEL_MODES = ("int", "categorical", "binary")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
MAX_SEED = 2**32 - 1  # NumPy's


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Args:
        model: name of the architecture.
        epochs: passes over the training images.
        batch_size: images in a step.
        image_size: height and width in pixels that the network is evaluated and served at.
        train_size: height and width of the crops that it is trained on; smaller than image_size is faster and,
            because random crops magnify, no worse (Touvron et al., 2019, arXiv:1906.06423).
        optimizer: "sgd" (Nesterov momentum 0.9) or "adamw".
        learning_rate: at its peak, for this batch size.
        weight_decay: decoupled, as Keras has it; convolution and dense kernels only.
        warmup_epochs: epochs of linear growth to the peak, a quarter of all at most; a cosine decay to 0 follows.
        cosine: decay the rate; otherwise it stays at its peak.
        label_smoothing: in [0, 1).
        labels: "int", "categorical" or "binary" (two classes, one logit's worth of label).
        flip: mirror half of the images.
        zoom: magnify by up to 1 / (1 - zoom), height and width apart, so that shapes vary.
        rotation: turn by up to this part of a full circle either way.
        jitter: change contrast and saturation by up to this part, brightness by half of it; at most 0.9.
        mixup: alpha of MixUp (arXiv:1710.09412); 0 for none. Needs categorical labels.
        cutmix: alpha of CutMix (arXiv:1905.04899); 0 for none. Each batch draws one of the two, or neither.
        mean, std: the normalisation of pixels in [0, 1].
        crop_pct: image_size over the shorter side that photographs are resized to.
        freeze_bn: fine-tuning only, as the next two. Batch norm stays in inference mode: neither its statistics move nor its
            scale and offset (timm's freeze_batch_norm_2d, Keras' `trainable = False`).
        layer_decay: learning rate of a stage over that of the next one, in (0, 1]: the classifier learns at learning_rate, layer4
            at layer_decay of it, ..., the stem at its fifth power (Howard & Ruder, 2018, arXiv:1801.06146, section 3.2).
        unfreeze_epochs: the classifier learns alone for so many epochs, then one stage more from the output each time (the
            same, section 3.3); 0 for all at once. It is no faster, and batch norm's statistics move also in stages that wait.
        precision: "auto" (float16 on a GPU, float32 elsewhere), "float32", "bfloat16" or "float16".
        seed: of weights, shuffling, augmentation and the split of a single folder.
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
        for name, allowed in (("optimizer", OPTIMIZERS), ("labels", LABEL_MODES), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} can be {', '.join(allowed)}, not {getattr(self, name)!r}.")
        for name in ("epochs", "batch_size", "image_size", "train_size"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"{name.replace('_', '-')} has to be at least 1, not {getattr(self, name)}."
                )
        if not 0 <= self.seed <= MAX_SEED:
            raise ConfigError(f"seed has to be from 0 to {MAX_SEED}, not {self.seed}.")
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"layer-decay has to be above 0 and at most 1, not {self.layer_decay}.")
        if not 0 <= self.unfreeze_epochs < math.inf:
            raise ConfigError(f"unfreeze-epochs has to be 0 or more, not {self.unfreeze_epochs}.")
        if self.label_smoothing and self.labels == "int":
            raise ConfigError("Label smoothing needs labels categorical or binary, not int.")
        if (self.mixup or self.cutmix) and self.labels != "categorical":
            raise ConfigError(
                f"MixUp and CutMix blend labels, so labels has to be categorical, not {self.labels}."
            )


RECIPES = {
    # The best found for small data sets: from scratch, strong augmentation, a small net.
    "small": Recipe(),
    # From another network's weights: shorter, and slower the nearer to the input, where features are general. From CIFAR-10's
    # weights, 0.05 and 0.9 did better on the flowers' validation images than 0.02 and 0.7. Rates of 0.1, or no decay, did better
    # still, but those weights are weak: better ones have more to lose.
    "finetune": Recipe(epochs=40, learning_rate=0.05, layer_decay=0.9),
    # What the tutorial does: ResNeXt-50 on pixels in [0, 1], Adam at Keras' rate, nothing but shuffling.
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
    """The recipe of that name.

    Raises:
        ConfigError: no such name.
    """
    if name not in RECIPES:
        raise ConfigError(f"Unknown recipe {name!r}: known are {', '.join(RECIPES)}.")
    return RECIPES[name]
