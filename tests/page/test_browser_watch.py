"""A page that follows a real training in Chromium: before its start, while it runs, killed, and finished."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
from playwright.sync_api import expect

from resnext.page.upkeep import open_models
from tests.helpers.forks import training_python
from tests.helpers.pages import PATIENCE, bars, open_tab, served_models, upload
from tests.helpers.paths import ROOT
from tests.helpers.photographs import CLASSES, paint

pytestmark = [pytest.mark.browser, pytest.mark.slow]
EPOCHS = 8
LONG = 60 * PATIENCE  # a start of TensorFlow on a busy machine


def start_training(python, data, base, output, *options) -> subprocess.Popen:
    command = [*python, "-m", "training", "fit", data, "--output", output, "--pretrained", base]
    settings = ("--epochs", EPOCHS, "--batch-size", 8, "--image-size", 64, "--seed", 1)
    command = list(map(str, [*command, *settings, "--no-detect-unknown", "--no-pictures", *options]))
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def pause_after_epoch(process, run, epoch) -> None:
    """Stops a training when this epoch is in its history, so that the page has time to look."""
    history = run / "history.csv"
    end = time.monotonic() + LONG / 1000
    # The first line has the names of the columns, the second the linear probe as epoch 0.
    while not history.exists() or len(history.read_text().splitlines()) < epoch + 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGSTOP)


def test_a_training_is_followed_to_its_end(browser, tiny_repository, tmp_path):
    data = paint(tmp_path / "data")
    run = tmp_path / "my-run"
    process = None
    with served_models(open_models(None, watch=pathlib.Path(run), report=str)) as address:
        page = browser.new_page()
        page.goto(address)
        line = page.locator(".run")
        try:
            expect(line).to_have_text("Waiting for a training in my-run.")
            process = start_training([sys.executable], data, tiny_repository, run)
            pause_after_epoch(process, run, 1)
            expect(line).to_have_text(re.compile(rf"Training: [1-9] of {EPOCHS} epochs\."), timeout=LONG)
            expect(page.get_by_role("heading", name="my-run")).to_be_visible(timeout=PATIENCE)
            expect(line).to_contain_text("left")
            page.get_by_role("tab", name="Training", exact=True).click()
            expect(page.locator(".curve .main-svg").first).to_be_visible(timeout=LONG)
            first = epochs_shown(page)
            assert 1 <= first < EPOCHS
            page.get_by_label("Logarithmic loss axis").check()
            os.kill(process.pid, signal.SIGCONT)
            pause_after_epoch(process, run, first + 1)
            page.wait_for_function(f"{_EPOCHS_SHOWN} > {first}", timeout=LONG)
            expect(page.get_by_label("Logarithmic loss axis")).to_be_checked()
            process.kill()
            process.communicate()
            expect(line).to_have_text(
                re.compile(rf"The training was interrupted after \d of {EPOCHS} epochs: .+ --resume"),
                timeout=PATIENCE,
            )

            page.get_by_role("tab", name="Classify").click()
            upload(page, data / "test" / "red" / "0.jpg")
            expect(bars(page)).to_have_count(3, timeout=PATIENCE)
            assert set(bars(page).locator("dt").all_inner_texts()) == set(CLASSES)

            process = start_training(training_python(), data, tiny_repository, run, "--resume")
            expect(line).to_have_text(f"The training is finished: {EPOCHS} epochs.", timeout=LONG)
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
            open_tab(page, "Test")
            expect(page.locator(".figures").filter(has_text="top-1 accuracy")).to_be_visible()
        finally:
            if process and process.poll() is None:
                process.kill()
                process.communicate()
            page.close()
        chinese = browser.new_page(locale="zh-CN")
        chinese.goto(address)
        expect(chinese.locator(".run")).to_have_text(f"训练已完成：共 {EPOCHS} 轮。")
        chinese.close()


# The number of epochs in the first figure.
_EPOCHS_SHOWN = "Math.max(...(document.querySelector('.curve .js-plotly-plot')?.data?.[0]?.x ?? [0]))"


def epochs_shown(page) -> int:
    return page.evaluate(_EPOCHS_SHOWN)
