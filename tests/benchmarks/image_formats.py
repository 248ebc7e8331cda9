"""Small image files of every kind: the pixels that the network is given against those that a person sees.

    python tests/benchmarks/image_formats.py

Builds the files of tests/helpers/image_corpus.py and prints a table: where the expected pixels are from, the
mean difference from them in units of 1/255, and the difference that is accepted. It needs Chromium. Files
that Chromium cannot show are also compared with ImageMagick, if it is installed: a column of its own, without
a limit, because it shows 16-bit files with values of fewer bits as black. At the end are the formats that are
not read, with what is said of each.
"""

import argparse
import io
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import contenders
import numpy as np
from PIL import Image, ImageCms
from playwright.sync_api import sync_playwright

from resnext.errors import ImageError
from resnext.image_formats import UNSUPPORTED_SUFFIXES
from resnext.preprocessing import open_image
from tests.helpers.browsers import launch_chromium
from tests.helpers.image_corpus import Case, compared, corpus

RESULTS = pathlib.Path(__file__).parent / "results" / "image_formats.csv"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=pathlib.Path, default=RESULTS, help="CSV file for the table (default: the one here)"
    )
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        page = browser.new_page()
        version = browser.version
        results = [compared(case, page) for case in corpus()]
        browser.close()
    program, imagemagick = find_imagemagick()
    others = [compared_with_imagemagick(program, case) for case in corpus()]
    rows = [
        [
            result.name,
            result.reference,
            in_words(result.difference),
            f"{result.tolerance}",
            in_words(other),
            result.fault or "as expected",
        ]
        for result, other in zip(results, others)
    ]
    rows += [[f"named {suffix}", *[""] * 4, refusal(suffix)] for suffix in sorted(UNSUPPORTED_SUFFIXES)]
    header = ["file", "expected pixels from", "mean difference", "accepted", "from ImageMagick's", "result"]
    contenders.print_table(header, rows, options.output)
    faults = [result for result in results if result.fault]
    print(f"{len(results)} files, {len(faults)} not as expected. Chromium {version}.")
    seen = [(other, result.tolerance) for other, result in zip(others, results) if other is not None]
    agreed = sum(other <= tolerance for other, tolerance in seen)
    print(f"{imagemagick or 'No ImageMagick'}: {agreed} of {len(seen)} files within what is accepted.")


def in_words(difference: float | None) -> str:
    """A difference as the table has it."""
    return "" if difference is None else f"{difference:.3f}"


def find_imagemagick() -> tuple[str, str]:
    """ImageMagick's program and its name with the version; empty if it is not installed."""
    for name in ("magick", "convert"):
        program = shutil.which(name)
        version = (
            subprocess.run([program, "-version"], capture_output=True, text=True).stdout if program else ""
        )
        if version.startswith("Version: ImageMagick"):
            return program, " ".join(version.split()[1:3])
    return "", ""


def compared_with_imagemagick(program: str, case: Case) -> float | None:
    """The mean difference from ImageMagick's pixels, from 0 to 255; None if it does not show the file.

    Args:
        program: ImageMagick's program; empty if there is none.
        case: A file. One that Chromium shows is left out.
    """
    if not program or case.expected is None:
        return None
    with tempfile.NamedTemporaryFile(suffix=".icc") as profile:
        profile.write(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        profile.flush()
        command = [program, f"{case.suffix}:-[0]", "-auto-orient", "-profile", profile.name]
        command += ["-background", "white", "-alpha", "remove", "-alpha", "off", "-type", "TrueColor"]
        shown = subprocess.run([*command, "-depth", "8", "ppm:-"], input=case.content, capture_output=True)
    if not shown.stdout:
        return None
    with Image.open(io.BytesIO(shown.stdout)) as image:
        other = np.asarray(image, np.float64)
    pixels = np.asarray(open_image(case.content), np.float64)
    return float(np.abs(pixels - other).mean()) if pixels.shape == other.shape else None


def refusal(suffix: str) -> str:
    """What is said of a file of unknown content with that suffix."""
    try:
        open_image(b"unknown", name=f"photo{suffix}")
    except ImageError as error:
        return str(error)
    return "read"


if __name__ == "__main__":
    main()
