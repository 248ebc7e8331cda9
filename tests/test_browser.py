"""The page in headless Chromium: what a visitor sees and does, in light and dark, on a desk and on a phone."""

import zipfile

import pytest
from playwright.sync_api import Page, expect

from tests.test_app import FLOWERS, HOSTILE, make_repository, save_image, served

PATIENCE = 15_000  # milliseconds


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with served(make_repository(tmp_path_factory.mktemp("repository"))) as address:
        yield address


@pytest.fixture(scope="module")
def hostile_address(tmp_path_factory):
    folder = make_repository(tmp_path_factory.mktemp("hostile"), HOSTILE)
    (folder / "examples" / "CREDITS.md").write_text("".join(HOSTILE), "utf-8")
    with served(folder, warning="".join(HOSTILE)) as address:
        yield address


@pytest.fixture
def visit(browser):
    """Opens an address in a new page; afterwards, no page may have asked any other server for anything."""
    opened, strangers = [], []

    def visit(address: str, width: int = 1280, theme: str = "light") -> Page:
        page = browser.new_page(viewport={"width": width, "height": 850})
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: request.url.startswith((address, "blob:", "data:")) or strangers.append(request.url))
        page.goto(f"{address}?__theme={theme}")
        page.get_by_role("tab", name="Classify").wait_for()
        opened.append(page)
        return page

    yield visit
    for page in opened:
        page.close()
    assert not strangers


def upload(page: Page, file) -> None:
    page.locator("input[type=file]").first.set_input_files(file)


def bars(page: Page):
    return page.locator("[data-testid$=-confidence-set]")


def test_an_upload_is_classified_without_another_click(visit, address, tmp_path):
    page = visit(address)
    upload(page, save_image(tmp_path / "photograph.jpg", seed=5))
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    expect(page.locator(".seconds")).to_contain_text("ms")
    assert set(bars(page).locator("dt").all_inner_texts()) == set(FLOWERS)


def test_the_number_of_classes_follows_the_slider(visit, address, tmp_path):
    page = visit(address)
    upload(page, save_image(tmp_path / "photograph.jpg", seed=5))
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    page.locator(".top-k").get_by_role("slider").press("ArrowLeft")
    expect(bars(page)).to_have_count(4, timeout=PATIENCE)


def test_an_example_is_classified_at_once_and_from_the_keyboard(visit, address):
    page = visit(address)
    page.locator(".gallery button").nth(1).press("Enter")
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)


def test_clearing_the_photograph_clears_the_answer(visit, address):
    page = visit(address)
    page.locator(".gallery button").first.click()
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    page.get_by_label("Remove Image").click()
    expect(bars(page)).to_have_count(0, timeout=PATIENCE)


@pytest.mark.parametrize("after", ["nothing", "an example"])
def test_a_bad_file_is_named_and_taken_away_and_the_next_upload_works(visit, address, tmp_path, after):
    page = visit(address)
    if after == "an example":
        page.locator(".gallery button").first.click()
        expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    (tmp_path / "notes.jpg").write_text("no image")
    upload(page, tmp_path / "notes.jpg")
    message = page.get_by_test_id("toast-body")
    expect(message).to_contain_text("notes.jpg cannot be read as an image: it is not an image of a known format.", timeout=PATIENCE)
    expect(message).not_to_contain_text("/")
    expect(page.locator(".photograph img")).to_have_count(0)
    expect(bars(page)).to_have_count(0)
    upload(page, save_image(tmp_path / "photograph.jpg", seed=5))
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)


def test_the_training_tab_draws_the_curves_and_the_recipe(visit, address):
    page = visit(address)
    page.get_by_role("tab", name="Training").click()
    for plot in range(2):
        curve = page.locator(".curve").nth(plot)
        expect(curve.locator(".scatterlayer .trace")).to_have_count(3, timeout=PATIENCE)
        expect(curve).to_contain_text("best epoch 14")
    page.locator(".curve").first.locator(".nsewdrag").first.hover()
    expect(page.locator(".hoverlayer")).not_to_have_count(0)
    expect(page.locator(".hoverlayer").first).to_contain_text("validation : ")
    expect(page.get_by_role("region", name="Recipe")).to_contain_text("learning rate")
    expect(page.get_by_role("region", name="Data set")).to_contain_text("2182")


def test_the_test_tab_draws_the_heatmap_and_the_tables(visit, address):
    page = visit(address)
    page.get_by_role("tab", name="Test").click()
    expect(page.locator(".heatmap .heatmaplayer image")).to_have_count(1, timeout=PATIENCE)
    expect(page.locator(".figures").filter(has_text="top-1 accuracy")).to_contain_text("84.0%")
    page.locator(".heatmap .nsewdrag").hover(position={"x": 5, "y": 5})
    expect(page.locator(".heatmap .hoverlayer")).to_contain_text("21 images, 84.0% of the true class")
    expect(page.get_by_role("region", name="First predictions").locator("tbody tr")).to_have_count(10)
    expect(page.get_by_role("region", name="First predictions").locator("tbody tr").nth(1)).to_contain_text("wrong")
    expect(page.get_by_role("region", name="Per class").locator("tbody tr")).to_have_count(5)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("tab", ["Classify", "Training", "Test"])
def test_a_phone_needs_no_sideways_scrolling(visit, address, theme, tab):
    page = visit(address, width=390, theme=theme)
    if tab == "Classify":
        page.locator(".gallery button").first.click()
        expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    else:
        page.get_by_role("tab", name=tab).click()
        expect(page.locator("[data-testid=plotly] .main-svg").first).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_text_of_figures_stands_out_from_the_page(visit, address, theme):
    page = visit(address, theme=theme)
    page.get_by_role("tab", name="Training").click()
    title = page.locator(".curve .ytitle").first
    expect(title).to_be_visible(timeout=PATIENCE)
    red = int(title.evaluate("text => getComputedStyle(text).fill").partition("(")[2].partition(",")[0])
    assert red < 80 if theme == "light" else red > 180


def test_labels_and_credits_are_shown_and_never_run(visit, hostile_address):
    page = visit(hostile_address)
    page.locator(".gallery button").first.click()
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    assert set(bars(page).locator("dt").all_inner_texts()) == set(HOSTILE)
    page.get_by_text("Credits").click()
    expect(page.get_by_role("status").filter(has_text=HOSTILE[0])).to_be_visible()
    page.get_by_role("tab", name="Test").click()
    expect(page.locator(".heatmap .heatmaplayer image")).to_have_count(1, timeout=PATIENCE)
    page.locator(".heatmap .nsewdrag").hover(position={"x": 5, "y": 5})
    expect(page.locator(".heatmap .hoverlayer")).to_contain_text("true <img src=x onerror=")
    plot = page.locator(".heatmap .nsewdrag").bounding_box()
    page.locator(".heatmap .nsewdrag").hover(position={"x": plot["width"] - 5, "y": plot["height"] - 5})
    expect(page.locator(".heatmap .hoverlayer")).to_contain_text("true <a href=")
    expect(page.get_by_role("region", name="Per class")).to_contain_text(HOSTILE[2])
    assert page.locator("a[href^=javascript]").count() == 0
    assert page.evaluate("window.hacked") is None


def test_a_hostile_file_name_is_text_in_the_message(visit, address, tmp_path):
    page = visit(address)
    upload(page, {"name": "<img src=x onerror=hacked=7>.jpg", "mimeType": "image/jpeg", "buffer": b"no image"})
    expect(page.get_by_test_id("toast-body")).to_contain_text("cannot be read as an image", timeout=PATIENCE)
    assert page.evaluate("window.hacked") is None


def test_an_answer_comes_in_words_with_its_reasons_and_another_class_can_be_explained(visit, address, tmp_path):
    page = visit(address)
    upload(page, save_image(tmp_path / "photograph.jpg", seed=5))
    expect(page.locator(".answer")).to_contain_text("percent", timeout=PATIENCE)
    first = page.locator(".why img").first.get_attribute("alt")
    bars(page).nth(2).click()
    expect(page.locator(".why img").first).not_to_have_attribute("alt", first, timeout=PATIENCE)
    expect(page.locator(".why")).to_contain_text("64 × 64 pixels")


def test_a_batch_is_a_table_in_which_a_bad_file_is_a_row(visit, address, tmp_path):
    page = visit(address)
    page.get_by_role("tab", name="Batch").click()
    (tmp_path / "notes.jpg").write_text("no image")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(save_image(tmp_path / "inside.jpg", seed=6), "../../etc/inside.jpg")
    files = [save_image(tmp_path / "photograph.jpg", seed=5), tmp_path / "notes.jpg", tmp_path / "more.zip"]
    page.locator(".many input[type=file]").set_input_files(files)
    rows = page.get_by_role("region", name="3 files, 1 of them could not be read.").locator("tbody tr")
    expect(rows).to_have_count(3, timeout=PATIENCE)
    expect(rows.nth(1)).to_contain_text("notes.jpg cannot be read as an image")
    expect(rows.nth(2)).to_contain_text("inside.jpg")
    expect(rows.nth(2)).not_to_contain_text("etc")
    expect(page.get_by_text("Download as CSV")).to_be_visible()


def test_the_lesson_can_be_played_with(visit, address):
    page = visit(address)
    page.get_by_role("tab", name="Inside ResNeXt").click()
    expect(page.locator(".wires").nth(1)).to_contain_text("432 parameters", timeout=PATIENCE)
    page.get_by_role("button", name="Run the three forms").click()
    expect(page.locator(".outputs .found")).to_contain_text("the largest difference is", timeout=PATIENCE)
    page.locator(".stages").get_by_label("8", exact=True).click()
    expect(page.get_by_role("region", name="ResNet-50 beside ResNeXt-50")).to_contain_text("ResNeXt-50 8×14d", timeout=PATIENCE)


def test_cells_show_rates_when_asked_for(visit, address):
    page = visit(address)
    page.get_by_role("tab", name="Test", exact=True).click()
    expect(page.locator(".heatmap .heatmaplayer image")).to_have_count(1, timeout=PATIENCE)
    page.get_by_label("rates").click()
    expect(page.locator(".heatmap .annotation-text").first).to_contain_text("84%", timeout=PATIENCE)


def test_a_chinese_browser_reads_chinese(browser, address, tmp_path):
    page = browser.new_page(locale="zh-CN")
    page.goto(address)
    expect(page.get_by_role("tab", name="训练")).to_be_visible(timeout=PATIENCE)
    upload(page, save_image(tmp_path / "photograph.jpg", seed=5))
    expect(page.locator(".seconds")).to_contain_text("毫秒", timeout=PATIENCE)
    page.close()
