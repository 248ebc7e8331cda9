"""What a download from the Hub does when something goes wrong: it says why, and keeps the copy that works."""

import contextlib
import json
import logging
import os
import resource
import socketserver
import subprocess
import threading
import time
from email.utils import formatdate

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from resnext import hub as client
from resnext import hub_requests
from resnext.classifier import Classifier
from resnext.cli import app
from resnext.errors import RepositoryError, ResNeXtError
from resnext.repository import OPTIONAL
from tests.helpers.certificates import make_certificate
from tests.helpers.forks import hub_python
from tests.helpers.hub_client import until
from tests.helpers.hub_server import TOKEN, File, HubServer, Repo, environment, in_this_process
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.slow
PROGRAM = """
import json, os, resource, sys
from resnext import hub, hub_requests
hub_requests.MAX_WAIT = float(sys.argv[4])
hub_requests.TIMEOUT = 1
from resnext.errors import RepositoryError
if "megabytes" in os.environ:
    most = int(float(os.environ["megabytes"]) * 2**20)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
for optional in json.loads(sys.argv[1]):
    try:
        pulled = hub.pull(sys.argv[2], sys.argv[3] or None, optional, anonymous="anonymous" in os.environ)
        print(json.dumps([pulled.commit, pulled.notice, sorted(
            str(path.relative_to(pulled.folder)) for path in pulled.folder.rglob("*") if path.is_file())]))
    except RepositoryError as error:
        print(json.dumps([None, str(error), []]))
"""
EXAMPLES = [f"examples/{index:02}.jpg" for index in range(30)]


@pytest.fixture
def hub(tiny_repository):
    """A Hub with tester/tiny: weights, results, and more files than anybody reads."""
    files = {
        "config.json": File((tiny_repository / "config.json").read_bytes()),
        "model.safetensors": File((tiny_repository / "model.safetensors").read_bytes(), lfs=True),
        "history.csv": File(b"epoch\n"),
        "pytorch_model.bin": File(b"pickle"),
        "examples/evil.exe": File(b"MZ"),
        **{name: File(name.encode(), lfs=True) for name in EXAMPLES},
    }
    with HubServer() as server:
        repo = server.repos["model", "tester/tiny"] = Repo("model", "tester/tiny")
        repo.add("refs/heads/main", files, "first")
        yield server


def change(hub, name="config.json", suffix=b"\n", **more):
    """Makes a new commit in which a file is another one, and others replace theirs. Returns both commits."""
    repo = hub.repos["model", "tester/tiny"]
    _, before, files = repo.find("main")
    content = File(files[name].content + suffix, lfs=bool(files[name].lfs))
    return before, repo.add("refs/heads/main", {**files, name: content, **more}, "next")


@pytest.fixture
def pull(hub, tmp_path):
    """Pulls in a process of its own: [commit, notice or error, files], and everything that it printed."""

    def pull(repo_id="tester/tiny", revision="", optional=((),), token="", patience=0.5, **variables):
        result = subprocess.run(
            [*hub_python(), "-c", PROGRAM, json.dumps(optional), repo_id, revision, str(patience)],
            cwd=ROOT,
            env=os.environ | environment(hub.url, tmp_path / "home", token) | variables,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr
        assert hub.url.removeprefix("http://") not in result.stdout
        return json.loads(result.stdout.splitlines()[-1])

    return pull


def test_only_what_is_needed_is_downloaded(hub, pull):
    commit, notice, files = pull()
    assert (commit, notice) == (hub.repos["model", "tester/tiny"].find("main")[1], "")
    assert files == ["config.json", "model.safetensors"]
    assert len(hub.requests) <= 5
    hub.requests.clear()
    pull()
    assert len(hub.requests) == 1, "what is here is not asked for again"
    hub.requests.clear()
    assert pull(revision=commit)[0] == commit
    assert not hub.requests, "a commit never changes"


def test_optional_files_are_bounded_and_only_those_that_are_read(pull):
    _, notice, files = pull(optional=[["history.csv", "examples/*"]])
    assert notice == ""
    assert files == ["config.json", *EXAMPLES[:24], "history.csv", "model.safetensors"]


def test_a_missing_optional_file_does_not_keep_the_model_from_opening(hub, pull):
    hub.fail_next(1, 404, "history.csv")
    commit, notice, files = pull(optional=[["history.csv"]])
    assert commit
    assert notice.startswith("Some results of tester/tiny are missing: ")
    assert "so history.csv of tester/tiny could not be downloaded" in notice
    assert files == ["config.json", "model.safetensors"]


def test_a_file_name_that_leaves_the_folder_or_is_invalid_is_harmless(hub, pull, tmp_path):
    climbing, nameless = "examples/../../../../../../climbed.jpg", "examples/a\0b.jpg"
    change(hub, **{climbing: File(b"x"), nameless: File(b"x")})
    commit, _, files = pull(optional=[["examples/*"]])
    assert commit
    assert set(files) <= {"config.json", "model.safetensors", *EXAMPLES}
    assert not list(tmp_path.rglob("*climbed*"))


FAULTS = {
    "401": ((99, 401, ""), "does not accept the token"),
    "403": ((99, 403, ""), "does not allow the download"),
    "407": ((99, 407, ""), "The proxy asks for a login"),
    "408": ((99, 408, ""), "The Hub did not answer"),
    "404 of the storage": ((99, 404, "/resolve/"), "no longer has one of its files"),
    "429": ((99, 429, ""), "asks for fewer requests"),
    "500": ((99, 500, ""), "The Hub failed (HTTP 500)"),
    "502 of the weights": ((99, 502, "model.safetensors"), "The Hub failed (HTTP 502)"),
    "503": ((99, 503, ""), "The Hub failed (HTTP 503)"),
    "504 of the config": ((99, 504, "config.json"), "The Hub failed (HTTP 504)"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_reason_is_said_and_an_older_copy_is_used(name, hub, pull):
    fault, words = FAULTS[name]
    hub.fail_next(*fault)
    commit, error, _ = pull()
    assert commit is None
    assert words in error
    hub.faults.clear()
    before = pull()[0]
    change(hub, "config.json")
    change(hub, "model.safetensors", b"")
    hub.fail_next(*fault)
    commit, notice, _ = pull()
    assert commit == before
    assert words in notice
    assert notice.endswith(f"Until then, the copy of commit {before[:7]} is used.")
    hub.faults.clear()
    commit, notice, _ = pull()
    assert (commit, notice) == (hub.repos["model", "tester/tiny"].find("main")[1], "")


@pytest.mark.parametrize(
    "status, path",
    [(429, "/api/"), (500, "/api/"), (502, "config.json"), (503, "config.json"), (504, "model.safetensors")],
)
def test_a_fault_that_passes_is_waited_for(status, path, hub, pull):
    hub.fail_next(1, status, path, Retry_After=1)
    assert pull(patience=5)[1] == ""


def test_a_hub_that_asks_to_wait_for_an_hour_is_not_waited_for(hub, pull):
    hub.fail_next(99, 429, "model.safetensors", Retry_After=3600)
    began = time.monotonic()
    assert "try again in 3600 s" in pull(patience=60)[1]
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "header, words",
    [
        ({"Retry_After": formatdate(time.time() + 7200, usegmt=True)}, r"try again in [67]\d\d\d s"),
        ({"RateLimit": '"api";r=0;t=200'}, "try again in 201 s"),  # the Hub's own
        ({"Retry_After": "9" * 400}, "try again later"),
        ({"Retry_After": "Mon, 99 Foo 2026 99:99:99 GMT"}, "try again later"),
    ],
)
def test_the_time_to_wait_is_understood_in_each_form(header, words, hub, tmp_path, monkeypatch):
    monkeypatch.setattr(hub_requests, "MAX_WAIT", 0.9)
    hub.fail_next(99, 429, "/api/", **header)
    with in_this_process(hub.url, tmp_path / "home"), pytest.raises(RepositoryError, match=words):
        client.pull("tester/tiny", None)


def test_a_time_to_wait_that_is_short_is_waited_for(hub, tmp_path):
    hub.fail_next(1, 429, "/api/", RateLimit='"api";r=0;t=1')
    began = time.monotonic()
    with in_this_process(hub.url, tmp_path / "home"):
        assert client.pull("tester/tiny", None).notice == ""
    assert time.monotonic() - began >= 2


@pytest.mark.parametrize(
    "status, content, headers",
    [
        (307, b"", {"Location": "/api/models/tester/tiny?blobs=true"}),  # for ever
        (200, b"{}", {"Content_Encoding": "gzip"}),
        (200, b"", {}),
        (200, b'{"sha": "main", "siblings": null}', {}),
    ],
)
def test_answers_that_no_hub_gives_are_named(status, content, headers, hub, tmp_path):
    hub.fail_next(99, status, "/api/", content=content, **headers)
    with (
        in_this_process(hub.url, tmp_path / "home"),
        pytest.raises(RepositoryError, match="is not one of the Hub's, .*, or look for a proxy"),
    ):
        client.pull("tester/tiny", None)


def test_a_certificate_that_is_not_trusted_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(hub_requests, "MAX_WAIT", 0.5)
    with (
        HubServer(certificate=make_certificate(tmp_path)) as hub,
        in_this_process(hub.url, tmp_path / "home"),
        pytest.raises(RepositoryError, match="is not trusted, so .*: if a proxy here .* SSL_CERT_FILE"),
    ):
        client.pull("tester/tiny", None)


def test_a_repository_that_was_renamed_is_found(hub, tmp_path):
    hub.repos["model", "tester/new"] = hub.repos.pop(("model", "tester/tiny"))
    hub.fail_next(1, 307, "/api/", content=b"", Location="/api/models/tester/new?blobs=true")
    for name in ("config.json", "model.safetensors"):
        for _ in range(2):
            hub.fail_next(1, 307, name, content=b"", Location=f"/tester/new/resolve/main/{name}")
    with in_this_process(hub.url, tmp_path / "home"):
        pulled = client.pull("tester/tiny", None)
    assert (pulled.commit, pulled.notice) == (hub.repos["model", "tester/new"].find("main")[1], "")


def test_a_branch_may_have_a_slash_in_its_name(hub, pull):
    commit = hub.repos["model", "tester/tiny"].find("main")[1]
    hub.repos["model", "tester/tiny"].refs["refs/heads/better/colors"] = commit
    assert pull(revision="better/colors")[:2] == [commit, ""]
    hub.fail_next(99, 503)
    assert pull(revision="better/colors")[0] == commit


@pytest.mark.parametrize("path", ["/api/", "config.json", "model.safetensors"])
def test_a_hub_that_never_answers_is_given_up(path, hub, pull):
    before = pull()[0]
    change(hub, "model.safetensors", b"")
    change(hub, "config.json")
    hub.gates[path] = threading.Event()
    began = time.monotonic()
    commit, notice, _ = pull()
    hub.gates[path].set()
    assert time.monotonic() - began < 40
    assert commit == before
    assert "did not answer" in notice or "cannot be reached" in notice


@pytest.mark.parametrize("path", ["/api/", "model.safetensors"])
def test_an_answer_that_drips_is_given_up(path, hub, tmp_path, monkeypatch):
    monkeypatch.setattr(hub_requests, "_STALLED_AFTER", 0.3)
    hub.drips[path] = 0.01
    words = "The Hub sent less than 1 kB/s for 0.3 s, so tester/tiny could not be downloaded: try again later"
    with in_this_process(hub.url, tmp_path / "home"):
        with pytest.raises(RepositoryError, match=words):
            client.pull("tester/tiny", None)
        monkeypatch.setattr(hub_requests, "_MIN_RATE", 1)  # slow, but fast enough
        del hub.drips[path]
        hub.drips["config.json"] = 0.001
        assert client.pull("tester/tiny", None).notice == ""


@pytest.mark.parametrize("path", ["/api/", "config.json"])
def test_headers_that_drip_are_given_up(path, hub, tmp_path, monkeypatch):
    monkeypatch.setattr(hub_requests, "TIMEOUT", 0.2)
    hub.header_drips[path] = 0.05
    words = "The Hub did not answer, so tester/tiny could not be downloaded: try again later"
    with in_this_process(hub.url, tmp_path / "home"):
        with pytest.raises(RepositoryError, match=words):
            client.pull("tester/tiny", None)
        hub.header_drips.clear()
        assert client.pull("tester/tiny", None).notice == ""


def test_a_damaged_update_is_not_used_and_the_older_copy_is(hub, pull):
    before = pull()[0]
    _, after = change(hub, "model.safetensors", b"")
    change(hub)
    file = hub.repos["model", "tester/tiny"].find("main")[2]["config.json"]
    whole = file.content
    file.content = whole[:-2] + b"!\n"
    commit, notice, _ = pull()
    assert commit == before != after
    assert "arrived damaged: config.json is not the file that the Hub announced" in notice
    file.content = whole
    assert pull()[1] == ""


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_an_invalid_commit_is_not_remembered_as_the_last_copy(name, hub, pull):
    """Its owner has pushed a file that cannot be read; with the Hub out of reach, the one before is used."""
    before = pull()[0]
    repo = hub.repos["model", "tester/tiny"]
    files = repo.find("main")[2]
    broken = File(b"not what it was", lfs=bool(files[name].lfs))
    after = repo.add("refs/heads/main", {**files, name: broken}, "broken")
    assert pull()[0] == after
    hub.fail_next(99, 503)
    assert pull()[0] == before


def test_a_file_that_was_changed_in_the_cache_is_downloaded_again(hub, pull, tmp_path):
    commit = pull()[0]
    blob = next(tmp_path.rglob("snapshots/*/model.safetensors")).resolve()
    blob.write_bytes(bytes(len(blob.read_bytes())))
    assert "arrived damaged" in pull()[1]
    assert pull()[:2] == [commit, ""]


def test_a_wrong_token_does_not_keep_a_public_model_from_opening(hub, pull):
    commit, notice, _ = pull(token="hf_wrong")
    assert commit == hub.repos["model", "tester/tiny"].find("main")[1]
    assert notice.startswith("The Hub does not accept the token that was sent, so tester/tiny was downloaded")
    assert "hf_wrong" not in notice


def test_a_wrong_token_on_a_private_model_is_named_and_not_shown(hub, pull):
    hub.repos["model", "tester/tiny"].private = True
    error = pull(token="hf_wrong")[1]
    assert "does not accept the token that was sent" in error
    assert "hf_wrong" not in error
    assert TOKEN not in error


def test_without_a_token_a_copy_that_a_token_opened_is_not_used(hub, pull):
    hub.repos["model", "tester/tiny"].private = True
    assert pull(token=TOKEN)[0]
    hub.tokens.clear()
    assert "is not on the Hub" in pull(token=TOKEN, anonymous="1")[1]
    hub.fail_next(99, 503)
    assert "HTTP 503" in pull(token=TOKEN, anonymous="1")[1]
    assert not any(hub.tokens)


def test_a_full_disk_is_named_and_the_next_run_works(hub, pull):
    commit, error, _ = pull(megabytes="0.02")
    assert commit is None
    assert error.startswith("The disk of ")
    assert "is full, so tester/tiny could not be downloaded: make room there" in error
    before = pull()[0]
    change(hub, "model.safetensors", b"")
    change(hub)
    repo = hub.repos["model", "tester/tiny"]
    files = repo.find("main")[2]
    larger = File(files["model.safetensors"].content + bytes(8), lfs=True)
    repo.add("refs/heads/main", {**files, "model.safetensors": larger}, "larger")
    commit, notice, _ = pull(megabytes="0.02")
    assert commit == before
    assert "is full" in notice
    assert notice.endswith("is used.")


def test_a_commit_that_was_preloaded_is_used_while_the_hub_is_down(hub, pull, tmp_path):
    commit = pull()[0]
    for record in tmp_path.rglob("refs/main"):  # who asks for a commit records no branch
        record.unlink()
    hub.requests.clear()
    assert pull()[:2] == [commit, ""]
    assert len(hub.requests) == 1
    for record in tmp_path.rglob("refs/main"):
        record.unlink()
    hub.fail_next(99, 503)
    assert pull()[0] == commit


@pytest.mark.parametrize(
    "variables, words",
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "The Hub cannot be reached"),
        ({"HF_ENDPOINT": "127.0.0.1:9"}, "HF_ENDPOINT is not valid"),
        ({"SSL_CERT_FILE": "/nowhere.pem"}, "SSL_CERT_FILE or SSL_CERT_DIR does not name certificates"),
        ({"HTTP_PROXY": "nonsense://x", "NO_PROXY": "", "no_proxy": ""}, "The proxy of HTTP_PROXY,"),
        ({"ALL_PROXY": "socks5://127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""}, "proxy"),
        ({"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""}, "The Hub cannot be reached"),
    ],
)
def test_what_keeps_the_hub_from_being_asked_is_said(variables, words, hub, pull):
    commit, error, _ = pull(**variables)
    assert commit is None
    assert words in error
    before = pull()[0]
    change(hub)
    commit, notice, _ = pull(**variables)
    assert commit == before
    assert notice.endswith("is used.")


@pytest.mark.parametrize(
    "token, content, words",
    [
        ("", b"<html>Log in</html>", "The answer is not one of the Hub's"),
        ("", b"[1, 2]", "The answer is not one of the Hub's"),
        ("hf_schlüssel", None, "HF_TOKEN has characters that no token has"),
    ],
)
def test_a_page_that_answers_for_the_hub_and_a_broken_token_are_named(
    token, content, words, hub, tmp_path, monkeypatch
):
    # Certificates of the user's own, which are there, are not the fault.
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if content:
        hub.fail_next(9, 200, "config.json", method="HEAD", content=content)
    with in_this_process(hub.url, tmp_path / "home", token), pytest.raises(RepositoryError, match=words):
        client.pull("tester/tiny", None)


@pytest.mark.parametrize(
    "status, location, words",
    [
        ("reset", "", "The Hub cannot be reached"),
        (302, "http://127.0.0.2:9/?Signature=secret", "The Hub answers, but its storage of files cannot be"),
    ],
)
def test_the_client_s_warnings_do_not_show_addresses(
    status, location, words, hub, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(hub_requests, "MAX_WAIT", 0.5)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    logger = logging.getLogger("huggingface_hub")
    monkeypatch.setattr(logger, "propagate", True)
    method = "GET" if location else ""  # the body; the client repeats only the requests of bodies
    hub.fail_next(9, status, "model.safetensors", method=method, content=b"", Location=location)
    with in_this_process(hub.url, tmp_path / "home"), pytest.raises(RepositoryError, match=words):
        client.pull("tester/tiny", None)
    assert hub.url not in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://example.com/x", "gopher:x"])
@pytest.mark.parametrize("path", ["/api/", "model.safetensors"])
def test_an_answer_that_leads_elsewhere_is_not_blamed_on_the_proxy(
    location, path, hub, tmp_path, monkeypatch
):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    hub.fail_next(9, 302, path, method="GET", content=b"", Location=location)
    with (
        in_this_process(hub.url, tmp_path / "home"),
        pytest.raises(RepositoryError, match="The answer leads to an address that is not one of the web"),
    ):
        client.pull("tester/tiny", None)


@pytest.mark.parametrize(
    "answer, words",
    [
        (b"220 mail.example.com ESMTP\r\n\r\n", "The answer is not one of the Hub's"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "The answer is not one of the Hub's"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "The connection to the Hub broke"),
        (b"", "The Hub cannot be reached"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_is_not_the_hub_is_told_from_none(scheme, answer, words, tmp_path, monkeypatch):
    monkeypatch.setattr(hub_requests, "MAX_WAIT", 0.5)
    with (
        answering(answer) as port,
        in_this_process(f"{scheme}://127.0.0.1:{port}", tmp_path / "home"),
        pytest.raises(RepositoryError, match=words if scheme == "http" else "encrypted|cannot be reached"),
    ):
        client.pull("tester/tiny", None)


@contextlib.contextmanager
def answering(answer):
    """A server that answers every connection with these bytes; yields its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(4096)
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_file_of_the_login_that_is_not_text_is_named(hub, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_bytes(b"\xff\xfe")
    with (
        in_this_process(hub.url, tmp_path / "home", ""),
        pytest.raises(RepositoryError, match="The file of the login's token is not text"),
    ):
        client.pull("tester/tiny", None)


@pytest.fixture
def locked(hub, tmp_path, monkeypatch):
    """A lock of the weights, as another process holds it that downloads them, and short waits for it."""
    monkeypatch.setattr(hub_requests, "_REPORT_LOCK_AFTER", 0.2)
    monkeypatch.setattr("huggingface_hub.constants.FILELOCK_LOG_EVERY_SECONDS", 10)
    name = f"{hub.repos['model', 'tester/tiny'].find('main')[2]['model.safetensors'].etag}.lock"
    path = tmp_path / "home" / "hub" / ".locks" / "models--tester--tiny" / name
    path.parent.mkdir(parents=True)
    with FileLock(path, thread_local=False) as lock, in_this_process(hub.url, tmp_path / "home"):
        yield lock


def test_a_download_by_another_process_is_waited_for_and_said(locked, capsys):
    def release():
        until(lambda: "Another process is downloading tester/tiny: waiting" in capsys.readouterr().err)
        locked.release()

    thread = threading.Thread(target=release)
    thread.start()
    assert client.pull("tester/tiny", None).notice == ""
    thread.join()


def test_another_process_that_makes_no_progress_is_not_waited_for(locked, monkeypatch, capsys):
    monkeypatch.setattr(hub_requests, "_MAX_LOCKED", 0.5)
    with pytest.raises(RepositoryError) as error:
        client.pull("tester/tiny", None)
    assert str(error.value).startswith("Another process has been downloading this for ")
    assert str(error.value).endswith(f"end it and try again, or if there is none, delete {locked.lock_file}.")
    assert capsys.readouterr().err.count("Another process is downloading") == 1


def test_a_cache_that_cannot_be_written_is_named(pull, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    error = pull(HF_HUB_CACHE=str(tmp_path / "file" / "hub"))[1]
    assert (
        "cannot be written, so tester/tiny could not be downloaded: set HF_HOME to a folder that can" in error
    )


def test_a_file_in_the_cache_that_cannot_be_used_is_named(hub, pull, tmp_path):
    file = hub.repos["model", "tester/tiny"].find("main")[2]["model.safetensors"]
    (tmp_path / "home" / "hub" / "models--tester--tiny" / "blobs" / file.etag).mkdir(parents=True)
    assert "cannot be used (is a directory), so tester/tiny could not be downloaded" in pull()[1]


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("config.json", b"", "is not valid JSON (it is empty)"),
        ("config.json", b'{"architecture": "resn', "is not valid JSON (Unterminated string"),
        ("config.json", b"{}", "cannot be used: "),
        ("model.safetensors", b"", "is not a valid safetensors file, or is incomplete"),
        ("model.safetensors", b"version https://git-lfs", "is a Git LFS pointer, not the weights"),
    ],
)
def test_an_invalid_file_is_named_by_its_repository(name, content, words, hub, tmp_path):
    _, commit = change(hub, **{name: File(content)})
    with in_this_process(hub.url, tmp_path / "home"), pytest.raises(ResNeXtError) as error:
        Classifier.from_pretrained("tester/tiny")
    assert str(error.value).startswith(f"{name} of tester/tiny (commit {commit[:7]}) {words}")
    assert str(tmp_path) not in str(error.value)
    if content != b"{}":
        assert "name another revision or model, or ask its owner to push a valid" in str(error.value)


@pytest.mark.parametrize(
    "precision, files, words",
    [
        ("auto", {"ood.safetensors": b"\xff" * 9}, "ood.safetensors of tester/tiny (commit "),
        (
            "int8",
            {"openvino_int8.xml": b"<net/>", "quantization.json": b""},
            "tester/tiny has an invalid int8 graph (quantization.json is not valid): classifying in float32",
        ),
    ],
)
def test_an_invalid_optional_file_is_named_by_its_repository(precision, files, words, hub, tmp_path):
    change(hub, **{name: File(content) for name, content in files.items()})
    with in_this_process(hub.url, tmp_path / "home"):
        notice = Classifier.from_pretrained("tester/tiny", precision=precision).notice
    assert notice.startswith(words)
    assert str(tmp_path) not in notice


def test_weights_beyond_the_network_are_refused_before_they_are_downloaded(hub, pull):
    change(hub, "model.safetensors", bytes(64 * 2**20))
    commit, error, _ = pull()
    assert commit is None
    assert "but the network of its config.json has at most" in error
    assert not [path for _, path in hub.requests if "/resolve/" in path and "model.safetensors" in path]


def test_a_repository_with_a_pickle_alone_says_how_to_convert_it(hub, pull):
    repo = hub.repos["model", "tester/tiny"]
    files = dict(repo.find("main")[2])
    del files["model.safetensors"]
    repo.add("refs/heads/main", files, "pickle")
    assert "only as a pickle, pytorch_model.bin, which is not opened: convert it" in pull()[1]
    del files["pytorch_model.bin"]
    files |= {"openvino_int8.bin": File(b"int8"), "ood.safetensors": File(b"", lfs=True)}
    repo.add("refs/heads/main", files, "neither")
    assert "tester/tiny on the Hub is not a model repository: it has no model.safetensors." in pull()[1]


def test_a_copy_that_does_not_fit_on_the_disk_leaves_no_folder(hub, tmp_path):
    def download():
        return CliRunner().invoke(app, ["download", "tester/tiny", "--to", str(tmp_path / "copy")])

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with in_this_process(hub.url, tmp_path / "home"):
        client.pull("tester/tiny", None, OPTIONAL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            result = download()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert f"{tmp_path / 'copy'} cannot be written (File too large)" in str(result.exception)
        assert {path.name for path in tmp_path.iterdir()} == {"home", "tiny"}
        assert download().exit_code == 0
    assert (tmp_path / "copy" / "model.safetensors").is_file()


def test_for_an_unknown_revision_or_repository_no_older_copy_is_used(hub, pull, tmp_path):
    pull()
    assert "has no revision 'v9'" in pull(revision="v9")[1]
    with (
        in_this_process(hub.url, tmp_path / "home"),
        pytest.raises(RepositoryError, match=r"tester/tiny has no revision '\.\.'"),
    ):
        client.pull("tester/tiny", "..")
    del hub.repos["model", "tester/tiny"]
    commit, error, _ = pull()
    assert commit is None
    assert "is not on the Hub" in error
