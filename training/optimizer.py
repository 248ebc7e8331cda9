"""The optimizer of a recipe: one for the whole network, or one per stage if their learning rates differ."""

import keras
import tensorflow as tf

from .recipe import Recipe

STAGES = ("layer4", "layer3", "layer2", "layer1")  # between the classifier and the stem


def make_optimizer(recipe: Recipe, steps: int, classifier: str) -> keras.optimizers.Optimizer:
    """Makes the optimizer to compile the network with.

    Args:
        recipe: The recipe: optimizer, learning rate, schedule, layer_decay and unfreeze_epochs.
        steps: The number of training steps per epoch.
        classifier: The name of the classifier layer.

    Returns:
        An optimizer whose `learning_rate` is that of the classifier, which is the recipe's.
    """
    rate = _schedule(recipe, steps)
    if recipe.layer_decay == 1 and not recipe.unfreeze_epochs:
        return _optimizer(recipe, rate)
    steps_to_unfreeze = recipe.unfreeze_epochs * steps
    patterns = [f"{classifier}/.*", *(rf"{stage}\..*" for stage in STAGES)]
    *stages, stem = [
        _optimizer(recipe, StageRate(rate, recipe.layer_decay**distance, round(distance * steps_to_unfreeze)))
        for distance in range(len(patterns) + 1)
    ]
    return StagedOptimizer(keras.optimizers.OptimizerMap(stem, dict(zip(patterns, stages))))


def freeze_stages(network: keras.Model, count: int) -> None:
    """Freezes the stages next to the input, with their batch norm, so that no gradients are computed there.

    Args:
        network: A ResNeXt of `build_model`.
        count: The number of stages, 0 to 5: the stem, layer1, ..., layer4.
    """
    frozen = ("stem", *reversed(STAGES))[:count]
    classifier = network.resnext_config.architecture.classifier
    for layer in network.layers:
        stage = layer.name.partition(".")[0]
        if (stage if stage in (*STAGES, classifier) else "stem") in frozen:
            layer.trainable = False


class StageRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of a stage: a fraction of the classifier's, and 0 until the stage is unfrozen.

    A learning rate of 0 freezes a stage: weight decay is multiplied by it, and so is what enters SGD's
    momentum, which is therefore empty when the stage is unfrozen. Adam's moments are accumulated meanwhile,
    as they have to be: its bias correction counts from the first step.

    Args:
        base: The classifier's learning rate, a number or a schedule.
        fraction: The fraction of it, in (0, 1].
        start: The first step of the unfrozen stage.
    """

    def __init__(self, base, fraction: float, start: int):
        self.base = base
        self.fraction = fraction
        self.start = start

    def __call__(self, step):
        rate = self.base(step) if callable(self.base) else self.base
        return keras.ops.where(step < self.start, 0.0, self.fraction * rate)


@keras.saving.register_keras_serializable("resnext")
class FusedSGD(keras.optimizers.SGD):
    """`keras.optimizers.SGD` with momentum, whose update of a variable is one TensorFlow operation.

    Keras writes it as eight, each of which reads or writes a whole variable, and computes the learning rate's
    schedule anew for each weight decay. Variables and results are those of Keras, up to rounding.
    """

    def update_step(self, gradient, variable, learning_rate):
        if self.weight_decay and self._use_weight_decay(variable):
            # A new value instead of a subtraction: the variable takes it over without a copy.
            variable.assign(variable * tf.cast(1 - self.weight_decay * learning_rate, variable.dtype))
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )

    def _apply_weight_decay(self, variables):
        """Does nothing: `update_step` does it."""


class StagedOptimizer(keras.optimizers.MultiOptimizer):
    """Keras' MultiOptimizer with the learning rate of its first optimizer, as it has none of its own."""

    @property
    def learning_rate(self):
        return self.optimizers[0].learning_rate


def _schedule(recipe: Recipe, steps: int):
    """The learning rate: a number, or a linear warmup with a cosine decay to 0."""
    rate = recipe.learning_rate
    if not recipe.cosine:
        return rate
    total = recipe.epochs * steps
    warmup = int(min(recipe.warmup_epochs, recipe.epochs / 4) * steps)
    return keras.optimizers.schedules.CosineDecay(
        rate / 100 if warmup else rate,
        max(total - warmup, 1),
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )


def _optimizer(recipe: Recipe, rate) -> keras.optimizers.Optimizer:
    options = {
        "weight_decay": recipe.weight_decay,
        "global_clipnorm": recipe.clip_norm or None,
        "gradient_accumulation_steps": recipe.accumulate if recipe.accumulate > 1 else None,
    }
    if recipe.optimizer == "sgd":
        options["weight_decay"] = recipe.weight_decay or None
        optimizer = FusedSGD(rate, momentum=0.9, nesterov=True, **options)
    else:
        optimizer = keras.optimizers.AdamW(rate, **options)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
