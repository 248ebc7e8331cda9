"""The lesson's arithmetic and drawings."""

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image

from resnext.architecture import find_architecture
from resnext.page import arithmetic, diagrams
from resnext.page.tabs.inside import START
from resnext.residual_forms import FormA
from resnext.shapes import network_modules


def pictures_in(shown: str) -> list[np.ndarray]:
    """The page's PNGs as (height, width, 4) int32."""
    files = [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', shown)]
    return [np.array(Image.open(io.BytesIO(file)), np.int32) for file in files]


def test_the_tutorials_example_has_162_weights_or_54():
    drawn = diagrams.calculator(6, 3, 3, 3, "en")
    assert "<td>162</td>" in drawn
    assert "<td>54</td>" in drawn
    assert "508 k" in drawn
    assert "169 k" in drawn
    assert 'aria-pressed="true">From 162 to 54 weights' in drawn
    assert drawn.count("<line ") == 6 * 3 + 3 * 2


def test_impossible_groups_are_named_beside_the_possible_ones():
    drawn = diagrams.calculator(8, 12, 3, 3, "en")
    assert "8 channels and 12 filters are not both divisible by 3." in drawn
    assert re.findall(r'class="chip"[^>]*>(\d+)<', drawn) == ["1", "2", "4"]
    assert drawn.count("<figure") == diagrams.calculator(8, 12, 3, 4, "en").count("<figure")  # nothing jumps
    assert "<td>—</td>" in drawn


def test_the_matrix_of_a_kernel_has_a_block_for_each_group():
    for groups in (1, 4, 32):
        assert diagrams.kernel_matrix(128, 64, groups, "en").count('<rect class="g') == groups


@pytest.mark.parametrize(
    "sizes", [(1, 1, 1, 1), (128, 128, 7, 128), (128, 1, 3, 1), (1, 128, 3, 2), (127, 128, 5, 64)]
)
def test_every_size_of_the_calculator_can_be_drawn(sizes):
    assert len(diagrams.calculator(*sizes, "zh")) < 200_000


def test_equal_complexity_is_table_2_of_the_paper():
    assert {
        cardinality: arithmetic.equal_width(cardinality) for cardinality in arithmetic.TABLE_2
    } == arithmetic.TABLE_2
    for cardinality in range(1, 33):
        assert arithmetic.block_weights(cardinality, arithmetic.equal_width(cardinality)) == pytest.approx(
            69_632, rel=0.13
        )


@pytest.mark.parametrize(
    "cardinality, weights", [(1, 69_632), (2, 69_760), (4, 69_888), (8, 71_456), (32, 70_144)]
)
def test_a_block_has_as_many_weights_as_in_the_network(cardinality, weights):
    architecture = dataclasses.replace(
        find_architecture("resnet50"), cardinality=cardinality, base_width=arithmetic.TABLE_2[cardinality]
    )
    unit = [
        module for module in network_modules(architecture, 1000) if module.name.startswith("layer1.1.conv")
    ]
    assert (
        sum(module.parameters for module in unit)
        == arithmetic.block_weights(cardinality, arithmetic.TABLE_2[cardinality])
        == weights
    )


def test_the_totals_of_both_networks_are_those_of_the_paper():
    drawn = diagrams.comparison(32, "en")
    assert re.findall(r"<dd>(.*?)</dd>", drawn) == [
        "25.56 M",
        "25.03 M",
        "4.089 G",
        "4.230 G",
    ]  # 25.5 and 25.0 in Table 1
    assert drawn.count('scope="rowgroup"') == 2 * 6
    for cardinality in range(1, 33):
        assert f"ResNeXt-50 {cardinality}×{arithmetic.equal_width(cardinality)}d" in diagrams.comparison(
            cardinality, "en"
        )


@pytest.mark.parametrize("cardinality", [1, 2, 32])
def test_the_three_forms_agree_to_rounding(cardinality):
    shown = diagrams.form_outputs(cardinality, "en", seed=3)
    assert re.search(r"<dd>(0|\d\.\d × 10⁻[⁵⁶⁷])</dd>", shown)
    first, second, third = pictures_in(shown)
    assert max(abs(first - second).max(), abs(first - third).max()) <= 1  # a color is rounded
    assert abs(first - pictures_in(diagrams.form_outputs(cardinality, "en", seed=4))[0]).max() > 99


def test_a_form_with_a_different_output_would_be_visible(monkeypatch):
    monkeypatch.setattr(FormA, "__call__", lambda self, x: x)
    shown = diagrams.form_outputs(4, "en")
    assert not re.search("10⁻", re.findall(r"<dd>(.*?)</dd>", shown)[0])
    first, second, third = pictures_in(shown)
    assert abs(first - second).max() > 99
    assert abs(second - third).max() <= 1


def test_the_lesson_is_chinese_throughout():
    drawn = "".join(
        (
            diagrams.calculator(*START, "zh"),
            diagrams.forms(8, "zh"),
            diagrams.form_outputs(2, "zh"),
            diagrams.comparison(8, "zh"),
        )
    )
    for text in (*re.findall(r">([^<]+)<", drawn), *re.findall(r'(?:aria-label|alt)="([^"]+)"', drawn)):
        assert not re.search("[a-z]{4}", re.sub(r"ResNe\w+|layer\d|stem", "", text)), text
