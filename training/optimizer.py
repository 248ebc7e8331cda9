"""The optimizer of a recipe: one for the whole network, or where stages learn at different rates, one for each stage."""

import keras

from .recipe import Recipe

STAGES = ("layer4", "layer3", "layer2", "layer1")  # between the classifier and the stem


def make_optimizer(recipe: Recipe, steps: int, classifier: str) -> keras.optimizers.Optimizer:
    """An optimizer to compile the network with.

    Args:
        recipe: its optimizer, rates, layer_decay and unfreeze_epochs.
        steps: training steps in an epoch.
        classifier: the name of that layer.

    Returns:
        One whose `learning_rate` is that of the classifier, which is the recipe's.
    """
    rate = _schedule(recipe, steps)
    if recipe.layer_decay == 1 and not recipe.unfreeze_epochs:
        return _optimizer(recipe, rate)
    wait, patterns = (
        recipe.unfreeze_epochs * steps,
        [f"{classifier}/.*", *(rf"{stage}\..*" for stage in STAGES)],
    )
    *stages, stem = [
        _optimizer(recipe, StageRate(rate, recipe.layer_decay**distance, round(distance * wait)))
        for distance in range(len(patterns) + 1)
    ]
    return StagedOptimizer(keras.optimizers.OptimizerMap(stem, dict(zip(patterns, stages))))


class StageRate(keras.optimizers.schedules.LearningRateSchedule):
    """A stage's learning rate: a part of the classifier's, and 0 before its first step.

    A rate of 0 freezes: weight decay is multiplied by it, and so is what SGD's momentum takes in, which is empty when
    the stage begins. Adam's moments do gather, as its correction of their bias, which counts from the first step, needs.
    """

    def __init__(self, whole, part: float, start: int):
        self.whole, self.part, self.start = whole, part, start

    def __call__(self, step):
        rate = self.whole(step) if callable(self.whole) else self.whole
        return keras.ops.where(step < self.start, 0.0, self.part * rate)


class StagedOptimizer(keras.optimizers.MultiOptimizer):
    """Keras' MultiOptimizer, which has no learning rate of its own, with that of its first optimizer."""

    @property
    def learning_rate(self):
        return self.optimizers[0].learning_rate


def _schedule(recipe, steps):
    rate = recipe.learning_rate
    if not recipe.cosine:
        return rate
    total, warmup = recipe.epochs * steps, int(min(recipe.warmup_epochs, recipe.epochs / 4) * steps)
    return keras.optimizers.schedules.CosineDecay(
        rate / 100 if warmup else rate,
        max(total - warmup, 1),
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )


def _optimizer(recipe, rate):
    if recipe.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(
            rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay or None
        )
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
