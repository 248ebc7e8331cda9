"""The lesson and the model card: what they count, draw and say, and that a stranger's README can do no harm."""

import ast
import base64
import dataclasses
import inspect
import io
import re
import time

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from resnext.architecture import find_architecture
from resnext.page.i18n import CHINESE
from resnext.page.models import BUNDLED_NAME
from resnext.page.tabs import card, inside
from resnext.residual_forms import FormA
from resnext.shapes import network_modules
from tests.helpers.pages import served
from tests.helpers.repositories import make_repository

PATIENCE = 15_000  # milliseconds
HOSTILE_CARD = """---
license: mit
---
<!-- Written by a machine -->
# Hostile <b>card</b>

<script>window.hacked = 1</script>
<img src=x onerror="window.hacked = 2">
<iframe src="https://example.com/frame"></iframe><style>body { display: none }</style>

![spy](https://example.com/spy.png) ![data](data:image/png;base64,AAAA) <svg onload="window.hacked = 3"></svg>
[script](javascript:window.hacked=4) [data](data:text/html,x) [page](?model=evil/net) [other](//example.com/x)
[home](https://example.com "title") [below](#results) text <img src="https://example.com/spy.png"> <a onclick="window.hacked = 5">click</a>

| a | b |
| - | -: |
| <b onmouseover="window.hacked = 6">x</b> | y |

```html
<script>window.hacked = 7</script>
```

## Results
"""


def readme(folder, text: str, **options) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_bytes(text.encode())
    return card.render_card(folder, "en", **options)


def picture(path, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 100).save(path, "PNG")
    return path


def pictures_in(shown: str) -> list[np.ndarray]:
    """The page's PNGs as (height, width, 4) int32."""
    files = [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', shown)]
    return [np.array(Image.open(io.BytesIO(file)), np.int32) for file in files]


def test_the_tutorials_example_has_162_weights_or_54():
    drawn = inside.calculator(6, 3, 3, 3, "en")
    assert "<td>162</td>" in drawn
    assert "<td>54</td>" in drawn
    assert "508 k" in drawn
    assert "169 k" in drawn
    assert 'aria-pressed="true">162 or 54 weights' in drawn
    assert drawn.count("<line ") == 6 * 3 + 3 * 2


def test_groups_that_do_not_divide_are_named_beside_those_that_do():
    drawn = inside.calculator(8, 12, 3, 3, "en")
    assert "3 groups do not divide 8 channels and 12 filters." in drawn
    assert re.findall(r'class="chip"[^>]*>(\d+)<', drawn) == ["1", "2", "4"]
    assert drawn.count("<figure") == inside.calculator(8, 12, 3, 4, "en").count("<figure")  # nothing jumps
    assert "<td>—</td>" in drawn


def test_the_matrix_of_a_grouped_kernel_has_a_block_for_each_group():
    for groups in (1, 4, 32):
        assert inside._matrix(128, 64, groups, "en").count('<rect class="g') == groups


@pytest.mark.parametrize(
    "sizes", [(1, 1, 1, 1), (128, 128, 7, 128), (128, 1, 3, 1), (1, 128, 3, 2), (127, 128, 5, 64)]
)
def test_every_size_of_the_calculator_can_be_drawn(sizes):
    assert len(inside.calculator(*sizes, "zh")) < 200_000


def test_equal_complexity_is_table_2_of_the_paper():
    assert {cardinality: inside.equal_width(cardinality) for cardinality in inside.TABLE_2} == inside.TABLE_2
    for cardinality in range(1, 33):
        assert inside.unit_parameters(cardinality, inside.equal_width(cardinality)) == pytest.approx(
            69_632, rel=0.13
        )


@pytest.mark.parametrize(
    "cardinality, weights", [(1, 69_632), (2, 69_760), (4, 69_888), (8, 71_456), (32, 70_144)]
)
def test_a_units_weights_are_those_of_the_network(cardinality, weights):
    architecture = dataclasses.replace(
        find_architecture("resnet50"), cardinality=cardinality, base_width=inside.TABLE_2[cardinality]
    )
    unit = [
        module for module in network_modules(architecture, 1000) if module.name.startswith("layer1.1.conv")
    ]
    assert (
        sum(module.parameters for module in unit)
        == inside.unit_parameters(cardinality, inside.TABLE_2[cardinality])
        == weights
    )


def test_the_totals_beside_each_other_are_the_papers():
    drawn = inside.beside(32, "en")
    assert re.findall(r"<dd>(.*?)</dd>", drawn) == [
        "25.56 M",
        "25.03 M",
        "4.089 G",
        "4.230 G",
    ]  # 25.5 and 25.0 in Table 1
    assert drawn.count('scope="rowgroup"') == 2 * 6
    for cardinality in range(1, 33):
        assert f"ResNeXt-50 {cardinality}×{inside.equal_width(cardinality)}d" in inside.beside(
            cardinality, "en"
        )


@pytest.mark.parametrize("cardinality", [1, 2, 32])
def test_the_three_forms_agree_to_rounding(cardinality):
    shown = inside.run_forms(cardinality, "en", seed=3)
    assert re.search(r"<dd>(0|\d\.\d × 10⁻[⁵⁶⁷])</dd>", shown)
    first, second, third = pictures_in(shown)
    assert max(abs(first - second).max(), abs(first - third).max()) <= 1  # a rounding of colours
    assert abs(first - pictures_in(inside.run_forms(cardinality, "en", seed=4))[0]).max() > 99


def test_a_form_that_differed_would_be_seen(monkeypatch):
    monkeypatch.setattr(FormA, "__call__", lambda self, x: x)
    shown = inside.run_forms(4, "en")
    assert not re.search("10⁻", re.findall(r"<dd>(.*?)</dd>", shown)[0])
    first, second, third = pictures_in(shown)
    assert abs(first - second).max() > 99
    assert abs(second - third).max() <= 1


def test_every_word_of_both_tabs_has_a_chinese_one():
    for module in (inside, card):
        calls = [
            node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Call)
        ]
        said = [call for call in calls if getattr(call.func, "id", "") in ("say", "translated")]
        words = {
            argument.value for call in said for argument in call.args if isinstance(argument, ast.Constant)
        }
        assert len(words) > 3 and words <= set(CHINESE), words - set(CHINESE)
    drawn = "".join(
        (
            inside.calculator(*inside.START, "zh"),
            inside.forms(8, "zh"),
            inside.run_forms(2, "zh"),
            inside.beside(8, "zh"),
        )
    )
    for text in (*re.findall(r">([^<]+)<", drawn), *re.findall(r'(?:aria-label|alt)="([^"]+)"', drawn)):
        assert not re.search("[a-z]{4}", re.sub(r"ResNe\w+|layer\d|stem", "", text)), text


@pytest.mark.parametrize(
    "name", [BUNDLED_NAME, "my model", "someone/flowers", "someone/flowers@v2", 'odd " \\ name']
)
def test_the_lines_that_download_the_weights_are_python_and_name_the_model(name):
    lines = card.one_liners(name)
    for line in lines.values():
        compile(line, "line", "exec")
    assert ("huggingface_hub" in lines) == (name.startswith("someone/"))
    text = "".join(lines.values())
    assert "OWNER" not in text
    assert "flowers" in text or "name" in text or "my model" in text
    if "@" in name:
        assert 'revision="v2"' in lines["huggingface_hub"]
        assert "hf_hub:someone/flowers@v2" in lines["timm"]


def test_a_card_neither_runs_nor_fetches_anything_and_hides_what_is_not_for_readers(tmp_path):
    shown = readme(tmp_path, HOSTILE_CARD)
    assert set(re.findall(r"<(\w+)", shown)) <= {
        *[
            "article",
            "h2",
            "h3",
            "p",
            "a",
            "div",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "pre",
            "code",
            "span",
            "br",
        ]
    }
    assert not re.search(r"<[^>]*\s(on\w+|src)=", shown)
    assert set(re.findall(r'href="([^"]+)"', shown)) == {"https://example.com", "#card-results"}
    assert re.search(
        r'<a href="https://example.com" target="_blank" rel="noopener noreferrer nofollow">', shown
    )
    assert "license" not in shown
    assert "Written by" not in shown
    assert "display: none" not in shown
    assert "Hostile card" in shown
    assert "&lt;script&gt;window.hacked = 7" in shown
    assert 'id="card-results"' in shown


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff---\r\na: b\r\n---\r\n# T",
        "---\na: |\n  --- x\n---\n# T",
        "---\n---\n# T",
        "---\na: b\n...\n# T",
    ],
)
def test_front_matter_is_hidden_in_any_form(tmp_path, text):
    assert readme(tmp_path, text) == '<article class="card"><h2 id="card-t">T</h2>\n</article>'


def test_pictures_of_the_repository_are_drawn_and_no_others(tmp_path):
    folder = tmp_path / "repository"
    picture(folder / "figures" / "a b.png")
    secret = picture(tmp_path / "secret.png")
    (folder / "link.png").symlink_to(secret)
    (folder / "text.png").write_text("no picture")
    (folder / "page.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    Image.new("1", (6000, 6000)).save(folder / "wide.png")
    drawn = readme(
        folder,
        '![one](<figures/a b.png>)\n\n<p align="center"><img alt="two &amp; 2" src="figures/a%20b.png"></p>',
    )
    assert re.findall(r'<img src="data:image/png;base64,[^"]+" alt="([^"]+)"', drawn) == [
        "one",
        "two &amp; 2",
    ]
    others = [
        "../secret.png",
        str(secret),
        "link.png",
        "text.png",
        "page.svg",
        "wide.png",
        "%00",
        "figures",
        "file://" + str(secret),
        "a" * 5000,
    ]
    for source in others:
        assert "<img" not in readme(folder, f"![alt]({source})\n\n<img src='{source}'>"), source


def test_a_picture_of_a_hub_snapshot_lies_among_the_blobs(tmp_path):
    folder = tmp_path / "models--a--b" / "snapshots" / ("a" * 40)
    folder.mkdir(parents=True)
    blob = picture(tmp_path / "models--a--b" / "blobs" / "1234")
    (folder / "a.png").symlink_to(blob)
    assert "<img" in readme(folder, "![a](a.png)")
    link = readme(
        folder, "[file](recipe.json) [up](../x)", page_on_hub="https://huggingface.co/a/b/blob/main/"
    )
    assert 'href="https://huggingface.co/a/b/blob/main/recipe.json"' in link
    assert link.count("href") == 1


def test_pictures_stop_at_a_few_megabytes(tmp_path):
    size = picture(tmp_path / "a.png", (900, 900)).stat().st_size
    assert 500_000 < size < card.MAX_BYTES
    assert readme(tmp_path, "![a](a.png)\n" * 50).count("<img") == card.MAX_PICTURE_BYTES // size


def test_a_huge_readme_is_cut_with_a_word(tmp_path):
    shown = readme(tmp_path, "word " * 300_000 + "end")
    assert "longer than 1 MiB" in shown
    assert len(shown) < 1.1 * card.MAX_BYTES
    assert "end" not in shown
    assert "1 MiB" not in readme(tmp_path, "word")


@pytest.mark.parametrize(
    "text", ["[" * 200_000, "![" * 100_000, "a\n" * 200_000, "- a\n" * 90_000, "<!--" * 50_000, ">" * 200_000]
)
def test_markdown_made_to_take_for_ever_does_not(tmp_path, monkeypatch, text):
    monkeypatch.setattr(card, "PATIENCE", 0.3)
    start = time.perf_counter()
    shown = readme(tmp_path, text)
    assert time.perf_counter() - start < 3
    assert shown.startswith('<article class="card">')
    assert shown.endswith("</article>")
    if text.startswith("["):
        assert "takes too long to lay out" in shown
        assert "[[[[" in shown


def test_a_repository_without_a_readme_says_so(tmp_path):
    assert "no README.md" in card.render_card(tmp_path, "en")
    assert "README.md" in card.render_card(tmp_path, "zh")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = make_repository(tmp_path_factory.mktemp("models") / "hostile")
    (folder / "README.md").write_text(HOSTILE_CARD)
    with served(folder) as address:
        yield address


@pytest.fixture
def visit(browser, address):
    """Opens a tab in a new page, which may ask no other server for anything."""
    pages, strangers = [], []

    def visit(tab: str, width: int = 1280, locale: str = "en-US", height: int = 850):
        page = browser.new_page(viewport={"width": width, "height": height}, locale=locale)
        page.on(
            "request",
            lambda request: (
                request.url.startswith((address, "blob:", "data:")) or strangers.append(request.url)
            ),
        )
        page.goto(f"{address}?tab={tab}")
        page.set_default_timeout(PATIENCE)
        expect(page.locator({"inside": ".wires", "card": ".card"}[tab]).first).to_be_visible(timeout=PATIENCE)
        pages.append(page)
        return page

    yield visit
    for page in pages:
        page.close()
    assert not strangers


def test_the_lesson_can_be_played_with_from_the_keyboard(visit):
    page = visit("inside")
    chip = page.get_by_role("button", name="162 or 54 weights")
    chip.press("Enter")
    expect(chip).to_have_attribute("aria-pressed", "true", timeout=PATIENCE)
    expect(chip).to_be_focused()
    expect(page.locator(".chart").first).to_contain_text("162")
    groups = page.get_by_label("number input for Groups")
    expect(groups).to_have_value("3")
    height = page.locator(".wires").nth(1).bounding_box()["height"]
    groups.fill("2")
    expect(page.locator(".wires").nth(1)).to_contain_text(
        "2 groups do not divide 6 channels and 3 filters.", timeout=PATIENCE
    )
    assert page.locator(".wires").nth(1).bounding_box()["height"] == pytest.approx(height, abs=1)
    page.get_by_role("button", name="Run the three forms").press("Enter")
    expect(page.locator(".outputs img")).to_have_count(3, timeout=PATIENCE)
    expect(page.locator(".outputs dd").first).to_contain_text("10⁻")
    page.locator(".cardinality").get_by_role("slider").press("ArrowLeft")
    expect(page.locator(".totals").first).to_contain_text("ResNeXt-50 31×4d", timeout=PATIENCE)
    page.get_by_role("button", name="8 × 14d").click()
    expect(page.locator(".totals").first).to_contain_text("ResNeXt-50 8×14d", timeout=PATIENCE)
    expect(page.get_by_label("number input for Cardinality at equal complexity")).to_have_value("8")


def test_both_tabs_fit_a_phone_and_their_headings_are_headings_in_chinese(visit):
    page = visit("inside", 390, "zh-CN")
    for title in ("分组卷积", "残差单元的三种等价形式", "ResNet-50 与 ResNeXt-50 对照"):
        expect(page.get_by_role("heading", level=2, name=title, exact=True)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("tab", name="模型卡").click()
    expect(page.get_by_role("heading", level=2, name="下载权重", exact=True)).to_be_visible()
    expect(page.locator(".card")).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_hostile_card_is_harmless_in_a_browser(visit):
    page = visit("card", height=400)
    expect(page.locator(".card")).to_contain_text("Hostile card")
    expect(page.get_by_text("import resnext; resnext.from_pretrained")).to_be_visible()
    expect(page.get_by_text("hf_hub_download")).to_have_count(0)
    page.locator(".card a", has_text="below").click()
    page.locator(".card a", has_text="page").click()
    expect(page.get_by_role("heading", level=3, name="Results")).to_be_in_viewport()
    assert page.url.endswith("?tab=card")
    assert page.evaluate("window.hacked") is None
