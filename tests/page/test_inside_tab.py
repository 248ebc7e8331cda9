"""The tab of the lesson, without a server."""

import types

import pytest

from resnext.page.tabs import inside


def test_sliders_draw_their_convolutions(ask):
    assert "162" in inside.calculate(6.0, 3.0, 3.0, 3.0, ask())
    assert "标准卷积" in inside.calculate(6, 3, 3, 3, ask("zh-CN"))


@pytest.mark.parametrize(
    "sizes, within", [([6, 3, 3, 3], [6, 3, 3, 3]), ([10**9, -4, 99, 0], [128, 1, 7, 1])]
)
def test_a_clicked_example_sets_the_sliders_within_their_limits(sizes, within, ask):
    *picked, drawn = inside.pick_sizes(types.SimpleNamespace(sizes=sizes), ask())
    assert picked == within
    assert drawn.startswith("<div")


def test_another_block_clears_the_outputs_of_the_last_one(ask):
    drawn, outputs = inside.draw_forms(8, ask())
    assert "C = 8" in drawn
    assert outputs == ""


def test_each_run_of_the_three_forms_has_new_weights(ask):
    assert inside.run_forms(2, ask()) != inside.run_forms(2, ask())


def test_a_cardinality_is_compared_at_equal_complexity(ask):
    assert "ResNeXt-50 8×14d" in inside.compare(8, ask())
    count, drawn = inside.pick_cardinality(types.SimpleNamespace(cardinality=99), ask())
    assert count == 32
    assert "ResNeXt-50 32×4d" in drawn
