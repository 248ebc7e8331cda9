"""The figures of a training run show what the numbers say, whatever the numbers and the names are."""

import itertools
import os
import re

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import rcParams, rcParamsDefault
from matplotlib.colors import to_rgb
from matplotlib.font_manager import findSystemFonts, fontManager
from PIL import Image

from resnext import fonts
from resnext.fonts import columns, shorten
from resnext.plots import DPI, INK, MISTAKE, STYLE, confusion_matrix, curves, samples, save_figure

FLOWERS = ["daisy", "dandelion", "roses", "sunflowers", "tulips"]


def history(epochs, **overrides):
    rows = []
    for epoch in range(1, epochs + 1):
        loss = 2 / epoch
        row = {"epoch": epoch, "loss": loss, "accuracy": 1 - loss / 3, "val_loss": loss + 0.1}
        row |= {"val_accuracy": 0.9 - loss / 3, "learning_rate": 0.1 / epoch, "seconds": 1.0}
        rows.append({name: float(value) for name, value in row.items()})
    for name, values in overrides.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return rows


def confusion(classes, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 9, (classes, classes)) + np.eye(classes, dtype=int) * 50


def blank(count):
    return [np.zeros((8, 8, 3), np.uint8)] * count


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Makes the fonts that come with Matplotlib and the given ones the only fonts of this machine."""
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    fonts._installed_fonts.cache_clear()

    def install(**characters):
        """Installs a font for each keyword argument, with these characters. Returns their families."""
        files = [write_font(tmp_path / f"{name}.ttf", name, text) for name, text in characters.items()]

        def find(paths=None, fontext="ttf"):
            if paths:
                return findSystemFonts(paths, fontext)
            return files if fontext == "ttf" else []

        monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", find)
        return dict(zip(characters, files))

    yield install
    fonts._installed_fonts.cache_clear()


def write_font(path, name, characters):
    """Writes a font in which each character is a square, or nothing if the name starts with "blank"."""
    pen = TTGlyphPen(None)
    corners = [(0, 0), (0, 800), (800, 800), (800, 0)]
    pen.moveTo(corners[0])
    for corner in corners[1:]:
        pen.lineTo(corner)
    pen.closePath()
    names = [f"u{ord(character):05X}" for character in characters]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names])
    builder.setupCharacterMap({ord(character): name for character, name in zip(characters, names)})
    glyph = TTGlyphPen(None).glyph() if name.startswith("blank") else pen.glyph()
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), **dict.fromkeys(names, glyph)})
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names], (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


def assert_all_inside(figure):
    figure.draw_without_rendering()
    content = figure.get_tightbbox()
    assert content.x0 >= 0
    assert content.x1 <= figure.get_figwidth()
    assert content.y0 >= 0
    assert content.y1 <= figure.get_figheight()


def all_text(figure):
    return "\n---\n".join(
        text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))
    )


def families(text):
    return text.get_fontproperties().get_family()


def saved_size(figure, tmp_path):
    save_figure(figure, tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as picture:
        picture.load()
        return picture.size


def cell_texts(figure):
    """{(row, column): the texts of that cell, top to bottom}"""
    cells = {}
    for text in sorted(figure.axes[0].texts, key=lambda text: text.get_position()[1]):
        column, row = text.get_position()
        cells.setdefault((round(row), round(column)), []).append(text.get_text())
    return cells


def rules(axes):
    return [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]


def test_the_best_epoch_is_the_first_one_with_the_lowest_validation_loss():
    figure = curves(
        history(5, val_loss=[0.9, 0.4, 0.4, 0.7, float("nan")], val_accuracy=[0.5, 0.71, 0.9, 0.8, 0.8])
    )
    loss, accuracy, *_strips = figure.axes
    assert [rules(axes) for axes in figure.axes] == [[2], [2], [2], [2]]
    assert loss.get_title(loc="left") == "best epoch 2: validation 0.400, training 1.000"
    assert accuracy.get_title(loc="left") == "best epoch 2: validation 71.0%, training 66.7%"


def test_a_linear_probe_before_the_epochs_has_no_learning_rate():
    loss, _, rate, _ = curves([{**history(1)[0], "epoch": 0, "learning_rate": 9.0}, *history(3)]).axes
    assert list(loss.lines[0].get_xdata()) == [0, 1, 2, 3]
    assert list(rate.lines[0].get_xdata()) == [1, 2, 3]


def test_the_curves_are_the_rows_of_the_history():
    rows = history(40)
    figure = curves(rows)
    for axes, name in zip(figure.axes, ("loss", "accuracy"), strict=False):
        lines = {line.get_label(): line for line in axes.lines}
        for label, column in (("training", name), ("validation", f"val_{name}")):
            np.testing.assert_array_equal(lines[label].get_xdata(), np.arange(1, 41))
            np.testing.assert_array_equal(lines[label].get_ydata(), [row[column] for row in rows])
    np.testing.assert_array_equal(figure.axes[2].lines[0].get_ydata(), [row["learning_rate"] for row in rows])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training", "validation"]


@pytest.mark.parametrize("epochs", [1, 2, 12, 100, 300])
def test_any_number_of_epochs_fits_with_whole_numbers_on_the_axis(epochs, tmp_path):
    figure = curves(history(epochs))
    assert saved_size(figure, tmp_path) == (9 * DPI, 4.2 * DPI)
    axes = figure.axes[2]
    low, high = axes.get_xlim()
    shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert 1 <= len(shown) <= 9
    assert all(tick == int(tick) for tick in shown)
    assert low <= 1
    assert high >= epochs


def test_one_epoch_is_visible_as_points():
    loss = curves(history(1)).axes[0]
    assert all(
        line.get_marker() == "o" for line in loss.lines if line.get_label() in ("training", "validation")
    )


def test_one_epoch_shows_its_learning_rate_in_numbers():
    for strip in curves(history(1, learning_rate=[0.0136])).axes[2:]:
        assert [text.get_text() for text in strip.texts] == ["0.0136"]
        assert [text.get_text() for text in strip.get_yticklabels()] == ["0", "0.0136"]
    assert not any(strip.texts for strip in curves(history(1, learning_rate=[float("nan")])).axes[2:])
    assert not any(strip.texts for strip in curves(history(2)).axes[2:])


def test_an_epoch_between_two_gaps_is_visible_as_a_point():
    gaps = [float("nan") if epoch in (4, 5, 7, 8, 29, 30) else 0.5 for epoch in range(1, 31)]
    loss = curves(history(30, val_loss=gaps)).axes[0]
    training, validation = loss.lines[:2]
    assert (validation.get_marker(), validation.get_markevery()) == ("o", [5])
    assert training.get_marker() == "None"


@pytest.mark.parametrize("epochs", [2, 12, 100])
def test_curves_leave_gaps_where_the_history_has_no_numbers(epochs, tmp_path):
    lost = {epochs // 2, epochs}
    values = [float("nan") if epoch in lost else 1 / epoch for epoch in range(1, epochs + 1)]
    names = ("loss", "val_loss", "accuracy", "val_accuracy", "learning_rate")
    figure = curves(history(epochs, **dict.fromkeys(names, values)))
    assert saved_size(figure, tmp_path) == (9 * DPI, 4.2 * DPI)
    drawn = figure.axes[0].lines[0].get_ydata()
    assert {int(epoch) + 1 for epoch in np.flatnonzero(np.isnan(drawn))} == lost


def test_the_curves_of_an_unfinished_run_end_where_it_ended():
    axes = curves(history(60)[:23]).axes[0]
    assert axes.get_xlim()[1] == pytest.approx(23, abs=0.5)


def test_a_history_of_nothing_finite_is_drawn_without_a_best_epoch(tmp_path):
    lost = [float("nan"), float("inf"), float("nan")]
    figure = curves(
        history(3, loss=lost, val_loss=lost, accuracy=lost, val_accuracy=lost, learning_rate=lost)
    )
    assert saved_size(figure, tmp_path)[0] > 0
    assert figure.axes[0].get_title(loc="left") == ""
    assert rules(figure.axes[0]) == []


def test_an_empty_history_is_refused():
    with pytest.raises(ValueError, match="history is empty"):
        curves([])


def test_training_and_validation_differ_in_gray_print():
    training, validation = curves(history(3)).legends[0].get_lines()
    gray = np.array((0.299, 0.587, 0.114))
    assert to_rgb(training.get_color()) @ gray - to_rgb(validation.get_color()) @ gray > 0.3


def test_cells_show_their_counts_and_the_diagonal_its_rate():
    matrix = confusion(5)
    cells = cell_texts(confusion_matrix(matrix, FLOWERS))
    for (row, column), count in np.ndenumerate(matrix):
        rate = [f"{count / matrix[row].sum():.0%}"] if row == column else []
        assert cells[row, column] == [str(count), *rate]


def test_rows_are_the_true_classes_and_color_is_the_share_of_the_row():
    figure = confusion_matrix(np.array([[6, 2], [0, 4]]), ["cat", "dog"])
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 1]])
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true", "predicted")
    assert [text.get_text() for text in axes.get_yticklabels()] == ["cat", "dog"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first class on top


@pytest.mark.parametrize(("classes", "zeros"), [(2, 2), (5, 20), (6, 0), (10, 0), (30, 0)])
def test_zeros_are_written_only_among_few_classes(classes, zeros):
    matrix = np.eye(classes, dtype=int) * 40
    counts = [
        texts[0] for texts in cell_texts(confusion_matrix(matrix, list(map(str, range(classes))))).values()
    ]
    assert (counts.count("0"), counts.count("40")) == (zeros, classes)


def test_counts_of_many_classes_are_written_while_they_are_legible():
    for classes in (40, 60):
        matrix = confusion(classes)
        texts = confusion_matrix(matrix, ["x"] * classes).axes[0].texts
        assert len(texts) == np.count_nonzero(matrix)
        assert min(text.get_fontsize() for text in texts) >= 5


def test_the_title_tells_the_accuracy():
    matrix = np.array([[6, 2], [0, 4]])
    assert (
        confusion_matrix(matrix, ["cat", "dog"]).axes[0].get_title(loc="left")
        == "top-1 accuracy 83.3%, 12 images"
    )
    assert "91.5%" in confusion_matrix(matrix, ["cat", "dog"], top1=0.915).axes[0].get_title(loc="left")


def test_counts_contrast_with_their_cells():
    counts = np.arange(0, 20) * 5  # each row splits 100 images between two columns, from 0:100 to 95:5
    matrix = np.zeros((20, 20), int)
    matrix[:, 0], matrix[:, 1] = counts, 100 - counts
    axes = confusion_matrix(matrix, [str(row) for row in range(20)]).axes[0]
    for text in axes.texts:
        column, row = map(round, text.get_position())
        cell = luminance(axes.images[0].to_rgba(matrix[row, column] / 100))
        ink = luminance(to_rgb(text.get_color()))
        assert (max(cell, ink) + 0.05) / (min(cell, ink) + 0.05) > 3.5


def luminance(color):
    """Relative luminance of an RGB(A) color in [0, 1], as WCAG defines it but for the toe of its curve."""
    return np.array(color[:3]) ** 2.2 @ (0.2126, 0.7152, 0.0722)


def test_a_class_without_images_is_gray_and_has_no_rate():
    figure = confusion_matrix(np.array([[3, 1], [0, 0]]), ["seen", "unseen"])
    assert cell_texts(figure)[1, 1] == ["0"]
    assert figure.axes[0].images[0].get_array().mask.tolist() == [[False, False], [True, True]]


def test_markup_in_labels_is_drawn_literally(tmp_path):
    labels = [r"$\frac{1}$", "price_$5$_and_$6", "back\\slash^{", "two\nlines"]
    shown = [*labels[:3], "two lines"]
    axes = confusion_matrix(confusion(4), labels).axes[0]
    grid = samples(blank(4), labels)
    titles = [axes.xaxis.label for axes in grid.axes]
    for texts in (axes.get_xticklabels(), axes.get_yticklabels(), titles):
        assert [text.get_text() for text in texts] == shown
        assert not any(text.get_parse_math() for text in texts)
    for figure in (axes.figure, grid):  # a formula that is none would raise here
        assert saved_size(figure, tmp_path)[0] > 0


@pytest.mark.parametrize("name", ["向日葵", "سوسن", "роза", "कमल", "ดอกไม้", "🌹", "\x00\ud800", ""])
def test_names_in_any_script_are_drawn_without_a_warning(name, tmp_path):
    assert saved_size(confusion_matrix(confusion(2), [name, "daisy"]), tmp_path)[0] > 0
    assert saved_size(samples(blank(2), [name, "daisy"], [("daisy", 0.5), (name, 0.5)]), tmp_path)[0] > 0


def test_names_are_drawn_with_an_installed_font_that_has_them(install, tmp_path):
    installed = install(latin="abc", chinese="向日葵", chinese_and_more="向日葵菊")
    matrix = confusion_matrix(confusion(2), ["向日葵 (large)", "菊"])
    grid = samples(blank(1), ["向日葵"], [("菊", 0.7)])
    for figure, names in ((matrix, ["向日葵 (large)", "菊"]), (grid, ["向日葵\n→ 菊 70%"])):
        labels = figure.axes[0].get_yticklabels() if figure is matrix else [figure.axes[0].xaxis.label]
        assert [label.get_text() for label in labels] == names
        assert all(families(label) == ["DejaVu Sans", installed["chinese_and_more"]] for label in labels)
        assert "installed font" not in all_text(figure)
        assert saved_size(figure, tmp_path)[0] > 0


def test_as_few_fonts_as_possible_draw_the_names(install):
    installed = install(a="向", b="向日", c="日葵", d="葵菊")
    assert fonts.drawable(["向日葵菊"], 28) == (
        {"向日葵菊": "向日葵菊"},
        ["DejaVu Sans", installed["b"], installed["d"]],
        "",
    )


def test_characters_of_no_installed_font_are_escaped_with_a_note(install):
    install(chinese="向")
    note = "No installed font has 3 of the characters,\nsuch as \\u65e5."
    matrix = confusion_matrix(confusion(2), ["向日葵 1", "菊"])
    assert [label.get_text() for label in matrix.axes[0].get_yticklabels()] == [
        "向\\u65e5\\u8475 1",
        "\\u83ca",
    ]
    grid = samples(blank(1), ["向日葵 1"], [("菊", 0.7)])
    assert grid.axes[0].get_xlabel() == "向\\u65e5\\u8475 1\n→ \\u83ca 70%"
    for figure in (matrix, grid):
        assert all_text(figure).count(note) == 1
        assert_all_inside(figure)


def test_a_font_whose_glyphs_are_empty_is_not_used(install):
    installed = install(blank_emoji="🌹", outlines="🌹")
    assert fonts.drawable(["🌹"], 28)[1] == ["DejaVu Sans", installed["outlines"]]
    fonts._installed_fonts.cache_clear()
    install(blank_emoji="🌹")
    assert fonts.drawable(["🌹"], 28)[0] == {"🌹": "\\U0001f339"}


def test_accents_are_composed_before_they_are_drawn():
    assert shorten(["cafe\u0301"], 28) == ["caf\u00e9"]


@pytest.mark.parametrize("classes", [1, 2, 5, 25, 100, 1000])
def test_a_heatmap_of_any_size_stays_a_sane_picture(classes, tmp_path):
    labels = [f"class number {index}" for index in range(classes)]
    figure = confusion_matrix(confusion(classes), labels)
    width, height = saved_size(figure, tmp_path)
    axes = figure.axes[0]
    assert 300 < height < 2700
    assert 400 < width < 2700
    assert 0.5 < height / width < 1.3
    assert bool(axes.texts) == (classes <= 25)
    shown = [text.get_text() for text in axes.get_yticklabels()]
    if classes <= 100:
        assert shown == labels
        assert min(text.get_fontsize() for text in axes.get_yticklabels()) >= 6.5
    else:
        assert 4 <= len(shown) <= 20
        assert all(re.fullmatch(r"\u2212?\d+", text) for text in shown)


def test_long_names_do_not_overlap_and_stay_inside_the_picture():
    figure = confusion_matrix(confusion(60), [f"{index} {'very long name ' * 4}" for index in range(60)])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
    assert all(upper.y0 > lower.y0 + 0.6 * lower.height for upper, lower in itertools.pairwise(boxes))
    assert_all_inside(figure)


def test_a_matrix_that_does_not_fit_its_labels_is_refused():
    with pytest.raises(ValueError, match=r"\(5, 5\) does not fit 2 labels"):
        confusion_matrix(confusion(5), ["cat", "dog"])


def test_synonyms_shorten_to_the_first_name_unless_that_is_ambiguous():
    shark = "great white shark, white shark, man-eater, man-eating shark"
    assert shorten([shark, "tench, Tinca tinca"], 28) == ["great white shark", "tench, Tinca tinca"]
    cranes = shorten(
        ["crane, the machine that lifts heavy things", "crane, the bird that stands on one leg"], 28
    )
    assert len(set(cranes)) == 2
    assert all(len(crane) <= 28 and "…" in crane for crane in cranes)


def test_names_that_differ_in_the_middle_still_differ_when_shortened():
    names = ["potato_early_blight_on_lower_leaf_surface", "potato_early_blight_on_upper_leaf_surface"]
    short = shorten(names, 22)
    assert len(set(short)) == 2
    assert all(len(name) <= 22 for name in short)


def test_names_are_shortened_by_their_width_in_columns():
    name = "一二三四五六七八九十"
    assert shorten([name], 20) == [name]
    (short,) = shorten([name], 15)
    assert short == "一二三四…九十"
    assert columns(short) == 13


def test_samples_are_a_grid_of_at_most_25_images_with_their_names():
    images = [np.full((10 + index, 12, 3), index, np.uint8) for index in range(30)]
    figure = samples(images, [f"class {index}" for index in range(30)])
    assert len(figure.axes) == 25
    assert not figure.legends
    for index, axes in enumerate(figure.axes):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[index])
        assert axes.get_xlabel() == f"class {index}"
        assert len(axes.get_xticks()) == 0
        assert not any(spine.get_visible() for spine in axes.spines.values())


def test_a_mistake_has_a_colored_frame_both_names_and_its_probability():
    figure = samples(
        blank(3), ["daisy", "roses", "tulips"], [("daisy", 0.912), ("daisy", 0.5), ("tulips", 1)]
    )
    captions = [axes.get_xlabel() for axes in figure.axes[:3]]
    assert captions == ["daisy 91%", "roses\n→ daisy 50%", "tulips 100%"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mistake: true → predicted"]
    for axes, mistake in zip(figure.axes, (False, True, False)):
        color = axes.xaxis.label.get_color()
        assert color == (MISTAKE if mistake else INK)
        assert all(spine.get_visible() == mistake for spine in axes.spines.values())
        assert not mistake or all(
            spine.get_edgecolor()[:3] == to_rgb(color) for spine in axes.spines.values()
        )


def test_correct_predictions_need_no_legend():
    assert not samples(blank(1), ["daisy"], [("daisy", 0.9)]).legends


def test_the_color_of_a_mistake_is_legible_and_differs_from_ink_in_gray():
    mistake, ink = luminance(to_rgb(MISTAKE)), luminance(to_rgb(INK))
    assert 1.05 / (mistake + 0.05) > 4.5  # the least contrast with white that WCAG allows for small text
    assert (mistake + 0.05) / (ink + 0.05) > 2.5


def test_long_names_hide_neither_the_arrow_nor_the_probability():
    names = [
        "potato_early_blight_on_lower_leaf_surface",
        "一二三四五六七八九十" * 3,
        "RHODODENDRON PONTICUM BAETICUM",
    ]
    figure = samples(blank(3), names, [(name, 0.42) for name in reversed(names)])
    for axes in figure.axes[:3]:
        true, *predicted = axes.get_xlabel().splitlines()
        assert not predicted or re.fullmatch(r"→ .*….* 42%", predicted[0])
        assert "…" in true
        assert axes.xaxis.label.get_window_extent().width <= 1.75 * figure.dpi
        assert axes.xaxis.label.get_fontsize() >= 5


def test_a_blended_image_names_both_classes_however_long():
    shark = "great white shark, white shark, man-eater, man-eating shark"
    figure = samples(blank(3), [f"{shark} + tulips", f"tulips + {shark}", shark])
    assert [axes.get_xlabel() for axes in figure.axes[:3]] == [
        "great white shark\n+ tulips",
        "tulips\n+ great white shark",
        "great white shark",
    ]


@pytest.mark.parametrize(
    ("count", "shape"), [(1, (1, 1)), (2, (1, 2)), (3, (2, 2)), (8, (3, 3)), (25, (5, 5)), (30, (5, 5))]
)
def test_the_grid_of_samples_fits_their_number(count, shape):
    figure = samples(blank(count), ["x"] * count)
    assert figure.axes[0].get_gridspec().get_geometry() == shape


def test_a_single_mistake_stays_inside_its_picture():
    figure = samples(blank(1), ["daisy"], [("roses", 0.5)])
    assert_all_inside(figure)


def test_samples_without_as_many_names_are_refused():
    with pytest.raises(ValueError, match="1 images with 2 names"):
        samples(blank(1), ["a", "b"])


def test_a_saved_figure_replaces_the_old_png_and_leaves_no_other_file(tmp_path):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")
    save_figure(curves(history(3)), path)
    with Image.open(path) as picture:
        picture.verify()
        assert picture.format == "PNG"
        assert picture.size == (9 * DPI, 4.2 * DPI)
    assert os.listdir(tmp_path) == ["curves.png"]


def test_a_figure_that_fails_to_save_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")
    figure = curves(history(3))

    def half_written(target, **_):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", half_written)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["curves.png"]


def test_the_style_does_not_leak_into_the_caller():
    (
        curves(history(2)),
        confusion_matrix(confusion(2), ["a", "b"]),
        samples(blank(1), ["a"]),
    )
    assert {name: rcParams[name] for name in STYLE} == {name: rcParamsDefault[name] for name in STYLE}
