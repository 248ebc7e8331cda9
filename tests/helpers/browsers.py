"""Headless Chromium for Playwright."""

import shutil

# The first one has no windows, and loads a page in half of the processor's time of the others.
_PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    # A camera that shows a test picture, and that a page may use without asking.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


def launch_chromium(playwright):
    """Starts the Chromium that is installed.

    Args:
        playwright: What `playwright.sync_api.sync_playwright()` yields.

    Raises:
        FileNotFoundError: There is none.
    """
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        raise FileNotFoundError(
            "No Chromium is installed: run `apt-get update && apt-get install -y chromium-headless-shell`."
        )
    return playwright.chromium.launch(executable_path=program, args=_OPTIONS)
