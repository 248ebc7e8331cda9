"""The page in headless Chromium: what a visitor sees and does, on a desktop and on a phone."""

import re
import zipfile

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.helpers.pages import (
    PATIENCE,
    TABS,
    bars,
    choose_model,
    close_toasts,
    open_tab,
    remove_photograph,
    served,
    upload,
)
from tests.helpers.photographs import save_image
from tests.helpers.repositories import FLOWERS, HOSTILE, make_repository

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page of two models and one that cannot be had."""
    folder = tmp_path_factory.mktemp("repositories")
    make_repository(folder / "second", [*FLOWERS, "violets"])
    with served(make_repository(folder / "first"), folder / "second", folder / "gone") as address:
        yield address


@pytest.fixture(scope="module")
def hostile_address(tmp_path_factory):
    folder = make_repository(tmp_path_factory.mktemp("hostile"), HOSTILE)
    (folder / "examples" / "CREDITS.md").write_text("".join(HOSTILE), "utf-8")
    with served(folder, warning="".join(HOSTILE)) as address:
        yield address


@pytest.fixture(scope="module")
def chinese(browser):
    """The context of a Chinese visitor."""
    context = browser.new_context(locale="zh-CN")
    yield context
    context.close()


@pytest.fixture
def visit(context):
    """Opens an address in a new page. No page may ask another server for anything."""
    opened = []
    foreign = []

    def visit(address: str, width: int = 1280, theme: str = "light") -> Page:
        opened.append(open_page(context, address, foreign, width, theme))
        return opened[-1]

    yield visit
    for page in opened:
        page.close()
    context.clear_permissions()
    assert not foreign


@pytest.fixture(scope="module")
def shared_page(context, address):
    """A page that several tests share, because loading a page takes longer than most of these tests."""
    foreign = []
    page = open_page(context, address, foreign)
    yield page
    page.close()
    assert not foreign


@pytest.fixture
def page(shared_page):
    """The shared page without a photograph, with the tab that classifies open."""
    close_toasts(shared_page)
    expect(shared_page.get_by_test_id("toast-body")).to_have_count(0, timeout=PATIENCE)
    shared_page.get_by_role("tab", name="Classify").click()
    remove_photograph(shared_page)
    number = shared_page.get_by_label("number input for Number of classes")
    if number.input_value() != "5":
        number.fill("5")
    return shared_page


@pytest.fixture(scope="module", params=["light", "dark"])
def themed_page(context, address, request):
    """A page in each theme, with its theme."""
    foreign = []
    page = open_page(context, address, foreign, theme=request.param)
    yield page, request.param
    page.close()
    assert not foreign


def open_page(context, address: str, foreign: list, width: int = 1280, theme: str = "light") -> Page:
    """Opens an address in a new page. Requests to other servers are added to `foreign`."""
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 850})
    page.set_default_timeout(PATIENCE)

    def note(request):
        if not request.url.startswith((address, "blob:", "data:")):
            foreign.append(request.url)

    page.on("request", note)
    page.goto(f"{address}?__theme={theme}")
    page.get_by_role("tab", name="Classify").wait_for()
    return page


def test_an_upload_is_classified_without_a_click(page, tmp_path):
    upload(page, save_image(tmp_path / "photograph.jpg", seed=5))
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    expect(page.locator(".seconds")).to_contain_text("ms")
    assert set(bars(page).locator("dt").all_inner_texts()) == set(FLOWERS)


def test_the_number_of_classes_follows_the_slider(page, tmp_path):
    upload(page, save_image(tmp_path / "photograph.jpg", seed=5))
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    page.locator(".top-k").get_by_role("slider").press("ArrowLeft")
    expect(bars(page)).to_have_count(4, timeout=PATIENCE)


def test_an_example_is_classified_from_the_keyboard(page):
    page.locator(".gallery button").nth(1).press("Enter")
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)


def test_removing_the_photograph_clears_the_prediction(page):
    page.locator(".gallery button").first.click()
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    page.get_by_label("Remove Image").click()
    expect(bars(page)).to_have_count(0, timeout=PATIENCE)


@pytest.mark.parametrize("after", ["nothing", "an example"])
def test_a_bad_file_is_named_and_removed_and_the_next_upload_works(page, tmp_path, after):
    if after == "an example":
        page.locator(".gallery button").first.click()
        expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    (tmp_path / "notes.jpg").write_text("no image")
    upload(page, tmp_path / "notes.jpg")
    message = page.get_by_test_id("toast-body")
    expect(message).to_contain_text(
        "notes.jpg cannot be read as an image: it is not an image of a known format.", timeout=PATIENCE
    )
    expect(message).not_to_contain_text("/")
    expect(page.locator(".photograph img")).to_have_count(0)
    expect(bars(page)).to_have_count(0)
    upload(page, save_image(tmp_path / "photograph.jpg", seed=5))
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)


def test_the_training_tab_draws_the_curves_and_the_recipe(page):
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


def test_the_test_tab_draws_the_confusion_matrix_and_the_tables(page):
    page.get_by_role("tab", name="Test").click()
    expect(page.locator(".heatmap .heatmaplayer image")).to_have_count(1, timeout=PATIENCE)
    expect(page.locator(".figures").filter(has_text="top-1 accuracy")).to_contain_text("84.0%")
    page.locator(".heatmap .nsewdrag").hover(position={"x": 5, "y": 5})
    expect(page.locator(".heatmap .hoverlayer")).to_contain_text("21 images, 84.0% of the true class")
    samples = page.get_by_role("region", name="Sample predictions").locator("tbody tr")
    expect(samples).to_have_count(10)
    expect(samples.filter(has_text="wrong")).not_to_have_count(0)
    expect(page.get_by_role("region", name="Per class").locator("tbody tr")).to_have_count(5)


def test_a_phone_needs_no_sideways_scrolling(visit, address):
    page = visit(address, width=390)
    page.locator(".gallery button").first.click()
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    expect(page.locator(".why")).to_be_visible(timeout=PATIENCE)
    photograph, answer, examples = (
        page.locator(part).first.bounding_box()["y"] for part in (".photograph", ".answer", ".gallery")
    )
    assert photograph < answer < examples
    for tab in TABS:
        open_tab(page, tab)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab


def test_axe_finds_no_serious_violation_in_any_tab(themed_page):
    page, _ = themed_page
    page.locator(".gallery button").first.click()
    expect(page.locator(".why")).to_be_visible(timeout=PATIENCE)
    for tab in TABS:
        open_tab(page, tab)
        faults = [
            (fault["id"], [node["html"] for node in fault["nodes"]])
            for fault in Axe().run(page).response["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
        assert not faults, tab


def test_the_text_of_figures_contrasts_with_the_page(themed_page):
    page, theme = themed_page
    page.get_by_role("tab", name="Training").click()
    title = page.locator(".curve .ytitle").first
    expect(title).to_be_visible(timeout=PATIENCE)
    red = int(title.evaluate("text => getComputedStyle(text).fill").partition("(")[2].partition(",")[0])
    assert red < 80 if theme == "light" else red > 180


def test_labels_and_credits_are_shown_as_text(visit, hostile_address):
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


def test_a_hostile_file_name_is_text_in_the_message(page, tmp_path):
    upload(
        page, {"name": "<img src=x onerror=hacked=7>.jpg", "mimeType": "image/jpeg", "buffer": b"no image"}
    )
    expect(page.get_by_test_id("toast-body")).to_contain_text("cannot be read as an image", timeout=PATIENCE)
    assert page.evaluate("window.hacked") is None


def test_the_prediction_is_a_sentence_and_any_class_can_be_explained(page, tmp_path):
    upload(page, save_image(tmp_path / "photograph.jpg", seed=5))
    expect(page.locator(".answer")).to_contain_text("percent", timeout=PATIENCE)
    first = page.locator(".why img").first.get_attribute("alt")
    bars(page).nth(2).click()
    expect(page.locator(".why img").first).not_to_have_attribute("alt", first, timeout=PATIENCE)
    expect(page.locator(".why")).to_contain_text("64 × 64 pixels")


def test_a_batch_is_a_table_in_which_a_bad_file_is_a_row(page, tmp_path):
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


def test_cells_show_rates_when_asked_for(page):
    page.get_by_role("tab", name="Test", exact=True).click()
    expect(page.locator(".heatmap .heatmaplayer image")).to_have_count(1, timeout=PATIENCE)
    page.get_by_label("rates").click()
    expect(page.locator(".heatmap .annotation-text").first).to_contain_text("84%", timeout=PATIENCE)
    page.get_by_label("counts").click()
    expect(page.locator(".heatmap .annotation-text").first).to_have_text("21", timeout=PATIENCE)


def test_a_chinese_browser_shows_chinese(chinese, address, tmp_path):
    page = chinese.new_page()
    page.goto(address)
    expect(page.get_by_role("tab", name="训练")).to_be_visible(timeout=PATIENCE)
    upload(page, save_image(tmp_path / "photograph.jpg", seed=5))
    expect(page.locator(".seconds")).to_contain_text("毫秒", timeout=PATIENCE)
    page.close()


def test_another_model_is_shown_in_every_tab_and_classifies_again(visit, address, tmp_path):
    page = visit(address)
    upload(page, save_image(tmp_path / "photograph.jpg", seed=5))
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    page.locator(".top-k").get_by_role("slider").press("End")
    choose_model(page, "second")
    expect(page.get_by_role("heading", name="second")).to_be_visible(timeout=PATIENCE)
    expect(bars(page)).to_have_count(6, timeout=PATIENCE)
    expect(page.locator(".masthead")).to_contain_text("6 classes")
    assert "model=second" in page.url
    open_tab(page, "Test")
    expect(page.locator(".heatmap .ytick")).to_have_count(6, timeout=PATIENCE)
    choose_model(page, "first")  # while the tab is open
    expect(page.locator(".heatmap .ytick")).to_have_count(5, timeout=PATIENCE)


def test_the_model_in_use_stays_if_another_cannot_be_opened(page):
    choose_model(page, "gone")
    expect(page.get_by_test_id("toast-body")).to_contain_text(
        "neither a folder nor a Hub repository", timeout=PATIENCE
    )
    expect(page.get_by_test_id("toast-body")).not_to_contain_text("repositories")  # the server's folder
    expect(page.get_by_label("Model", exact=True)).to_have_value("first", timeout=PATIENCE)
    expect(page.get_by_role("heading", name="first")).to_be_visible()
    assert "model=" not in page.url
    page.locator(".gallery button").first.click()
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)


def test_the_copied_address_opens_the_same_model_and_tab(visit, address):
    page = visit(address)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_tab(page, "Training")
    choose_model(page, "second")
    expect(page.get_by_role("heading", name="second")).to_be_visible(timeout=PATIENCE)
    expect(page).to_have_url(re.compile("tab=training.*model=second"), timeout=PATIENCE)
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("The link was copied.", timeout=PATIENCE)
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == re.sub(r"__theme=\w+&", "", page.url)
    other = page.context.new_page()
    other.goto(link)
    expect(other.get_by_role("heading", name="second")).to_be_visible(timeout=PATIENCE)
    expect(other.locator(".curve .main-svg").first).to_be_visible(timeout=PATIENCE)
    other.goto(f"{address}?model=/etc&tab=nowhere")
    expect(other.get_by_test_id("toast-body")).to_contain_text(
        "/etc is not offered on this page", timeout=PATIENCE
    )
    expect(other.get_by_role("heading", name="first")).to_be_visible()
    other.close()


def test_a_link_is_copied_without_a_clipboard_and_without_what_is_private(visit, address):
    page = visit(address)
    page.goto(f"{address}?__sign=secret&utm_source=x&tab=classify#top")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    # As over plain HTTP, and in a frame whose site does not pass the permission on.
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('forbidden')) }")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("The link was copied.", timeout=PATIENCE)
    assert page.evaluate("navigator.clipboard.readText()") == f"{address}?tab=classify"
    page.get_by_test_id("toast-close").click()
    page.evaluate("() => { document.execCommand = () => false }")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text(
        f"Copy this address: {address}?tab=classify", timeout=PATIENCE
    )


def test_screen_readers_hear_words_of_the_language(context, chinese, address):
    heard = """() => { window.heard = new Set(); new MutationObserver(() => {
        document.querySelectorAll('[aria-live]').forEach(live => heard.add(live.textContent.trim()));
    }).observe(document.body, { subtree: true, childList: true, characterData: true }) }"""
    for visitor, word in ((context, "Complete"), (chinese, "完成")):
        page = visitor.new_page()
        page.goto(address)
        page.get_by_role("tab").first.wait_for()
        page.evaluate(heard)
        page.locator(".gallery button").first.click()
        expect(bars(page)).to_have_count(5, timeout=PATIENCE)
        page.wait_for_function(f"heard.has('{word}')", timeout=PATIENCE)
        assert not any("common." in text for text in page.evaluate("[...heard]"))
        page.close()


@pytest.mark.parametrize("visitor, lang, shown", [("context", "en", True), ("chinese", "zh-CN", False)])
def test_messages_and_the_document_are_in_the_language_of_the_visitor(request, address, visitor, lang, shown):
    page = request.getfixturevalue(visitor).new_page()
    page.goto(address)
    expect(page.locator("html")).to_have_attribute("lang", lang, timeout=PATIENCE)
    page.get_by_role("button", name="复制链接" if lang == "zh-CN" else "Copy link").click()
    title = page.locator(".toast-title")
    expect(title).to_be_attached(timeout=PATIENCE)
    # "Info", "Warning" and "Error" are Gradio's, in English only.
    assert title.evaluate("title => parseFloat(getComputedStyle(title).fontSize) > 0") == shown
    page.close()


def test_curves_of_models_are_compared_with_a_logarithmic_loss(visit, address):
    page = visit(address)
    open_tab(page, "Training")
    page.get_by_label("Compare with").click()
    page.get_by_role("option", name="second").click()
    expect(page.locator(".curve").first.locator(".scatterlayer .trace")).to_have_count(4, timeout=PATIENCE)
    expect(page.locator(".curve").first.locator(".legend")).to_contain_text("second")
    page.keyboard.press("Escape")
    page.get_by_label("Logarithmic loss").check()
    axis = "document.querySelectorAll('.js-plotly-plot')[{}].layout.yaxis.type"
    page.wait_for_function(axis.format(0) + " === 'log'", timeout=PATIENCE)
    assert page.evaluate(axis.format(1)) == "linear"


def test_an_image_at_a_private_address_is_not_fetched(page, address):
    page.get_by_label("or the URL of an image").fill(f"{address}favicon.ico")
    page.get_by_label("or the URL of an image").press("Enter")
    expect(page.get_by_test_id("toast-body")).to_contain_text("cannot be fetched", timeout=PATIENCE)
    expect(bars(page)).to_have_count(0)


def test_a_photograph_can_be_dropped_or_pasted(visit, address, tmp_path):
    page = visit(address)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    content = save_image(tmp_path / "photograph.png", seed=5).read_bytes()
    data = page.evaluate_handle(
        """bytes => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], 'dropped.png', { type: 'image/png' }));
          return data;
        }""",
        list(content),
    )
    target = page.locator(".photograph button").filter(has_text="Drop Image Here")
    for event in ("dragenter", "dragover", "drop"):
        target.dispatch_event(event, {"dataTransfer": data})
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    page.get_by_label("Remove Image").click()
    expect(bars(page)).to_have_count(0, timeout=PATIENCE)
    page.evaluate(
        """bytes => navigator.clipboard.write([new ClipboardItem(
          { 'image/png': new Blob([new Uint8Array(bytes)], { type: 'image/png' }) })])""",
        list(content),
    )
    page.get_by_label("Paste from clipboard").click()
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)


def test_a_photograph_can_be_taken_by_the_camera(visit, address):
    page = visit(address)  # Chromium's own false camera
    page.context.grant_permissions(["camera"])
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('video')?.videoWidth > 0", timeout=PATIENCE)
    page.get_by_label("capture photo").click()
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)


def test_the_slider_changes_the_opacity_of_the_map(page):
    page.locator(".gallery button").first.click()
    expect(page.locator(".frame img")).to_be_visible(timeout=PATIENCE)
    page.get_by_label("range slider for Opacity of the activation map").press("Home")
    expect(page.locator(".frame img")).to_have_css("opacity", "0", timeout=PATIENCE)


def test_the_table_of_a_batch_can_be_downloaded_as_csv(visit, address, tmp_path):
    page = visit(address)
    open_tab(page, "Batch")
    page.locator(".many input[type=file]").set_input_files(
        [save_image(tmp_path / f"{name}.jpg") for name in ("one", "two")]
    )
    with page.expect_download() as download:
        page.get_by_text("Download as CSV").click(timeout=PATIENCE)
    header, *rows = download.value.path().read_text().splitlines()
    assert header == "file,label,probability,error,unknown"
    assert [row.split(",")[0] for row in rows] == ["one.jpg", "two.jpg"]
    assert all(row.split(",")[1] in FLOWERS for row in rows)


def test_the_keyboard_reaches_every_tab_and_control(visit, address):
    page = visit(address)

    def press_tab_until(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                """(element => element.getAttribute('aria-label') || element.textContent.trim()
                || element.title || element.labels?.[0]?.textContent.trim() || '')(document.activeElement)"""
            )
            if name in focused:
                return
        raise AssertionError(f"{name} is out of the keyboard's reach")

    for name in ("Model", "Copy link", "Classify", "Drop an image file", "or the URL of an image"):
        press_tab_until(name)
    page.locator(".gallery button").first.focus()
    page.keyboard.press("Enter")
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    explained = page.locator(".why img").first.get_attribute("alt")
    press_tab_until(bars(page).nth(1).locator("dt").inner_text())
    page.keyboard.press("Enter")  # a bar
    expect(page.locator(".why img").first).not_to_have_attribute("alt", explained, timeout=PATIENCE)
    page.get_by_role("tab", name="Classify").focus()
    press_tab_until("Training")
    page.keyboard.press("Enter")
    expect(page.locator(".curve .main-svg").first).to_be_visible(timeout=PATIENCE)
    press_tab_until("Logarithmic loss")
    page.keyboard.press("Space")
    expect(page.get_by_label("Logarithmic loss")).to_be_checked()
