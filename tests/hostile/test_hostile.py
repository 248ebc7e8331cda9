"""The page classifies or refuses every hostile input with one clear message, and keeps running."""

import collections

import pytest

from tests.helpers.hostile_inputs import PHOTOGRAPH, Input, Page, everything, faults
from tests.helpers.website import serving

pytestmark = [pytest.mark.hostile, pytest.mark.slow]
GOOD = Input("a good photograph", "tulips.jpg", PHOTOGRAPH.read_bytes(), good=True)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with Page(tmp_path_factory.mktemp("page")) as page:
        yield page


@pytest.fixture(scope="module")
def run(page, tmp_path_factory):
    """All inputs, sent once.

    Returns:
        A dictionary: "results" by kind and input; "memory" and "files" of the page before the inputs;
        "errors", what the page wrote to standard error before the inputs for which Gradio itself writes
        tracebacks; "fetched", the files that were fetched from addresses.
    """
    folder = tmp_path_factory.mktemp("fetched")
    assert page.classify("image", GOOD).got == "tulips"
    found = {"memory": page.memory(), "files": page.files(), "results": collections.defaultdict(dict)}
    with serving() as website:
        for result in everything(page, website, folder):
            if result.kind == "address":  # The last kind before the files of the server.
                found["errors"] = page.errors()
            found["results"][result.kind][result.what] = result
    return found | {"fetched": list(folder.iterdir())}


def described(results) -> list[str]:
    """The results as lines of an assertion's message."""
    return [f"{result.kind}, {result.what}: {result.got}" for result in results]


def test_every_file_gets_a_class_or_one_clear_message_within_ten_seconds(page, run):
    results = [result for kind in ("image", "name", "ZIP") for result in run["results"][kind].values()]
    assert len(results) > 550
    assert not [f"{result.what}: {fault}" for result in results for fault in faults(result, page.folder)]


def test_what_a_person_sees_as_a_picture_is_classified(run):
    good = [
        result for kind in ("image", "name", "ZIP") for result in run["results"][kind].values() if result.good
    ]
    assert len(good) > 100
    # HTTP 400 is the refusal of the file name "..".
    assert not described(result for result in good if not result.accepted and result.got != "HTTP 400")


def test_what_is_not_a_picture_is_refused(run):
    results = run["results"]["image"].values()
    words = ("an empty file", "text", "HTML", "SVG", "EPS", "PS ", "PDF", "XML", "a program", "noise")
    assert not described(
        r for r in results if r.accepted and (r.what.startswith(words) or "claims 50,000" in r.what)
    )


def test_no_file_of_the_server_is_served_by_its_path(run):
    results = run["results"]["request"].values()
    refused = ("HTTP 400", "HTTP 403", "HTTP 404")
    assert len(results) > 40
    assert not described(result for result in results if result.got not in refused)


def test_no_file_is_classified_that_was_not_uploaded(run):
    results = run["results"]["server file"].values()
    assert len(results) > 20
    assert not described(result for result in results if result.accepted)


def test_only_public_addresses_are_fetched(page, run):
    results = run["results"]["address"].values()
    assert len(results) > 90
    assert not described(result for result in results if result.accepted)
    assert not [fault for result in results for fault in faults(result, page.folder)]
    assert not run["fetched"]


def test_the_page_writes_no_traceback(run):
    assert "Traceback" not in run["errors"]


def test_nothing_is_written_outside_the_folder_of_uploads(page, run):
    assert not page.files() - run["files"]
    assert not any(
        "evil" in path.name for path in page.folder.rglob("*") if path.parent.parent != page.uploads
    )


def test_the_page_keeps_running_and_its_memory_does_not_grow(page, run):
    assert page.classify("image", GOOD).got == "tulips"
    # In MB. Photographs of up to 100 million pixels are decoded, most of them in full.
    assert page.memory() - run["memory"] < 450
