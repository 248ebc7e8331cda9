"""What a page needs of its machine: addresses, folders, certificates, accounts, proxies, and a web server."""

import contextlib
import errno
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time

import httpx
import pytest
from gradio import networking
from gradio_client import Client, handle_file
from playwright.sync_api import expect

from resnext.errors import ConfigError
from resnext.page import hosting
from resnext.page.hosting import (
    check_address,
    check_certificate,
    check_upload_folder,
    reach_itself_directly,
    read_accounts,
)
from resnext.page.launch import serve
from resnext.page.layout import build_page
from tests.helpers.certificates import make_certificate
from tests.helpers.pages import PATIENCE, bars, free_port, page_process, served, upload
from tests.helpers.paths import ROOT
from tests.helpers.photographs import save_image


def test_a_free_address_is_accepted():
    for host in ("127.0.0.1", "localhost", "0.0.0.0"):
        check_address(host, None)
        check_address(host, free_port())


def test_a_port_in_use_is_named_with_the_option_that_helps():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for host in ("127.0.0.1", "0.0.0.0"):
            with pytest.raises(ConfigError, match=rf"Port {port} is in use .*--port \(GRADIO_SERVER_PORT\)"):
                check_address(host, port)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_an_address_of_another_machine_is_named_with_the_option_that_helps(host):
    with pytest.raises(ConfigError, match=rf"{host} is not an address .*--host \(GRADIO_SERVER_NAME\)"):
        check_address(host, 7860)


@pytest.mark.parametrize("host", ["no such host", "a" * 300, "\N{SNOWMAN}.." * 3])
def test_a_host_that_is_not_a_name_is_refused(host):
    with pytest.raises(ConfigError, match="is not the address of a machine"):
        check_address(host, 7860)


@pytest.mark.parametrize(
    "number, reason",
    [(errno.EACCES, "only by an administrator: choose a --port"), (errno.ENOBUFS, "cannot be opened")],
)
def test_a_port_that_may_not_be_opened_is_named(monkeypatch, number, reason):
    def refuse(family, place):
        return OSError(number, os.strerror(number))

    monkeypatch.setattr(hosting, "_bind_fault", refuse)
    with pytest.raises(ConfigError, match=f"Port 80 .*{reason}"):
        check_address("127.0.0.1", 80)


def test_a_folder_of_uploads_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "new" / "uploads"))
    check_upload_folder()
    assert list((tmp_path / "new" / "uploads").iterdir()) == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file" / "uploads"))
    with pytest.raises(ConfigError, match=r"file/uploads \(Not a directory\): .* GRADIO_TEMP_DIR"):
        check_upload_folder()


def test_a_folder_of_another_user_is_refused(tmp_path):
    """As root may write everywhere, another user tries."""
    if os.getuid():
        pytest.skip("only root can become another user")
    folder = tmp_path / "uploads"
    folder.mkdir(mode=0o755)
    process = os.fork()
    if not process:
        os.setuid(65534)
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        try:
            check_upload_folder()
        except ConfigError as error:
            os._exit(17 if "Permission denied" in str(error) else 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 17


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate and its key."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def test_a_certificate_has_to_fit_its_key(certificate, tmp_path):
    check_certificate(*certificate)
    with pytest.raises(ConfigError, match="cannot be used for HTTPS"):
        check_certificate(certificate[0], certificate[0])
    with pytest.raises(ConfigError, match=r"gone\.pem cannot be read \(No such file"):
        check_certificate(certificate[0], tmp_path / "gone.pem")
    (tmp_path / "text.pem").write_text("no certificate", "utf-8")
    with pytest.raises(ConfigError, match=r"text\.pem and .*not in PEM format|text\.pem and .*no start line"):
        check_certificate(tmp_path / "text.pem", certificate[1])
    locked = tmp_path / "locked.pem"
    lock = ["openssl", "rsa", "-aes256", "-passout", "pass:x", "-in", certificate[1], "-out", locked]
    subprocess.run(lock, check=True, capture_output=True)
    with pytest.raises(ConfigError, match="without a password"):
        check_certificate(certificate[0], locked)


def test_accounts_come_from_options_and_a_file(tmp_path):
    file = tmp_path / "accounts"
    file.write_text("# visitors\n\nbee:buzz: buzz\n", "utf-8")
    assert read_accounts([], None) == []
    assert read_accounts(["ant:six"], file) == [("ant", "six"), ("bee", "buzz: buzz")]


@pytest.mark.parametrize("content", [b"", b"# none\n", b"secret\n", b"user:\n", b"\xff:\xff"])
def test_an_invalid_account_is_refused_without_showing_it(tmp_path, content):
    file = tmp_path / "accounts"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as refusal:
        read_accounts([], file)
    assert "accounts" in str(refusal.value)
    assert "secret" not in str(refusal.value)
    with pytest.raises(ConfigError, match="write USER:PASSWORD") as refusal:
        read_accounts(["secret"], None)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("known", ["", "example.org, 10.0.0.1"])
def test_loopback_and_the_own_address_need_no_proxy(monkeypatch, known):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", known)
    reach_itself_directly("192.168.0.7")
    for name in ("no_proxy", "NO_PROXY"):
        hosts = os.environ[name].split(",")
        assert hosts == [*filter(None, known.split(", ")), "localhost", "127.0.0.1", "::1", "192.168.0.7"]
        monkeypatch.delenv(name)


@pytest.mark.slow
def test_proxies_do_not_keep_a_page_from_starting(repository):
    nowhere = f"127.0.0.1:{free_port()}"
    proxies = {"http_proxy": f"http://{nowhere}", "HTTPS_PROXY": f"http://{nowhere}", "no_proxy": ""}
    with page_process("--model", repository, ALL_PROXY=f"socks5://{nowhere}", **proxies) as address:
        assert httpx.get(address, trust_env=False).status_code == 200


@pytest.mark.slow
def test_a_page_starts_that_is_too_busy_to_answer_itself_at_once(monkeypatch, repository):
    # What Gradio finds after 3 seconds without an answer.
    monkeypatch.setattr(networking, "url_ok", lambda address: False)
    with served(repository) as address:
        assert httpx.get(address, trust_env=False).status_code == 200


def test_a_page_over_https_lets_only_visitors_in_who_log_in(repository, certificate, tmp_path, monkeypatch):
    files = dict(zip(("--ssl-certfile", "--ssl-keyfile"), certificate))
    (tmp_path / "accounts").write_text("ant:six legs\n", "utf-8")
    options = [word for pair in files.items() for word in pair]
    port = free_port()
    image = save_image(tmp_path / "photograph.png", seed=7)
    with page_process(
        "--model", repository, "--auth-file", tmp_path / "accounts", *options, "--port", port
    ) as address:
        assert address.startswith("https://")
        assert httpx.get(f"{address}/config", verify=False, trust_env=False).status_code == 401
        client = Client(address, auth=("ant", "six legs"), ssl_verify=False, verbose=False)
        answer = client.predict(handle_file(image), api_name="/classify")
        assert len(answer["confidences"]) == 5


@contextlib.contextmanager
def nginx(folder: pathlib.Path, port: int, page_port: int):
    """Runs nginx with the example of the page's README."""
    text = (ROOT / "resnext" / "page" / "README.md").read_text("utf-8")
    server = re.search("```nginx\n(.+?)```", text, re.DOTALL)[1]
    server = server.replace("listen 80;", f"listen 127.0.0.1:{port};").replace(":7860", f":{page_port}")
    folders = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # Of root's nginx, the processes that serve are another user's, who may not write to this folder.
    user = "user root;\n" if os.getuid() == 0 else ""
    config = f"{user}pid {folder}/pid;\nevents {{}}\nhttp {{ access_log off;\n{folders}{server}}}\n"
    (folder / "nginx.conf").write_text(config, "utf-8")
    command = ["nginx", "-p", folder, "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_the_page_works_behind_nginx_as_documented(browser, models, tmp_path):
    page_port = free_port()
    built = build_page(models)
    serve(built, "127.0.0.1", page_port, prevent_thread_lock=True, quiet=True, root_path="/resnext")
    image = save_image(tmp_path / "photograph.png", seed=7)
    with nginx(tmp_path, free_port(), page_port) as address:
        page = browser.new_page()
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/resnext/?tab=classify")
        page.get_by_role("tab", name="Classify").wait_for()
        upload(page, image)
        expect(bars(page)).to_have_count(5, timeout=PATIENCE)
        foreign = [url for url in asked if not url.startswith((f"{address}/resnext/", "blob:", "data:"))]
        assert not foreign
        page.close()
        client = Client(f"{address}/resnext/", verbose=False)
        assert len(client.predict(handle_file(image), api_name="/classify")["confidences"]) == 5
    built.close(verbose=False)
