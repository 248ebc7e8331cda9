import dataclasses
import json
import math
import os

import numpy as np
import pytest

from resnext.errors import DataError
from resnext.repository import BUNDLED
from resnext.results import (
    EVALUATION,
    HISTORY,
    MAX_BYTES,
    READ_ERRORS,
    Evaluation,
    best_epoch,
    calibration_bias,
    calibration_bins,
    calibration_error,
    parse_history,
    read_evaluation,
    read_history,
    write_history,
)


def row(epoch, val_loss):
    values = {"loss": 1.0, "accuracy": 0.5, "val_accuracy": 0.5, "learning_rate": 0.1, "seconds": 2.0}
    return {"epoch": epoch, "val_loss": val_loss, **values}


def test_the_best_epoch_is_that_of_the_file_even_where_rounding_decides(tmp_path):
    """float32 has an accuracy of 39 in 50 as a little less, and losses may differ by less than 1e-6."""
    probe = row(0, 0.7) | {"val_accuracy": 0.78}
    rows = [probe, *(row(epoch, 0.8) | {"val_accuracy": float(np.float32(0.78) - 6e-8)} for epoch in (1, 2))]
    rows[2]["val_loss"] -= 1e-8
    write_history(rows, tmp_path)
    assert best_epoch(rows)["epoch"] == best_epoch(read_history(tmp_path))["epoch"] == 1


def test_an_evaluation_is_written_as_it_was_read(tmp_path):
    bundled = (BUNDLED["flowers"] / EVALUATION).read_text("utf-8")
    evaluation = read_evaluation(BUNDLED["flowers"])
    evaluation.write(tmp_path)
    assert json.loads((tmp_path / EVALUATION).read_text("utf-8")) == json.loads(bundled)
    again = read_evaluation(tmp_path)
    assert np.array_equal(again.confusion_matrix, evaluation.confusion_matrix)
    assert dataclasses.replace(again, confusion_matrix=0) == dataclasses.replace(
        evaluation, confusion_matrix=0
    )
    assert evaluation.samples == evaluation.confusion_matrix.sum() == len(evaluation.predictions)


def test_an_evaluation_is_stale_if_it_names_other_weights(tiny_repository):
    evaluation = read_evaluation(BUNDLED["flowers"])
    assert not evaluation.is_stale(BUNDLED["flowers"])
    assert evaluation.is_stale(tiny_repository)
    unknown = dataclasses.replace(evaluation, weights_sha256=None, overlap=None)
    assert not unknown.is_stale(tiny_repository), "an older version's file does not say"
    assert not {"weights_sha256", "overlap"} & json.loads(unknown.to_json()).keys()


def test_a_missing_result_is_none_or_empty(tmp_path):
    assert read_evaluation(tmp_path) is None
    assert read_history(tmp_path) == []


@pytest.mark.parametrize(
    "change",
    [
        {"classes": []},
        {"confusion_matrix": [[1]]},
        {"confusion_matrix": [[-1] * 5] * 5},
        {"predictions": [{"file": "a", "true": "b", "predicted": "b", "probability": 1.5}]},
        {"predictions": [{"file": "a"}]},
        {"per_class": None},
        {"top1": "high"},
    ],
)
def test_a_broken_evaluation_is_refused_and_named(tmp_path, change):
    values = json.loads((BUNDLED["flowers"] / EVALUATION).read_text("utf-8")) | change
    with pytest.raises(READ_ERRORS):
        Evaluation.from_json(json.dumps(values))
    (tmp_path / EVALUATION).write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"evaluation\.json is not a valid evaluation"):
        read_evaluation(tmp_path)


def test_a_history_survives_writing_and_reading(tmp_path):
    rows = [row(1, 0.9), row(2, math.nan)]
    write_history(rows, tmp_path)
    first, second = read_history(tmp_path)
    assert first == rows[0] and isinstance(first["epoch"], int)
    assert math.isnan(second["val_loss"])


def test_a_history_without_seconds_is_read(tmp_path):
    text = "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate\n1,1,0.5,2,0.4,0.1\n"
    assert math.isnan(parse_history(text)[0]["seconds"])


@pytest.mark.parametrize(
    "text", ["epoch,loss\n1,2\n", "epoch,loss,accuracy,val_loss,val_accuracy\nx,1,1,1,1\n"]
)
def test_a_broken_history_is_refused_and_named(tmp_path, text):
    (tmp_path / HISTORY).write_text(text)
    with pytest.raises(DataError, match=r"history\.csv is not a valid training history"):
        read_history(tmp_path)


def test_files_that_are_too_large_or_pipes_are_refused(tmp_path):
    (tmp_path / HISTORY).touch()
    os.truncate(tmp_path / HISTORY, MAX_BYTES[HISTORY] + 1)
    with pytest.raises(DataError, match="larger than 1 MiB"):
        read_history(tmp_path)
    os.mkfifo(tmp_path / EVALUATION)
    with pytest.raises(DataError, match="not a regular file"):
        read_evaluation(tmp_path)


def test_the_best_epoch_is_the_first_of_the_lowest_finite_loss():
    assert best_epoch([row(1, math.nan), row(2, 0.5), row(3, 0.5), row(4, 0.7)])["epoch"] == 2
    assert best_epoch([row(1, math.nan), row(2, math.nan)])["epoch"] == 1


def test_calibration_compares_confidence_with_accuracy():
    predictions = [("a", "x", "x", 0.95, None), ("b", "x", "y", 0.55, None), ("c", "x", "x", 0.55, None)]
    bins = calibration_bins(predictions)
    assert [bin.images for bin in bins] == [2, 1]
    assert calibration_error(bins) == pytest.approx((0.05 * 2 + 0.05) / 3)
    assert calibration_bias(bins) == pytest.approx((-0.05 * 2 + 0.05) / 3)
