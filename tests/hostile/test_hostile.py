"""Whatever people who mean it ill send, the page answers with a class or with one clear sentence, and goes on."""

import collections

import pytest

from tests.helpers.hostile_inputs import PHOTOGRAPH, Input, Page, everything, faults
from tests.helpers.website import serving

GOOD = Input("a good photograph", "tulips.jpg", PHOTOGRAPH.read_bytes(), good=True)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with Page(tmp_path_factory.mktemp("page")) as page:
        yield page


@pytest.fixture(scope="module")
def run(page, tmp_path_factory):
    """All results, by kind; what the page held and wrote before and after, before tracebacks that are Gradio's own."""
    folder = tmp_path_factory.mktemp("fetched")
    assert page.classify("image", GOOD).got == "tulips"
    found = {"memory": page.memory(), "files": page.files(), "results": collections.defaultdict(dict)}
    with serving() as website:
        for result in everything(page, website, folder):
            if result.kind == "address":  # the last ones that are not places
                found["errors"] = page.errors()
            found["results"][result.kind][result.what] = result
    return found | {"fetched": list(folder.iterdir())}


def bad(results) -> list[str]:
    return [f"{result.kind}, {result.what}: {result.got}" for result in results]


def test_every_file_gets_a_class_or_one_sentence_that_names_it_within_ten_seconds(page, run):
    answers = [result for kind in ("image", "name", "ZIP") for result in run["results"][kind].values()]
    assert len(answers) > 550
    assert not [f"{result.what}: {fault}" for result in answers for fault in faults(result, page.folder)]


def test_what_a_person_would_see_is_classified(run):
    good = [
        result for kind in ("image", "name", "ZIP") for result in run["results"][kind].values() if result.good
    ]
    assert len(good) > 100
    assert not bad(
        result for result in good if not result.answered and result.got != "HTTP 400"
    )  # a name of two dots


def test_what_nobody_would_see_is_refused(run):
    results = run["results"]["image"].values()
    words = ("an empty file", "text", "HTML", "SVG", "EPS", "PS ", "PDF", "XML", "a program", "noise")
    assert not bad(
        r for r in results if r.answered and (r.what.startswith(words) or "claims 50,000" in r.what)
    )


def test_no_file_of_the_server_is_shown_by_its_path(run):
    results = run["results"]["request"].values()
    refused = ("HTTP 400", "HTTP 403", "HTTP 404")
    assert len(results) > 40
    assert not bad(result for result in results if result.got not in refused)


def test_no_file_is_classified_that_nobody_uploaded(run):
    results = run["results"]["place"].values()
    assert len(results) > 20
    assert not bad(result for result in results if result.answered)


def test_no_address_but_a_public_one_is_fetched(page, run):
    results = run["results"]["address"].values()
    assert len(results) > 90
    assert not bad(result for result in results if result.answered)
    assert not [fault for result in results for fault in faults(result, page.folder)]
    assert not run["fetched"]


def test_the_page_writes_no_traceback(run):
    assert "Traceback" not in run["errors"]


def test_nothing_is_left_outside_the_folder_of_uploads(page, run):
    assert not page.files() - run["files"]
    assert not any(
        "evil" in path.name for path in page.folder.rglob("*") if path.parent.parent != page.uploads
    )


def test_the_page_goes_on_and_has_not_grown(page, run):
    assert page.classify("image", GOOD).got == "tulips"
    assert (
        page.memory() - run["memory"] < 450
    )  # MB; photographs of up to 100 million pixels are decoded, most of them in full
