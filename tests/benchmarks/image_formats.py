"""Small image files of every kind: the pixels that the network is given against those that a person sees.

    python tests/benchmarks/image_formats.py

Builds the files of tests/helpers/image_corpus.py and prints a table: where the expected pixels are from, the
mean difference from them in units of 1/255, and the difference that is accepted. It needs Chromium. At the
end are the formats that are not read, with what is said of each.
"""

import argparse
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import contenders
from playwright.sync_api import sync_playwright

from resnext.errors import ImageError
from resnext.image_formats import UNSUPPORTED_SUFFIXES
from resnext.preprocessing import open_image
from tests.helpers.image_corpus import compared, corpus

RESULTS = pathlib.Path(__file__).parent / "results" / "image_formats.csv"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=pathlib.Path, default=RESULTS, help="CSV file for the table (default: the one here)"
    )
    options = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        version = browser.version
        results = [compared(case, page) for case in corpus()]
        browser.close()
    rows = [
        [
            result.name,
            result.reference,
            "" if result.difference is None else f"{result.difference:.3f}",
            f"{result.tolerance}",
            result.fault or "as expected",
        ]
        for result in results
    ]
    rows += [[f"named {suffix}", "", "", "", refusal(suffix)] for suffix in sorted(UNSUPPORTED_SUFFIXES)]
    header = ["file", "expected pixels from", "mean difference", "accepted", "result"]
    contenders.print_table(header, rows, options.output)
    faults = [result for result in results if result.fault]
    print(f"{len(results)} files, {len(faults)} not as expected. Chromium {version}.")


def refusal(suffix: str) -> str:
    """What is said of a file of unknown content with that suffix."""
    try:
        open_image(b"unknown", name=f"photo{suffix}")
    except ImageError as error:
        return str(error)
    return "read"


if __name__ == "__main__":
    main()
