"""Takes the screenshots of the page for the documentation.

    python tests/benchmarks/screenshots.py

It needs Chromium, and a font with Chinese characters, such as Debian's fonts-noto-cjk.
"""

import argparse
import contextlib
import io
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from PIL import Image
from playwright.sync_api import expect, sync_playwright

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from resnext.results import read_evaluation
from tests.helpers.browsers import launch_chromium

# Name, tab in the address, theme, width in pixels, language.
PICTURES = [
    ("classify", "classify", "light", 1100, "en"),
    ("training", "training", "light", 1100, "en"),
    ("test", "test", "light", 1100, "en"),
    ("inside", "inside", "light", 1100, "en"),
    ("card", "card", "light", 1100, "en"),
    ("batch", "batch", "light", 1100, "en"),
    ("teach", "teach", "light", 1100, "en"),
    ("classify-dark", "classify", "dark", 1100, "en"),
    ("test-dark", "test", "dark", 1100, "en"),
    ("teach-dark", "teach", "dark", 1100, "en"),
    ("classify-phone", "classify", "light", 390, "en"),
    ("teach-phone", "teach", "light", 390, "en"),
    ("classify-chinese", "classify", "light", 1100, "zh-CN"),
]
TALLEST = 2400  # pixels of a page that are shown
FLOWERS = ROOT / "resnext" / "flowers"
TAUGHT = ("sunflowers", "tulips")
TAUGHT_PICTURES = 8  # of each class


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="folder or Hub repository (default: the bundled flowers)")
    parser.add_argument(
        "--photograph", type=pathlib.Path, help="what is classified (default: the page's last example)"
    )
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "tests" / "benchmarks" / "screenshots")
    options = parser.parse_args()
    if not subprocess.run(["fc-list", ":lang=zh-cn"], capture_output=True, check=True).stdout:
        sys.exit("No font has Chinese characters: install one, such as Debian's fonts-noto-cjk.")
    options.output.mkdir(parents=True, exist_ok=True)
    with page_server(options.model) as address, sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        for name, tab, theme, width, language in PICTURES:
            page = browser.new_page(viewport={"width": width, "height": 760}, locale=language)
            page.goto(f"{address}?__theme={theme}&tab={tab}")
            if tab == "classify":
                if options.photograph:
                    page.locator("input[type=file]").first.set_input_files(options.photograph)
                else:
                    page.locator(".gallery button").last.click()
                expect(page.locator(".why")).to_be_visible(timeout=30_000)
            elif tab == "batch":
                # The credits, which are not an image, show an error.
                examples = sorted((FLOWERS / "examples").glob("*.*"))
                page.locator(".many input[type=file]").set_input_files(examples)
                expect(page.locator(".as-csv")).to_be_visible(timeout=30_000)
            elif tab == "teach":
                teach(page)
            page.wait_for_timeout(3000)  # bars and figures move into place
            height = min(TALLEST, page.evaluate("document.documentElement.scrollHeight"))
            content = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})
            picture = Image.open(io.BytesIO(content)).convert("RGB")
            picture.save(options.output / f"{name}.webp", quality=90, method=6)
            page.close()
        browser.close()


def teach(page):
    """Teaches two flowers with photographs that the bundled model predicts as others, and tries a third."""
    predictions = read_evaluation(FLOWERS).predictions
    for place, label in enumerate(TAUGHT):
        name = page.locator(".taught input[type=text]").nth(place)
        name.fill(label)
        name.press("Enter")
        pictures = [FLOWERS / row.thumbnail for row in predictions if row.thumbnail and row.true == label]
        with page.expect_file_chooser() as chooser:
            page.locator(".taught .add").nth(place).click()
        chooser.value.set_files(pictures[:TAUGHT_PICTURES])
        expect(page.locator(".taught").nth(place).locator("li")).to_have_count(
            TAUGHT_PICTURES, timeout=30_000
        )
    page.locator(".tried input[type=file]").first.set_input_files(FLOWERS / "examples" / f"{TAUGHT[1]}.jpg")
    expect(page.locator(".answer")).to_contain_text(TAUGHT[1], timeout=30_000)


@contextlib.contextmanager
def page_server(model):
    """`python app.py` on a free port; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    process = subprocess.Popen(
        [sys.executable, ROOT / "app.py", "--port", str(port), *(["--model", model] if model else [])]
    )
    try:
        for _ in range(240):
            with contextlib.suppress(urllib.error.URLError):
                urllib.request.urlopen(address)
                break
            time.sleep(0.25)
        yield address
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
