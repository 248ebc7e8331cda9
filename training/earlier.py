"""What an earlier `evaluate` has measured beside the test, kept while weights and images are the same."""

import dataclasses
import pathlib
from collections.abc import Callable, Collection

from resnext.card import MAX_EVALUATION_BYTES
from resnext.errors import DataError
from resnext.results import Evaluation, read_evaluation

# The options that measure more than the test, and where their results are.
_FIELDS = {"--corruptions": "corruptions", "--suspects": "suspects", "--unknown": "detection"}


def keep_earlier(
    evaluation: Evaluation,
    output: pathlib.Path,
    images: Collection[str],
    options: Collection[str],
    report: Callable[[str], object],
) -> Evaluation:
    """Adds the results of an earlier evaluation that were not measured again.

    Args:
        evaluation: The new evaluation.
        output: The folder with the earlier one, if there is one.
        images: The names of all images of the data set.
        options: Those of `--corruptions`, `--suspects` and `--unknown` that were given.
        report: Called with a line on what is kept or dropped.
    """
    try:
        earlier = read_evaluation(output, MAX_EVALUATION_BYTES)
    except DataError:
        return evaluation
    further = _further_results(earlier, images) if earlier else {}
    further = {option: result for option, result in further.items() if option not in options}
    if not further or earlier is None:
        return evaluation
    names = " and ".join(further)
    if not _is_of_same(earlier, evaluation, detector="--unknown" in further):
        report(f"The earlier results of {names} are of other weights or images, so they are dropped.")
        return evaluation
    report(f"The earlier results of {names} are kept, because weights and images are the same.")
    return dataclasses.replace(evaluation, **{_FIELDS[option]: value for option, value in further.items()})


def _further_results(earlier: Evaluation, images: Collection[str]) -> dict[str, object]:
    """The results by option, the suspects without the thumbnails, which are made again."""
    results: dict[str, object] = {}
    if earlier.corruptions:
        results["--corruptions"] = earlier.corruptions
    if earlier.suspects is not None:
        known = (suspect for suspect in earlier.suspects if suspect.file in images)
        results["--suspects"] = tuple(suspect._replace(thumbnail=None) for suspect in known)
    if earlier.detection and earlier.detection.images:
        results["--unknown"] = earlier.detection
    return results


def _is_of_same(earlier: Evaluation, evaluation: Evaluation, *, detector: bool) -> bool:
    """Whether two evaluations are of the same weights, images and, if that matters, detector."""
    if earlier.weights_sha256 != evaluation.weights_sha256:
        return False
    if earlier.images_sha256 is None or earlier.images_sha256 != evaluation.images_sha256:
        return False
    before, after = earlier.detection, evaluation.detection
    return not detector or bool(before and after and before.accepted == after.accepted)
