"""The lesson and the model card in headless Chromium."""

import re

import pytest
from playwright.sync_api import expect

from tests.helpers.pages import PATIENCE, served
from tests.helpers.repositories import make_repository
from tests.page.repositories import HOSTILE_CARD

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = make_repository(tmp_path_factory.mktemp("models") / "hostile")
    (folder / "README.md").write_text(HOSTILE_CARD)
    with served(folder) as address:
        yield address


@pytest.fixture
def visit(browser, address):
    """Opens a tab in a new page. No page may ask another server for anything."""
    pages = []
    foreign = []

    def visit(tab: str, width: int = 1280, locale: str = "en-US", height: int = 850):
        page = browser.new_page(viewport={"width": width, "height": height}, locale=locale)
        page.on(
            "request",
            lambda request: (
                request.url.startswith((address, "blob:", "data:")) or foreign.append(request.url)
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
    assert not foreign


def test_the_lesson_works_from_the_keyboard(visit):
    page = visit("inside")
    chip = page.get_by_role("button", name="From 162 to 54 weights")
    chip.press("Enter")
    expect(chip).to_have_attribute("aria-pressed", "true", timeout=PATIENCE)
    expect(chip).to_be_focused()
    expect(page.locator(".chart").first).to_contain_text("162")
    groups = page.get_by_label("number input for Groups")
    expect(groups).to_have_value("3")
    height = page.locator(".wires").nth(1).bounding_box()["height"]
    groups.fill("2")
    expect(page.locator(".wires").nth(1)).to_contain_text(
        "6 channels and 3 filters are not both divisible by 2.", timeout=PATIENCE
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


def test_both_tabs_fit_a_phone_and_have_chinese_headings(visit):
    page = visit("inside", 390, "zh-CN")
    for title in ("分组卷积", "ResNeXt 块的三种等价形式", "ResNet-50 与 ResNeXt-50 对比"):
        expect(page.get_by_role("heading", level=2, name=title, exact=True)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("tab", name="模型卡").click()
    expect(page.get_by_role("heading", level=2, name="下载权重", exact=True)).to_be_visible()
    expect(page.locator(".card")).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_hostile_card_is_harmless_in_a_browser(visit):
    page = visit("card", height=400)
    expect(page.locator(".card")).to_contain_text("Hostile card")
    line = page.locator(".line", has_text="resnext").locator("textarea")
    expect(line).to_have_value(re.compile(r"^import resnext; resnext\.from_pretrained"))
    expect(line).not_to_be_editable()
    # All of it is visible.
    assert line.evaluate("area => area.scrollHeight <= area.clientHeight + 2")
    expect(page.locator(".line", has_text="huggingface_hub")).to_have_count(0)
    page.locator(".card a", has_text="below").click()
    page.locator(".card a", has_text="page").click()
    expect(page.get_by_role("heading", level=3, name="Results")).to_be_in_viewport()
    assert page.url.endswith("?tab=card")
    assert page.evaluate("window.hacked") is None
