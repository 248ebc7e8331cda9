"""What `push` does: it keeps what the owner wrote on the Hub, checks first, and says why it did not push."""

import json
import os
import pathlib
import shutil
import time

import pytest
from huggingface_hub import ModelCard, constants

from resnext import hub as client
from resnext import hub_requests
from resnext.card import write_card
from resnext.weights import save_tensors
from tests.helpers.hub_client import publish
from tests.helpers.hub_server import TOKEN, File, HubServer, in_this_process
from tests.helpers.repositories import evaluation, random_tensors
from tests.helpers.training import run_training

REPO = "tester/colors"
LEGACY = """---
license: mit
tags:
- mine
---
<!-- Written by `python -m training`; remove this line to keep your own changes. -->

# colors

A ResNeXt ([Xie et al., 2017](https://arxiv.org/abs/1611.05431)) that classifies 2 classes: old.

Bought by the museum.

## Results

Old results.

## Provenance

Photographed in May.

```
## Use is not a heading here
```

## Use

Old use.
"""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub that the client in this process uses, logged in, and without waiting."""
    monkeypatch.setattr(hub_requests, "MAX_WAIT", 10)
    monkeypatch.setattr(hub_requests, "TIMEOUT", 1)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with HubServer() as server, in_this_process(server.url, tmp_path / "home"):
        yield server


@pytest.fixture
def folder(tiny_repository):
    """A model repository with an evaluation."""
    (tiny_repository / "evaluation.json").write_text(json.dumps(evaluation(("ant", "bee", "cat"))))
    return tiny_repository


def push(folder, *options, repo=REPO):
    return run_training("push", folder, repo, *options)


def pushed(folder, *options, repo=REPO):
    """What a push prints that succeeds."""
    result = push(folder, *options, repo=repo)
    assert result.returncode == 0, result.stderr
    assert TOKEN not in result.stdout + result.stderr
    return result


def refused(folder, *options, repo=REPO):
    """The one line that a push prints that does not succeed."""
    result = push(folder, *options, repo=repo)
    assert result.returncode == 1, result.stdout
    assert TOKEN not in result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert "127.0.0.1" not in lines[0]
    return lines[0]


def files(hub, branch="main", repo=REPO):
    return {name: file.content for name, file in hub.repos["model", repo].find(branch)[2].items()}


def readme(hub, branch="main"):
    return files(hub, branch)["README.md"].decode()


def head(hub, branch="main", repo=REPO):
    return hub.repos["model", repo].find(branch)[1]


def edit(hub, name="README.md", content=None, change=None):
    """What an owner does on the Hub: a commit that changes a file."""
    repo = hub.repos["model", REPO]
    _, tip, present = repo.find("main")
    text = content if content is not None else change(present[name].content.decode()).encode()
    return repo.add("refs/heads/main", {**present, name: File(text)}, tip, "edited")


def commits(hub):
    return [path for method, path in hub.requests if method == "POST" and "/commit/" in path]


def written(hub):
    """The requests that change something on the Hub."""
    asked = ("/api/validate-yaml", "/preupload/", "/objects/batch")
    return [
        path for method, path in hub.requests if method not in ("GET", "HEAD") and not path.startswith(asked)
    ]


def retrain(folder, seed=5):
    """Other weights, with their own evaluation."""
    shapes = json.loads((folder / "config.json").read_text())
    from resnext.config import ModelConfig

    config = ModelConfig.read(folder / "config.json")
    save_tensors(
        random_tensors(config.architecture, shapes["num_classes"], seed=seed), folder / "model.safetensors"
    )
    values = json.loads((folder / "evaluation.json").read_text())
    (folder / "evaluation.json").write_text(json.dumps({**values, "top1": 0.4321}))


def test_what_the_owner_wrote_on_the_hub_is_kept(hub, folder):
    pushed(folder, "--license", "apache-2.0")
    result = "\n- name: other\n  results:\n"
    assert result not in readme(hub)

    def change(text):
        text = text.replace("license: apache-2.0", "license: mit\nlanguage: en  # as I like it")
        text = text.replace("tags:\n", "tags:\n- museum\n")
        text = text.replace("<!-- resnext:begin results -->", "My note.\n\n<!-- resnext:begin results -->")
        return text.replace("84.00%", "99.99%") + "\n## Thanks\n\nTo all.\n"

    edit(hub, change=change)
    edit(hub, "LICENSE", b"MIT")
    retrain(folder)
    pushed(folder)
    text = readme(hub)
    card = ModelCard(text)
    assert (card.data.license, card.data.language) == ("mit", "en")
    assert card.data.tags[0] == "museum"
    assert set(card.data.tags) > {"resnext", "timm"}
    assert [round(row.metric_value, 2) for row in card.data.eval_results] == [0.43]
    assert "My note.\n\n<!-- resnext:begin results -->" in text
    assert text.endswith("\n## Thanks\n\nTo all.\n")
    assert "43.21%" in text
    assert "99.99%" not in text
    assert files(hub)["LICENSE"] == b"MIT"
    assert (folder / "README.md").read_text() == text
    before = head(hub)
    assert "has this content already: nothing was pushed" in pushed(folder).stdout
    assert head(hub) == before


def test_other_results_of_the_owner_stay_in_the_metadata(hub, folder):
    pushed(folder)
    theirs = """
  - task:
      type: image-classification
    dataset:
      name: Paintings
      type: tester/paintings
    metrics:
    - type: accuracy
      value: 0.5
"""
    edit(hub, change=lambda text: text.replace("\n---\n<!--", f"{theirs}---\n<!--", 1))
    retrain(folder)
    pushed(folder)
    found = {(row.dataset_name, row.metric_value) for row in ModelCard(readme(hub)).data.eval_results}
    assert {("Paintings", 0.5)} < found
    assert len(found) == 2
    (folder / "evaluation.json").unlink()
    pushed(folder)
    assert [row.dataset_name for row in ModelCard(readme(hub)).data.eval_results] == ["Paintings"]


def test_a_section_that_the_owner_deleted_stays_away(hub, folder):
    pushed(folder)
    start, end = "<!-- resnext:begin uses -->", "<!-- resnext:end uses -->"
    edit(hub, change=lambda text: text.partition(start)[0] + text.partition(end)[2])
    retrain(folder)
    pushed(folder)
    assert "## Intended use" not in readme(hub)
    assert "43.21%" in readme(hub)


def test_sections_of_an_earlier_version_s_card_that_are_unknown_are_kept(hub, folder):
    pushed(folder)
    edit(hub, content=LEGACY.encode())
    pushed(folder)
    text = readme(hub)
    card = ModelCard(text)
    assert (card.data.license, card.data.tags[0]) == ("mit", "mine")
    for words in (
        "Bought by the museum.",
        "## Provenance\n\nPhotographed in May.",
        "## Use is not a heading here",
    ):
        assert text.count(words) == 1
    assert "Old" not in text
    assert "old." not in text
    order = ["# colors", "museum.", "## Intended use", "## Results", "## Provenance", "## Limits", "## Use\n"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    pushed(folder)
    assert readme(hub) == text


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_card_of_the_owner_s_own_gets_metadata_only(newline, hub, folder):
    pushed(folder)
    own = newline.join(["---", "license: mit", "---", "# Mine", "", "My words.", ""])
    edit(hub, content=own.encode())
    retrain(folder)
    pushed(folder)
    text = files(hub)["README.md"].decode()
    assert text.endswith(newline.join(["---", "# Mine", "", "My words.", ""]))
    assert ModelCard(text).data.license == "mit"
    assert ModelCard(text).data.library_name == "timm"
    assert ("\r\n" in text) == (newline == "\r\n")


def test_words_that_were_written_here_reach_the_hub(hub, folder):
    pushed(folder)
    card = folder / "README.md"
    card.write_text(card.read_text() + "\nWritten here.\n")
    pushed(folder)
    assert readme(hub).endswith("\nWritten here.\n")
    edit(hub, change=lambda text: text + "\nWritten there.\n")
    card.write_text(card.read_text() + "\nAnd here.\n")
    mine = card.read_text()
    result = pushed(folder)
    assert "README.md was changed both here and in tester/colors on the Hub" in result.stderr
    assert readme(hub).endswith("\nWritten here.\n\nWritten there.\n")
    assert (folder / "README.local.md").read_text() == mine
    assert "README.local.md" not in files(hub)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"# \xff\xfe", "README.md of tester/colors on the Hub is not UTF-8"),
        (b"---\nlicense: [mit\n---\n# Mine", "README.md of tester/colors on the Hub has invalid metadata"),
        (b"---\n- a\n---\n# Mine", "has invalid metadata (it is not a mapping)"),
        (b"---\nmodel-index: 5\n---\n# Mine", "has invalid metadata"),
        (b"x" * 2**21, "has more than 1 MB"),
    ],
)
def test_a_card_on_the_hub_that_cannot_be_read_is_not_overwritten(content, words, hub, folder):
    pushed(folder)
    edit(hub, content=content)
    assert words in refused(folder)
    assert files(hub)["README.md"] == content


def test_a_head_that_moves_once_is_read_again(hub, folder):
    pushed(folder)
    retrain(folder)
    hub.fail_next(1, lambda: edit(hub, "notes.txt", b"theirs"), "/commit/")
    pushed(folder)
    assert files(hub)["notes.txt"] == b"theirs"
    assert "43.21%" in readme(hub)
    assert len(commits(hub)) == 3


def test_a_head_that_moves_again_and_again_is_not_overwritten(hub, folder):
    pushed(folder)
    retrain(folder)
    edits = iter(range(9))
    hub.fail_next(9, lambda: edit(hub, "notes.txt", b"%d" % next(edits)), "/commit/")
    before = (folder / "README.md").read_text()
    assert "was changed on the Hub twice during the push, and nothing was overwritten" in refused(folder)
    hub.faults.clear()
    assert files(hub)["notes.txt"] == b"1"
    assert "43.21%" not in readme(hub)
    assert (folder / "README.md").read_text() == before
    pushed(folder)


def test_a_commit_whose_answer_is_lost_is_not_made_twice(hub, folder):
    hub.fail_next(1, "lost", "/commit/")
    result = pushed(folder)
    assert f"tester/colors/commit/{head(hub)}" in result.stdout
    assert len(commits(hub)) == 1
    hub.fail_next(1, "reset", "/commit/")
    retrain(folder)
    assert f"tester/colors/commit/{head(hub)}" not in pushed(folder).stdout
    assert "43.21%" in readme(hub)


def test_private_on_a_public_repository_is_refused_before_anything_is_sent(hub, folder):
    pushed(folder)
    retrain(folder)
    hub.requests.clear()
    assert "tester/colors is public, so nothing was pushed" in refused(folder, "--private")
    assert {method for method, _ in hub.requests} <= {"GET", "HEAD"}
    pushed(folder, "--private", repo="tester/secret")
    assert hub.repos["model", "tester/secret"].private
    retrain(folder, seed=6)
    pushed(folder, repo="tester/secret")
    assert hub.repos["model", "tester/secret"].private


def break_weights(folder):
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**content, "num_classes": 4, "label_names": list("abcd")})
    )


def link_elsewhere(folder, name):
    """Makes a link to a private file, or to its folder."""
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret").write_text("# A private key")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(elsewhere / "secret" if "." in name else elsewhere)


LOCAL_FAULTS = {
    "weights of another network": (break_weights, "has shape"),
    "no config.json": (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    "weights of another name": (
        lambda folder: (folder / "model.safetensors").rename(folder / "net.safetensors"),
        "has its weights in net.safetensors, which other programs do not look for: rename it to",
    ),
    "weights cut off": (
        lambda folder: (folder / "model.safetensors").write_bytes(
            (folder / "model.safetensors").read_bytes()[:-9]
        ),
        "is not a valid safetensors file",
    ),
    "broken recipe.json": (
        lambda folder: (folder / "recipe.json").write_text('{"recipe": ['),
        "recipe.json is not a valid recipe",
    ),
    "another recipe.json": (
        lambda folder: (folder / "recipe.json").write_text('{"recipe": {}, "class_images": {"train": 3}}'),
        "recipe.json is not a valid recipe",
    ),
    "broken evaluation.json": (
        lambda folder: (folder / "evaluation.json").write_text("[]"),
        "evaluation.json is not a valid evaluation",
    ),
    "broken history.csv": (
        lambda folder: [
            (folder / "history.csv").write_text("a,b\n1,2\n"),
            (folder / "recipe.json").write_text('{"recipe": {}, "dataset": {"name": "x", "images": {}}}'),
        ],
        "history.csv is not a valid training history",
    ),
    "broken quantization.json": (
        lambda folder: [
            (folder / name).write_text("[") for name in ("quantization.json", "openvino_int8.xml")
        ],
        "quantization.json is not valid",
    ),
    "README.md that is not UTF-8": (
        lambda folder: (folder / "README.md").write_bytes(b"\xff\xfe#"),
        "README.md is not UTF-8",
    ),
    "a link to a file elsewhere": (
        lambda folder: link_elsewhere(folder, "figures/curves.png"),
        "figures/curves.png is outside of ",
    ),
    "a link to a folder elsewhere": (
        lambda folder: link_elsewhere(folder, "examples"),
        "examples/secret is outside of ",
    ),
    "a card elsewhere": (lambda folder: link_elsewhere(folder, "README.md"), "README.md is outside of "),
    "a name that is not UTF-8": (
        lambda folder: [
            (folder / "examples").mkdir(),
            pathlib.Path(os.fsdecode(os.fsencode(folder) + b"/examples/\xe4.jpg")).touch(),
        ],
        "/examples/\ufffd.jpg is not UTF-8: rename the file",
    ),
}


@pytest.mark.parametrize("name", LOCAL_FAULTS)
def test_what_is_wrong_here_is_said_before_the_first_request(name, hub, folder):
    break_it, words = LOCAL_FAULTS[name]
    break_it(folder)
    card = folder / "README.md"
    before = card.read_bytes() if card.exists() else None
    assert words in refused(folder)
    assert not hub.requests
    assert (card.read_bytes() if card.exists() else None) == before


@pytest.mark.parametrize(
    "repo, words",
    [
        ("colors", "give OWNER/NAME"),
        ("tester/a b", "is not a valid repository id"),
        ("tester/a--b", "is not a valid repository id"),
        ("tester/", "give OWNER/NAME"),
        ("tester/a/b", "is not a valid repository id"),
        ("tester/a@v1", "names a revision: give OWNER/NAME, and a branch with --revision"),
    ],
)
def test_a_name_that_is_not_valid_is_said_before_the_first_request(repo, words, hub, folder):
    assert words in refused(folder, repo=repo)
    assert not hub.requests


def test_a_repository_that_was_renamed_is_said_by_its_new_name(hub, folder):
    pushed(folder)
    hub.fail_next(9, 307, "/tester/old", content=b"", Location=f"/api/models/{REPO}?blobs=true&expand=none")
    assert f"tester/old is called {REPO} on the Hub now" in refused(folder, repo="tester/old")
    assert len(hub.repos) == 1


def test_a_login_that_cannot_write_is_said_before_anything_is_made(hub, folder, monkeypatch):
    assert "neither somebody nor in an organization" in refused(folder, repo="somebody/colors")
    hub.roles["tester"] = "read"
    assert "your token can only read" in refused(folder)
    assert not hub.repos
    monkeypatch.setenv("HF_TOKEN", "hf_schlüssel")
    assert "has characters that no token has" in refused(folder)
    monkeypatch.setenv("HF_TOKEN", "")
    hub.requests.clear()
    assert "log in with `hf auth login`" in refused(folder)
    token = pathlib.Path(constants.HF_TOKEN_PATH)
    token.parent.mkdir(parents=True, exist_ok=True)
    token.write_bytes(b"\xff\xfe")
    assert "the file of its token cannot be read" in refused(folder)
    assert not hub.requests


def test_metadata_that_the_hub_does_not_accept_leaves_no_repository(hub, folder):
    write_card(folder)
    before = (folder / "README.md").read_text()
    line = refused(folder, "--license", "apache")
    assert 'does not accept the metadata of its card ("license" must be one of [apache-2.0, mit' in line
    assert not hub.repos
    assert (folder / "README.md").read_text() == before


@pytest.mark.parametrize("path", ["/commit/", "/preupload/", "/objects/batch"])
def test_a_first_push_that_fails_leaves_no_empty_repository(path, hub, folder):
    hub.fail_next(9, 400, path)
    assert "(HTTP 400) (Injected fault)" in refused(folder)
    assert not hub.repos
    assert not (folder / "README.md").exists()
    hub.faults.clear()
    pushed(folder)


def test_a_dry_run_says_what_would_be_pushed_and_pushes_nothing(hub, folder):
    result = pushed(folder, "--dry-run", "--private")
    assert "Would create the private repository tester/colors." in result.stdout
    assert (
        f"Would add model.safetensors ({(folder / 'model.safetensors').stat().st_size:,} bytes)."
        in result.stdout
    )
    assert not hub.repos
    assert not (folder / "README.md").exists()
    pushed(folder)
    (folder / "mistakes").mkdir()
    before = head(hub)
    retrain(folder)
    lines = pushed(folder, "--dry-run", "--tag", "v2").stdout.splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        "Would change README.md",
        "Would change model.safetensors",
        "Would change evaluation.json",
        "Would tag the commit v2.",
    ]
    assert head(hub) == before


def test_message_branch_and_tag_are_what_was_asked_for(hub, folder):
    pushed(folder)
    main = head(hub)
    retrain(folder)
    pushed(folder, "--message", "Second try", "--revision", "trial", "--tag", "v2")
    repo = hub.repos["model", REPO]
    assert head(hub) == main
    assert repo.refs["refs/tags/v2"] == repo.refs["refs/heads/trial"] != main
    assert any(b'"summary": "Second try"' in body for body in hub.bodies)
    assert "has a tag v2 already" in refused(folder, "--tag", "v2")
    hub.fail_next(9, 400, "/tag/")
    error = refused(folder, "--tag", "v3", "--license", "mit")
    assert f", so {REPO} has the commit {head(hub)[:7]}, but not the tag v3: correct that, and" in error
    assert "nothing was pushed" not in error
    hub.faults.clear()
    pushed(folder, "--tag", "v3")
    assert repo.refs["refs/tags/v3"] == repo.refs["refs/heads/main"]
    assert "nothing was pushed" in pushed(folder, "--tag", "v3").stdout


def test_a_branch_that_was_made_for_a_commit_that_failed_is_removed(hub, folder):
    pushed(folder)
    retrain(folder)
    hub.fail_next(9, 400, "/commit/")
    refused(folder, "--revision", "trial")
    assert "refs/heads/trial" not in hub.repos["model", REPO].refs


@pytest.mark.parametrize(
    "options, words",
    [
        (("--create-pr", "--revision", "x"), "leave --revision or --create-pr out"),
        (("--create-pr", "--tag", "x"), "leave --tag or --create-pr out"),
        (("--message", " "), "--message is empty"),
        (("--revision", "a b"), "is not a valid name"),
        (("--tag", "../x"), "is not a valid name"),
        (("--create-pr",), "does not exist, so it can have no pull request"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, words, hub, folder):
    assert words in refused(folder, *options)
    assert not hub.repos


def test_the_license_is_asked_for_once_and_kept(hub, folder, monkeypatch):
    asked = []

    def answer(text=""):
        def prompt(*_, **__):
            asked.append(text)
            return text

        return prompt

    for stream in ("stdin", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    monkeypatch.setattr("training.cli._license_question", lambda: answer())
    assert "states no license" in pushed(folder).stderr
    retrain(folder)
    pushed(folder)
    assert asked == [""]
    monkeypatch.setattr("training.cli._license_question", lambda: answer("mit"))
    pushed(folder, repo="tester/second")
    assert asked == [""], "it was asked for already"
    pushed(folder, "--license", "mit")
    retrain(folder, seed=7)
    assert "license" not in pushed(folder).stderr
    assert ModelCard(readme(hub)).data.license == "mit"
    pushed(folder, "--license", "apache-2.0")
    assert ModelCard(readme(hub)).data.license == "apache-2.0"


STEPS = [
    "/api/whoami-v2",
    "/api/models/tester/colors?",
    "/api/validate-yaml",
    "/api/repos/create",
    "/preupload/",
    "/objects/batch",
    "/tester/colors/lfs/",
    "/commit/",
    "/tag/",
]


@pytest.mark.parametrize("status", [429, 503])
def test_a_fault_that_passes_is_waited_for_at_every_step(status, hub, folder):
    for step in STEPS:
        hub.fail_next(1, status, step)
    pushed(folder, "--tag", "v1")
    assert not hub.faults
    assert len(commits(hub)) == 2
    assert hub.repos["model", REPO].refs["refs/tags/v1"] == head(hub)
    edit(hub, change=lambda text: text + "\nMine.\n")
    hub.fail_next(1, status, "/resolve/")
    retrain(folder)
    pushed(folder)
    assert not hub.faults


@pytest.mark.parametrize(
    "step", ["/api/whoami-v2", "/api/models/", "/preupload/", "/objects/batch", "/commit/"]
)
@pytest.mark.parametrize("content", [b"<html>Log in</html>", b"[1, 2]", b"null", b"[" * 9999])
def test_an_answer_that_is_not_the_hub_s_is_one_line(step, content, hub, folder):
    hub.fail_next(9, 200, step, content=content)
    assert "The answer is not one of the Hub's, so nothing was pushed to tester/colors" in refused(folder)
    hub.faults.clear()
    pushed(folder)


@pytest.mark.parametrize(
    "status, words",
    [
        (400, "refused it (HTTP 400) (Injected fault), so nothing was pushed to tester/colors: "),
        (401, "does not accept the token"),
        (403, "does not let you write there (Injected fault)"),
        (404, "or a part of it is not on the Hub (Injected fault)"),
        (413, "is too large for the Hub (Injected fault)"),
        (422, "(HTTP 422) (Injected fault)"),
        (429, "asks for fewer requests, so nothing was pushed to tester/colors: try again in 3600 s"),
        (500, "The Hub failed (HTTP 500)"),
    ],
)
def test_the_hub_s_own_reason_is_said(status, words, hub, folder):
    hub.fail_next(9, status, "/commit/", Retry_After=3600)
    assert words in refused(folder)
    hub.faults.clear()
    pushed(folder)


@pytest.mark.parametrize(
    "variables, words",
    [
        ({"HF_HUB_OFFLINE": "1"}, ""),
        (
            {"ALL_PROXY": "socks5://127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""},
            "A SOCKS proxy needs another package",
        ),
        ({"HTTP_PROXY": "nonsense://x", "NO_PROXY": "", "no_proxy": ""}, "The proxy of HTTP_PROXY,"),
        ({"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""}, "cannot be reached"),
    ],
)
def test_what_keeps_the_hub_from_being_asked_is_said(variables, words, hub, folder, tmp_path, monkeypatch):
    if "HF_HUB_OFFLINE" in variables:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        words = "HF_HUB_OFFLINE is set"
    with in_this_process(hub.url, tmp_path / "home", **variables):
        assert words in refused(folder)
    assert not hub.repos


def test_a_file_that_is_removed_during_a_push_leaves_nothing(hub, folder):
    picture = folder / "figures" / "curves.png"
    picture.parent.mkdir()
    picture.write_bytes(b"picture")
    hub.fail_next(1, picture.unlink, "/api/validate-yaml")
    assert "figures/curves.png cannot be read (it was removed), so nothing was pushed" in refused(folder)
    assert not hub.repos
    pushed(folder)


def test_a_snapshot_of_the_cache_can_be_pushed(hub, folder, tmp_path):
    publish(hub, "tester/source", folder)
    snapshot = client.pull("tester/source", None, ["evaluation.json"]).folder
    assert (snapshot / "model.safetensors").is_symlink()
    pushed(snapshot)
    assert files(hub)["model.safetensors"] == (folder / "model.safetensors").read_bytes()


def test_pictures_of_equal_content_are_sent_once(hub, folder):
    (folder / "mistakes").mkdir()
    for number in range(5):
        (folder / "mistakes" / f"{number}.jpg").write_bytes(b"picture")
    pushed(folder)
    assert sum(name.startswith("mistakes/") for name in files(hub)) == 5
    sent = [path for method, path in hub.requests if method == "PUT"]
    assert len(sent) == len(set(sent)) == 2


def test_a_card_that_the_hub_has_in_lfs_is_compared_and_kept(hub, folder):
    pushed(folder)
    repo = hub.repos["model", REPO]
    _, tip, present = repo.find("main")
    card = present["README.md"].content + b"\nMine.\n"
    repo.add("refs/heads/main", {**present, "README.md": File(card, lfs=True)}, tip, "edited")
    retrain(folder)
    pushed(folder)
    assert readme(hub).endswith("\nMine.\n")
    assert "43.21%" in readme(hub)


def test_hidden_and_unfinished_files_are_not_pushed(hub, folder):
    (folder / "examples").mkdir()
    for name in (".git", ".env", ".DS_Store"):
        (folder / "examples" / name).write_text("private")
    (folder / "figures").mkdir()
    (folder / "figures" / ".writing-x.png").write_bytes(b"half")
    shutil.copy(folder / "config.json", folder / "examples.txt")
    pushed(folder)
    assert set(files(hub)) == {
        ".gitattributes",
        "README.md",
        "config.json",
        "evaluation.json",
        "model.safetensors",
    }
