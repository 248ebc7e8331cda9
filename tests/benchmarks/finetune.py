"""Training from scratch against fine-tuning, under the same budget: epochs, image size, batch size and seeds.

    python -m training fit cifar10 --output cifar-net --image-size 64 --labels int --epochs 12 \\
        --batch-size 128 --learning-rate 0.1 --weight-decay 1e-3
    python tests/benchmarks/finetune.py flowers --pretrained cifar-net \\
        --output tests/benchmarks/results/finetune_12_epochs.csv

The pretrained network is pushed to a Hub on the loopback interface and fine-tuned by its repository id.
Both sides run `python -m training fit` with their own recipe ("scratch" and "finetune"). The numbers are
those of its evaluation.json.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import contenders

from resnext.results import best_epoch, read_history
from tests.helpers.hub_server import TOKEN, HubServer, environment

REPO = "tester/pretrained"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=pathlib.Path, help="folder with train, val and test")
    parser.add_argument(
        "--pretrained", type=pathlib.Path, required=True, help="folder of the network to start from"
    )
    parser.add_argument("--epochs", type=int, default=12, help="of both trainings (default: %(default)s)")
    parser.add_argument("--image-size", type=int, default=64, help="of both trainings (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="of both trainings (default: %(default)s)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1], help="each seed trains both networks (default: 0 1)"
    )
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    options = parser.parse_args()
    rows = []
    with HubServer() as hub, tempfile.TemporaryDirectory() as folder:
        env = os.environ | environment(hub.url, pathlib.Path(folder, "home"), TOKEN)

        def train(*arguments):
            subprocess.run(
                [sys.executable, "-m", "training", *map(str, arguments)],
                cwd=contenders.ROOT,
                env=env,
                check=True,
            )

        train("push", options.pretrained.resolve(), REPO)
        for seed in options.seeds:
            for name, start in (
                ("from scratch", ("--from-scratch",)),
                ("fine-tuned", ("--pretrained", REPO)),
            ):
                output = pathlib.Path(folder, f"{name} {seed}")
                budget = (
                    "--epochs",
                    options.epochs,
                    "--image-size",
                    options.image_size,
                    "--batch-size",
                    options.batch_size,
                    "--seed",
                    seed,
                )
                train(
                    "fit",
                    options.data.resolve(),
                    "--output",
                    output,
                    *start,
                    *budget,
                    "--precision",
                    "float32",
                )
                rows.append(row(f"{name}, seed {seed}", output))
    header = [
        "network",
        "best validation loss",
        "validation accuracy",
        "test top-1",
        "test loss",
        "training s",
    ]
    contenders.print_table(header, rows, options.output)


def row(name, folder) -> list[str]:
    history, test = (
        read_history(folder),
        json.loads((folder / "evaluation.json").read_bytes()),
    )
    best, seconds = best_epoch(history), sum(epoch["seconds"] for epoch in history)
    return [
        name,
        f"{best['val_loss']:.4f}",
        f"{best['val_accuracy']:.2%}",
        f"{test['top1']:.2%}",
        f"{test['loss']:.4f}",
        f"{seconds:.0f}",
    ]


if __name__ == "__main__":
    main()
