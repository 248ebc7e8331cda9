"""The Hub on the loopback interface behaves as the huggingface_hub client expects."""

import os
import random
import subprocess
import sys
import time

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session

from tests.helpers.hub_server import TOKEN, HubServer, environment

REPO = "tester/resnext"
WEIGHTS = random.Random(0).randbytes(50_000)
CONFIG = b'{"classes": 3}\n'


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture
def api(hub):
    api = HfApi(endpoint=hub.url, token=TOKEN)
    api.create_repo(REPO)
    return api


@pytest.fixture
def anonymous(hub):
    return HfApi(endpoint=hub.url, token=False)


@pytest.fixture
def no_waiting(monkeypatch):
    """Skips the client's pauses between attempts."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def add(path, content):
    return CommitOperationAdd(path_in_repo=path, path_or_fileobj=content)


def commit(api, *operations, **options):
    return api.create_commit(REPO, operations, commit_message="Change files", **options)


def download(api, filename, folder, **options):
    with open(api.hf_hub_download(REPO, filename, cache_dir=folder, **options), "rb") as file:
        return file.read()


def count(hub, method, path):
    return sum(m == method and path in p for m, p in hub.requests)


def test_a_token_names_its_user(hub):
    assert HfApi(endpoint=hub.url, token=TOKEN).whoami()["name"] == "tester"
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(endpoint=hub.url, token="hf_unknown").whoami()


def test_creating_a_repository_again_fails_unless_that_is_accepted(hub, api):
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo(REPO)
    assert error.value.response.status_code == 409
    assert api.create_repo(REPO, exist_ok=True) == f"{hub.url}/{REPO}"
    assert api.create_repo(REPO, repo_type="space", space_sdk="gradio") == f"{hub.url}/spaces/{REPO}"
    assert api.space_info(REPO).sdk == "gradio"


def test_a_user_creates_repositories_only_in_their_own_namespace(api):
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo("somebody/else")
    assert error.value.response.status_code == 403


@pytest.mark.parametrize("kind", ["model", "space"])
def test_a_folder_is_uploaded_in_one_commit_and_downloaded_unchanged(hub, tmp_path, kind):
    files = {
        "weights/model.safetensors": WEIGHTS,
        "config.json": CONFIG,
        "empty.txt": b"",
        "README.md": b"---\nlicense: mit\n---\n# Net\n",
        "figure one.png": WEIGHTS[:100],
    }
    for path, content in files.items():
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / path).write_bytes(content)
    api = HfApi(endpoint=hub.url, token=TOKEN)
    api.create_repo(REPO, repo_type=kind, space_sdk="gradio" if kind == "space" else None)
    info = api.upload_folder(repo_id=REPO, repo_type=kind, folder_path=tmp_path / "in")
    assert count(hub, "POST", "/commit/") == 1
    assert count(hub, "PUT", "/lfs/") == 2

    snapshot = api.snapshot_download(REPO, repo_type=kind, cache_dir=tmp_path / "cache")
    for path, content in files.items():
        with open(os.path.join(snapshot, path), "rb") as file:
            assert file.read() == content
    assert os.path.basename(snapshot) == info.oid == api.repo_info(REPO, repo_type=kind).sha
    assert set(api.list_repo_files(REPO, repo_type=kind)) == {*files, ".gitattributes"}


def test_listings_distinguish_lfs_files_from_regular_ones(api):
    commit(api, add("model.bin", WEIGHTS), add("sub/config.json", CONFIG))
    entries = {entry.path: entry for entry in api.list_repo_tree(REPO, recursive=True)}
    assert set(entries) == {".gitattributes", "model.bin", "sub", "sub/config.json"}
    assert entries["model.bin"].lfs.size == len(WEIGHTS)
    assert entries["sub/config.json"].lfs is None
    assert {entry.path for entry in api.list_repo_tree(REPO)} == {".gitattributes", "model.bin", "sub"}
    sizes = {s.rfilename: s.size for s in api.model_info(REPO, files_metadata=True).siblings}
    assert sizes["model.bin"] == len(WEIGHTS)
    assert sizes["sub/config.json"] == len(CONFIG)


def test_unchanged_content_is_neither_sent_nor_committed_again(hub, api):
    first = commit(api, add("model.bin", WEIGHTS), add("config.json", CONFIG))
    assert commit(api, add("model.bin", WEIGHTS), add("config.json", CONFIG)).oid == first.oid
    commit(api, add("copy.bin", WEIGHTS))
    assert count(hub, "PUT", "/lfs/") == 1
    assert count(hub, "POST", "/commit/") == 2


def test_an_older_revision_can_still_be_downloaded(api, tmp_path):
    old = commit(api, add("model.bin", WEIGHTS), add("gone.txt", b"old"))
    api.create_tag(REPO, tag="v1.0")
    commit(api, add("model.bin", WEIGHTS[::-1]), CommitOperationDelete("gone.txt"))
    assert download(api, "model.bin", tmp_path / "main") == WEIGHTS[::-1]
    for revision in (old.oid, "v1.0", old.oid[:8]):
        assert download(api, "model.bin", tmp_path / revision, revision=revision) == WEIGHTS
        assert api.file_exists(REPO, "gone.txt", revision=revision)
    assert not api.file_exists(REPO, "gone.txt")
    refs = api.list_repo_refs(REPO)
    assert [(ref.name, ref.target_commit) for ref in refs.tags] == [("v1.0", old.oid)]
    assert [ref.name for ref in refs.branches] == ["main"]


def test_a_commit_on_an_outdated_parent_is_refused(api):
    old = api.model_info(REPO).sha
    commit(api, add("a.txt", b"a"), parent_commit=old)
    with pytest.raises(HfHubHTTPError) as error:
        commit(api, add("b.txt", b"b"), parent_commit=old)
    assert error.value.response.status_code == 412
    assert not api.file_exists(REPO, "b.txt")


def test_a_folder_can_be_deleted_and_a_missing_file_cannot(api):
    commit(api, add("logs/a.txt", b"a"), add("logs/b.txt", b"b"))
    commit(api, CommitOperationDelete("logs/"))
    assert api.list_repo_files(REPO) == [".gitattributes"]
    with pytest.raises(EntryNotFoundError):
        commit(api, CommitOperationDelete("logs/a.txt"))


def test_a_pull_request_has_its_own_revision_and_does_not_change_main(hub, api, tmp_path):
    hub.add_user("hf_other", "other")
    other = HfApi(endpoint=hub.url, token="hf_other")
    with pytest.raises(HfHubHTTPError) as error:
        commit(other, add("model.bin", WEIGHTS))
    assert error.value.response.status_code == 403
    pull_request = commit(other, add("model.bin", WEIGHTS), create_pr=True)
    assert pull_request.pr_revision == "refs/pr/1"
    assert not api.file_exists(REPO, "model.bin")
    assert download(api, "model.bin", tmp_path, revision="refs/pr/1") == WEIGHTS
    commit(api, add("more.txt", b"more"), revision="refs/pr/1")
    assert set(api.list_repo_files(REPO, revision="refs/pr/1")) == {".gitattributes", "model.bin", "more.txt"}
    assert commit(api, add("a.txt", b"a"), create_pr=True).pr_num == 2
    assert len(api.list_repo_refs(REPO, include_pull_requests=True).pull_requests) == 2


def test_a_private_repository_is_hidden_from_other_users(hub, anonymous, tmp_path):
    api = HfApi(endpoint=hub.url, token=TOKEN)
    api.create_repo(REPO, private=True)
    commit(api, add("config.json", CONFIG))
    assert api.model_info(REPO).private
    hub.add_user("hf_other", "other")
    for visitor, status in ((anonymous, 401), (HfApi(endpoint=hub.url, token="hf_other"), 404)):
        for ask in (visitor.model_info, visitor.list_repo_files, visitor.snapshot_download):
            with pytest.raises(RepositoryNotFoundError) as error:
                ask(REPO)
            assert error.value.response.status_code == status
        with pytest.raises(RepositoryNotFoundError):
            download(visitor, "config.json", tmp_path)
    assert download(api, "config.json", tmp_path) == CONFIG


def test_an_anonymous_user_has_no_write_access(api, anonymous, tmp_path):
    commit(api, add("config.json", CONFIG))
    assert download(anonymous, "config.json", tmp_path) == CONFIG
    with pytest.raises(HfHubHTTPError) as error:
        commit(anonymous, add("config.json", b"{}"))
    assert error.value.response.status_code == 401


def test_a_gated_repository_shows_its_info_but_not_its_files(hub, api, tmp_path):
    commit(api, add("config.json", CONFIG))
    hub.repos["model", REPO].gated = "auto"
    hub.add_user("hf_other", "other")
    other = HfApi(endpoint=hub.url, token="hf_other")
    assert other.model_info(REPO).gated == "auto"
    with pytest.raises(GatedRepoError) as error:
        download(other, "config.json", tmp_path)
    assert error.value.response.status_code == 403


def test_a_missing_repository_file_and_revision_have_errors_of_their_own(api, anonymous, tmp_path):
    for visitor, status in ((api, 404), (anonymous, 401)):
        with pytest.raises(RepositoryNotFoundError) as error:
            visitor.model_info("tester/unknown")
        assert error.value.response.status_code == status
    with pytest.raises(EntryNotFoundError):
        download(api, "unknown.bin", tmp_path)
    with pytest.raises(RevisionNotFoundError):
        download(api, "config.json", tmp_path, revision="unknown")
    with pytest.raises(RevisionNotFoundError):
        api.snapshot_download(REPO, revision="unknown", cache_dir=tmp_path)


def test_a_card_with_broken_metadata_is_refused_before_the_upload(hub, api):
    with pytest.raises(ValueError, match="Invalid metadata"):
        commit(api, add("README.md", b"---\nlicense: mit\n# Net\n"))
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        commit(api, add("README.md", b"# Net\n"))
    assert count(hub, "POST", "/commit/") == 1


def test_a_range_of_a_file_is_served(hub, api):
    commit(api, add("model.bin", WEIGHTS))
    url = f"{hub.url}/{REPO}/resolve/main/model.bin"
    for requested, expected in (("bytes=10-19", WEIGHTS[10:20]), ("bytes=49000-", WEIGHTS[49000:])):
        answer = get_session().get(url, headers={"Range": requested})
        assert (answer.status_code, answer.content) == (206, expected)


def test_a_request_is_repeated_while_the_hub_is_unavailable(hub, api, tmp_path, no_waiting):
    commit(api, add("model.bin", WEIGHTS))
    hub.fail_next(2, 503)
    assert download(api, "model.bin", tmp_path) == WEIGHTS
    assert count(hub, "HEAD", "model.bin") == 3


def test_a_failed_commit_is_an_error_and_can_be_repeated(hub, api, tmp_path):
    hub.fail_next(1, 503, path="/commit/")
    with pytest.raises(HfHubHTTPError) as error:
        commit(api, add("model.bin", WEIGHTS))
    assert error.value.response.status_code == 503
    assert not api.file_exists(REPO, "model.bin")
    commit(api, add("model.bin", WEIGHTS))
    assert download(api, "model.bin", tmp_path) == WEIGHTS
    assert count(hub, "PUT", "/lfs/") == 1


def test_a_truncated_download_is_noticed_and_repeated(hub, api, tmp_path, no_waiting):
    commit(api, add("model.bin", WEIGHTS))
    hub.truncate_next_download()
    assert download(api, "model.bin", tmp_path) == WEIGHTS
    assert count(hub, "GET", "model.bin") == 2


def test_a_download_that_is_always_truncated_leaves_nothing_behind(hub, api, tmp_path, no_waiting):
    commit(api, add("model.bin", WEIGHTS))
    hub.truncate_next_download(6)
    with pytest.raises(Exception, match="incomplete|without sending complete message body"):
        download(api, "model.bin", tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith((".bin", ".incomplete"))]
    assert download(api, "model.bin", tmp_path) == WEIGHTS


def test_the_cache_is_used_while_the_hub_cannot_be_reached(tmp_path, no_waiting):
    with HubServer() as hub:
        api = HfApi(endpoint=hub.url, token=TOKEN)
        api.create_repo(REPO)
        commit(api, add("config.json", CONFIG))
        download(api, "config.json", tmp_path)
    with pytest.raises(Exception, match="refused"):
        api.model_info(REPO)
    assert download(api, "config.json", tmp_path) == CONFIG


def test_a_subprocess_uses_the_hub_of_its_environment(hub, tmp_path):
    program = (
        "from huggingface_hub import HfApi; api = HfApi(); api.create_repo('tester/net');"
        "api.upload_file(path_or_fileobj=b'{}', path_in_repo='config.json', repo_id='tester/net');"
        "print(api.hf_hub_download('tester/net', 'config.json'))"
    )
    variables = {**os.environ, "HF_TOKEN": "hf_of_the_parent", **environment(hub.url, tmp_path, TOKEN)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=variables, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(tmp_path / "hub"))
    assert (tmp_path / "hub/models--tester--net").is_dir()
    assert count(hub, "GET", "/tester/net/resolve/") == 1
