"""What a training step on a CPU spends its time on, by TensorFlow's profiler.

    python tests/benchmarks/train_profile.py --output tests/benchmarks/results/train_profile.csv

The steps are those of train.py, in its first six cases. Each case runs in a process of its own with all
cores. The table has the total duration of TensorFlow's operations by group, over all threads. A
duration includes the time in which another process used the core, so run nothing else beside it.
"""

import argparse
import collections
import json
import pathlib
import sys
import tempfile

import contenders
import numpy as np
import train

from resnext.config import ModelConfig

# The groups, with a part of the names of their operations; the first that fits counts.
GROUPS = {
    "convolutions, matrix products": ("Conv2D", "MatMul"),
    "batch norm": ("BatchNorm",),
    "optimizer": ("ResourceApply", "AssignSub", "Assign"),
    "casts": ("Cast",),
    "other activations and gradients": ("",),
}
COLUMNS = [*train.CASE_COLUMNS, "step ms", *(f"{group}, %" for group in GROUPS), "longest of the others"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10, help="profiled steps (default: %(default)s)")
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        profile(*options.worker)
        return
    rows = []
    for case in train.CASES[:6]:
        with tempfile.TemporaryDirectory() as folder:
            contenders.make_repository(pathlib.Path(folder), case.model, case.image_size)
            worker = ["--worker", folder, str(train.CASES.index(case)), str(options.steps)]
            durations = contenders.run_worker(__file__, sys.executable, worker, 900)
        named = [case.model, str(case.image_size), str(case.batch_size), case.precision]
        rows.append(named + summarize(durations, options.steps))
        contenders.print_table(COLUMNS, rows, options.output)


def summarize(durations: dict, steps: int) -> list[str]:
    """The milliseconds of all operations in a step, the share of each group, and the longest of the rest.

    Args:
        durations: Picoseconds by the type of the operation, or {"fault": ...}.
        steps: In how many steps.
    """
    if "fault" in durations:
        return [durations["fault"], *[""] * (len(GROUPS) + 1)]
    groups, others = collections.Counter(), collections.Counter()
    for name, duration in durations.items():
        group = next(group for group, parts in GROUPS.items() if any(part in name for part in parts))
        groups[group] += duration
        if group == list(GROUPS)[-1]:
            others[name] += duration
    total = sum(durations.values())
    longest = ", ".join(f"{name} {duration / total:.1%}" for name, duration in others.most_common(5))
    return [f"{total / steps / 1e9:.0f}", *(f"{groups[group] / total:.1%}" for group in GROUPS), longest]


def profile(folder: str, case: str, steps: str) -> None:
    """Trains for some steps, and prints the picoseconds of each type of operation as JSON."""
    case, config = train.CASES[int(case)], ModelConfig.read(pathlib.Path(folder) / "config.json")
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (case.batch_size, case.image_size, case.image_size, 3)).astype(np.uint8)
    labels = rng.integers(0, config.num_classes, case.batch_size)
    step = train.keras_step("here", pathlib.Path(folder), config, images, labels, case.precision)
    for _ in range(3):  # Some are slow the second time, too.
        step()

    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    log = pathlib.Path(folder) / "profile"
    with tf.profiler.experimental.Profile(str(log)):
        for _ in range(int(steps)):
            step()
    [file] = log.rglob("*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    durations = collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            if line.name.startswith("tf_Compute"):
                for event in line.events:
                    # "name of the operation:its type", among events of the executor.
                    name, colon, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
                    if colon and not name.endswith(":"):
                        durations[kind.split("#")[0]] += event.duration_ps
    print(json.dumps(durations))


if __name__ == "__main__":
    main()
