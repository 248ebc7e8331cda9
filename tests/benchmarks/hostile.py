"""All hostile inputs that the tests send, with the page's response to each.

    python tests/benchmarks/hostile.py

Prints a table of all inputs of tests/helpers/hostile_inputs.py, the page's memory before and after them,
and every fault: a traceback, or a response that is not a sentence, took 10 seconds or names a folder.
"""

import argparse
import collections
import csv
import pathlib
import re
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from tests.helpers import hostile_inputs
from tests.helpers.website import serving

RESULTS = pathlib.Path(__file__).parent / "results" / "hostile.csv"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=pathlib.Path, default=RESULTS, help="CSV file for the table (default: the one here)"
    )
    options = parser.parse_args()
    wrong, counts = [], collections.Counter()
    with (
        tempfile.TemporaryDirectory() as name,
        serving() as website,
        hostile_inputs.Page(folder := pathlib.Path(name)) as page,
        options.output.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("kind", "input", "response", "seconds"))
        (folder / "fetched").mkdir()
        photograph = hostile_inputs.Input(
            "a good photograph", "tulips.jpg", hostile_inputs.PHOTOGRAPH.read_bytes(), good=True
        )
        before = page.classify("image", photograph)
        memory, files = page.memory(), page.files()
        errors = ""
        for result in hostile_inputs.everything(page, website, folder / "fetched"):
            # For some files of the server, Gradio itself writes tracebacks.
            if result.kind != "server file":
                errors = page.errors()
            row = (result.kind, result.what, _printable(result.got), f"{result.seconds:.1f}")
            writer.writerow(row)
            print("{:11} {:60.60} {:150.150} {:>5} s".format(*row), flush=True)
            wrong += [
                f"{result.kind}, {result.what}: {fault}" for fault in hostile_inputs.faults(result, folder)
            ]
            counts[result.kind, "accepted" if result.accepted else "refused"] += 1
        after = page.classify("image", photograph)
        print()
        for (kind, outcome), count in counts.items():
            print(f"{kind:11} {outcome:8} {count:5}")
        print(f"memory: {memory} MB before, {page.memory()} MB after, peak {page.peak_memory()} MB")
        print(f"a good photograph: {before.got} before, {after.got} after")
        wrong += [f"left behind: {file}" for file in sorted(page.files() - files - {"fetched"})]
        wrong += [
            f"on standard error: {line}"
            for line in re.findall(r"^Traceback[\s\S]*?\n(\w.*)", errors, re.MULTILINE)
        ]
    print(f"\n{len(wrong)} faults")
    for fault in map(_printable, wrong):
        print(f"  {fault:.300}")


def _printable(text: str) -> str:
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


if __name__ == "__main__":
    main()
