"""Kills runs of `fit` with SIGKILL, at random moments and within their writes, and resumes each to its end.

    python tests/benchmarks/kills.py [--kills 20] [--seed 0]

Every run has to end as the undisturbed one: the same weights, history (but for the seconds) and predictions.
"""

import argparse
import csv
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from resnext.repository import weights_digest
from resnext.results import read_history
from tests.helpers.photographs import paint
from tests.training.helpers import write_network

RESULTS = ROOT / "tests" / "benchmarks" / "results" / "kills.csv"
# The unfinished files that a run is killed with, by what they become, and how many of them it finishes first.
WRITES = {
    "checkpoint of epoch 1": ("checkpoint/.writing-*.safetensors", 0),
    "checkpoint of epoch 2": ("checkpoint/.writing-*.safetensors", 1),
    "weights": (".writing-*.safetensors", 0),
    "history": (".writing-*.csv", 1),
    "recipe": (".writing-*.json", 0),
    "evaluation": (".writing-*.json", 2),  # recipe.json and config.json come first
    "card": (".writing-*.md", 0),
    "figure": ("figures/.writing-*.png", 1),
    "state": (".run/.writing-*.json", 1),
    "training images": (".run/.writing-*.safetensors", 0),
}
_ATTEMPTS = 4  # a write takes a millisecond, and may be missed


def command(folder: pathlib.Path, output: pathlib.Path, *options: str) -> list[str]:
    """The command line of a run of three short epochs."""
    data = [str(folder / "colors"), "--output", str(output), "--pretrained", str(folder / "base")]
    settings = ["--epochs", "3", "--batch-size", "4", "--image-size", "64", "--ema", "0.9"]
    return [sys.executable, "-m", "training", "fit", *data, *settings, *options]


def result(output: pathlib.Path) -> tuple:
    """What a run has made, without what is different each time."""
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in read_history(output)]
    evaluation = json.loads((output / "evaluation.json").read_bytes())
    state = json.loads((output / ".run" / "state.json").read_bytes())["state"]
    left = sorted(str(path) for path in output.rglob(".writing-*"))
    return weights_digest(output), rows, evaluation, state, left, (output / "README.md").is_file()


def start(folder: pathlib.Path, output: pathlib.Path) -> subprocess.Popen:
    """Starts a run from nothing."""
    shutil.rmtree(output, ignore_errors=True)
    null = subprocess.DEVNULL
    return subprocess.Popen(command(folder, output), cwd=ROOT, stdout=null, stderr=null)


def resume(folder: pathlib.Path, output: pathlib.Path, expected: tuple) -> dict[str, object]:
    """Continues a killed run, and compares its end with that of the undisturbed one."""
    state = output / ".run" / "state.json"
    before = json.loads(state.read_bytes())["state"] if state.exists() else "not begun"
    unfinished = len(list(output.rglob(".writing-*")))
    options = ["--resume"] if (output / "recipe.json").exists() else []
    again = subprocess.run(command(folder, output, *options), cwd=ROOT, capture_output=True, text=True)
    if again.returncode:
        print(again.stderr.strip().splitlines()[-1:])
    equal = again.returncode == 0 and result(output) == expected
    return {
        "state": before,
        "unfinished files": unfinished,
        "exit status": again.returncode,
        "equal": "yes" if equal else "NO",
    }


def kill_within(process: subprocess.Popen, output: pathlib.Path, pattern: str, skip: int) -> bool:
    """Kills a process while a file of a pattern is unfinished, after `skip` of them were finished."""
    while process.poll() is None:
        if any(output.glob(pattern)):
            if not skip:
                process.kill()
                process.wait()
                return any(output.glob(pattern))
            skip -= 1
            while any(output.glob(pattern)) and process.poll() is None:
                pass
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        paint(folder / "colors", val=17)
        write_network(folder / "base")
        began = time.monotonic()
        subprocess.run(command(folder, folder / "whole"), cwd=ROOT, check=True, capture_output=True)
        seconds = time.monotonic() - began
        expected = result(folder / "whole")
        rows = []
        for number in range(options.kills):
            output = folder / f"killed-{number}"
            if number < len(WRITES):
                write = list(WRITES)[number]
                moment = f"in a write: {write}"
                killed = any(
                    kill_within(start(folder, output), output, *WRITES[write]) for _ in range(_ATTEMPTS)
                )
            else:
                delay = chance.uniform(0.3, 1) * seconds
                moment = f"after {delay:.1f} s"
                process = start(folder, output)
                time.sleep(delay)
                killed = process.poll() is None
                process.kill()
                process.wait()
            rows.append(
                {"moment": moment if killed else f"{moment} (missed)", **resume(folder, output, expected)}
            )
            print("  ".join(f"{value!s:<36}" for value in rows[-1].values()), flush=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{sum(row['equal'] == 'yes' for row in rows)} of {len(rows)} ended as the undisturbed run.")


if __name__ == "__main__":
    main()
