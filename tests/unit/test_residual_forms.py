import dataclasses

import numpy as np
import pytest

from resnext.errors import ConfigError
from resnext.grouped_conv import GroupedConv2D
from resnext.residual_forms import (
    FormC,
    a_to_b,
    b_to_a,
    b_to_c,
    c_to_b,
    convolution_parameters,
    grouped_convolution,
)


def arrays(block):
    for field in dataclasses.fields(block):
        value = getattr(block, field.name)
        if isinstance(value, np.ndarray):
            yield value
        elif dataclasses.is_dataclass(value):
            yield from arrays(value)


def test_the_three_forms_of_a_block_agree_to_float32_rounding():
    block_c = FormC.random(channels=256, cardinality=32, width=4)
    block_b = c_to_b(block_c)
    block_a = b_to_a(block_b)
    images = np.random.default_rng(1).standard_normal((2, 9, 7, 256)).astype(np.float32)
    outputs = [block(images) for block in (block_a, block_b, block_c)]
    assert len(block_a.paths) == 32
    assert outputs[2].dtype == np.float32
    assert np.abs(outputs[2] - images).max() > 1, "the block does something"
    for output in outputs[:2]:
        assert np.abs(output - outputs[2]).max() < 1e-5 * np.abs(outputs[2]).max()


def test_weights_come_back_bit_for_bit_from_form_c_through_b_and_a():
    block = FormC.random(channels=12, cardinality=3, width=2)
    back = b_to_c(a_to_b(b_to_a(c_to_b(block))))
    assert back.path.groups == 3
    pairs = list(zip(arrays(block), arrays(back), strict=True))
    assert len(pairs) == 9
    assert all(np.array_equal(before, after) for before, after in pairs)


@pytest.mark.parametrize("groups", [1, 3])
def test_the_numpy_convolution_equals_the_keras_layer(groups):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 5, 6, 6)).astype(np.float32)
    layer = GroupedConv2D(9, 3, groups=groups, use_bias=False)
    expected = layer(images).numpy()
    assert np.allclose(grouped_convolution(images, layer.kernel.numpy(), groups), expected, atol=1e-5)


def test_parameters_of_the_tutorial_s_example():
    assert convolution_parameters(3, channels=6, filters=3) == 3 * 3 * 6 * 3 == 162
    assert convolution_parameters(3, channels=6, filters=3, groups=3) == 3 * 3 * 2 * 3 == 54


@pytest.mark.parametrize("groups", [0, 4])
def test_groups_that_do_not_divide_are_named(groups):
    with pytest.raises(ConfigError, match=f"{groups} groups do not divide 6 input channels and 3 filters"):
        convolution_parameters(3, channels=6, filters=3, groups=groups)
