import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.optimizer import FusedSGD, make_optimizer
from training.recipe import RECIPES


def steps(optimizer, dtype="float32", number=7):
    """The variables after some steps with random gradients, and those of the optimizer."""
    rng = np.random.default_rng(0)
    variables = [
        keras.Variable(rng.normal(size=shape), dtype=dtype, name=name)
        for name, shape in {"kernel": (3, 3, 4, 8), "gamma": (8,), "bias": (5,)}.items()
    ]
    optimizer.build(variables)
    apply = tf.function(lambda gradients: optimizer.apply(gradients, variables))
    for _ in range(number):
        apply([tf.constant(rng.normal(size=variable.shape), dtype) for variable in variables])
    return [variable.numpy() for variable in (*variables, *optimizer.variables)]


OPTIONS = {
    "the recipe's": {"nesterov": True, "weight_decay": 0.05},
    "no decay": {"nesterov": True},
    "plain momentum": {"weight_decay": 0.05},
    "a clipped norm": {"nesterov": True, "weight_decay": 0.05, "global_clipnorm": 0.3},
    "accumulated gradients": {"nesterov": True, "weight_decay": 0.05, "gradient_accumulation_steps": 3},
    "averaged weights": {"nesterov": True, "use_ema": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_fused_update_is_that_of_keras(options):
    results = []
    for kind in (keras.optimizers.SGD, FusedSGD):
        rate = keras.optimizers.schedules.CosineDecay(0.01, 10, warmup_target=0.1, warmup_steps=3)
        optimizer = kind(rate, momentum=0.9, **options)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        results.append(steps(optimizer))
    theirs, ours = results
    assert len(theirs) == len(ours)
    for one, other in zip(ours, theirs, strict=True):
        assert np.allclose(one, other, rtol=1e-5, atol=1e-6)


def test_only_kernels_decay():
    rates = {"learning_rate": 0.1, "weight_decay": 0.5, "cosine": False}
    recipe = dataclasses.replace(RECIPES["scratch"], **rates)
    optimizer = make_optimizer(recipe, 10, "fc")
    variables = [keras.Variable(np.ones(2), name=name) for name in ("kernel", "gamma", "beta", "bias")]
    optimizer.apply([tf.zeros(2)] * 4, variables)
    assert [float(variable.numpy()[0]) for variable in variables] == pytest.approx([0.95, 1, 1, 1])


def test_the_update_reads_each_variable_in_one_operation():
    optimizer = make_optimizer(RECIPES["scratch"], 10, "fc")
    variables = [keras.Variable(np.ones((2, 3)), name=f"kernel{index}") for index in range(4)]
    optimizer.build(variables)
    gradients = [tf.ones((2, 3))] * 4
    graph = tf.function(lambda: optimizer.apply(gradients, variables)).get_concrete_function().graph
    assert [node.type for node in graph.get_operations()].count("ResourceApplyKerasMomentum") == 4
