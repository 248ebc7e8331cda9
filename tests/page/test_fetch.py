"""A web address is fetched in time and from the public internet only; anything else is an error message."""

import contextlib
import gzip
import socket
import threading
import time
import tracemalloc
import zlib

import pytest

from resnext.errors import ImageError
from resnext.page import fetch
from tests.helpers.website import PRIVATE, PUBLIC, fetched, serving

PICTURE = bytes(range(256)) * 300
STRANGE_NAMES = [
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fevil",
    "",
    ".bashrc",
    "%00%0a%1b",
    "x" * 400,
    "%E8%8A%B1" * 200,
    "a%5cb",
]


@pytest.fixture
def website():
    with serving() as website:
        website.serve("/picture.jpg", PICTURE)
        yield website


def refusal(url, folder, port=None, look_up=None) -> str:
    with pytest.raises(ImageError) as error:
        fetched(url, folder, port, look_up)
    assert not list(folder.iterdir())
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert "Traceback" not in message
    assert str(folder) not in message
    return message


def test_an_image_is_fetched_and_named_like_the_end_of_its_address(website, tmp_path):
    url = website.serve("/a/b/rose%20(1).jpg?size=3", PICTURE)
    file = fetched(f"  {url}#top\n", tmp_path)
    assert file.name == "rose (1).jpg"
    assert file.read_bytes() == PICTURE
    assert file.parent.parent == tmp_path


def test_two_images_of_the_same_name_are_separate_files(website, tmp_path):
    first, second = (fetched(website.address("/picture.jpg"), tmp_path) for _ in range(2))
    assert first != second
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_the_file_stays_in_its_folder_whatever_the_address(website, tmp_path, name):
    url = website.serve(f"/folder/{name}", PICTURE)
    file = fetched(url, tmp_path)
    assert file.parent.parent == tmp_path
    assert file.read_bytes() == PICTURE
    assert file.name.isprintable()
    assert not file.name.startswith(".")
    assert len(file.name.encode()) <= 200


def test_the_website_sees_its_own_name_and_nothing_about_this_server(website, tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    fetched(website.address("/picture.jpg"), tmp_path)
    (headers,) = website.requests
    assert headers["Host"] == f"{PUBLIC}:{website.server_port}"
    assert not {"Cookie", "Referer", "Authorization"} & set(headers)


def test_the_connection_goes_to_the_ip_address_that_was_checked(website, tmp_path):
    asked = []

    async def rebinding(host, port):
        asked.append(host)
        return ["127.0.0.1"]

    fetched(website.address("/picture.jpg", "rebinding.example"), tmp_path, look_up=rebinding)
    assert asked == ["rebinding.example"]  # the system could not resolve it again
    with pytest.raises(OSError):
        socket.getaddrinfo("rebinding.example", 80)


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_address_is_refused_in_every_notation(website, tmp_path, host):
    message = refusal(website.address("/picture.jpg", host), tmp_path, website.server_port)
    assert "no public website has this name" in message or "is not a web address" in message
    assert not website.hosts


@pytest.mark.parametrize("host", PRIVATE)
def test_a_redirect_to_a_private_address_is_refused_and_not_shown(website, tmp_path, host):
    url = website.redirect("/start", website.address("/picture.jpg", host))
    message = refusal(url, tmp_path, website.server_port)
    assert message.startswith(f"{url} cannot be fetched: ")
    assert host not in message.removeprefix(url)
    assert len(website.hosts) == 1


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.216.34", "100.63.255.255", "100.128.0.0", "2606:4700::1111", "2a00:1450::1"],
)
def test_public_addresses_are_public(address):
    assert fetch.is_public(address)


def test_a_host_with_one_private_address_among_public_ones_is_refused(tmp_path, monkeypatch):
    def getaddrinfo(host, port, **_):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("1.1.1.1", "10.0.0.1")
        ]

    monkeypatch.setattr(fetch.socket, "getaddrinfo", getaddrinfo)
    message = refusal("http://mixed.example/picture.jpg", tmp_path)
    assert "no public website has this name" in message
    assert "10.0.0.1" not in message


def test_private_and_unknown_names_are_refused_in_the_same_words(tmp_path):
    unknown, private = (
        refusal(f"http://{host}/", tmp_path).partition(" ")[2] for host in ("unknown.invalid", "localhost")
    )
    assert unknown == private


@pytest.mark.parametrize("port", [22, 25, 6379, 9200, 0])
def test_a_port_where_no_web_server_listens_is_refused(tmp_path, port):
    assert f"port {port} is not one of 80, 443" in refusal(f"http://1.1.1.1:{port}/", tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "rose.jpg",
        "www.example.com/rose.jpg",
        "//example.com/rose.jpg",
        "/etc/passwd",
        "http:///rose.jpg",
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "ftp://example.com/rose.jpg",
        "javascript:alert(1)",
        "data:image/png;base64,iVBORw0KGgo=",
        "gopher://127.0.0.1:6379/_PING",
        "ws://example.com/",
        "HTTP:rose.jpg",
        "blob:http://example.com/1",
    ],
)
def test_only_http_and_https_are_fetched(website, tmp_path, url):
    assert "does not start with https:// or http://" in refusal(url, tmp_path)
    if ":" in url and not url.lower().startswith("http:"):
        assert "redirects to an address that does not start with" in refusal(
            website.redirect("/start", url), tmp_path
        )


@pytest.mark.parametrize(
    "url",
    ["http://[::1", "http://exa\tmple.com/", "http://300.1.2.3/", "http://h:port/", "http://" + "x" * 70_000],
)
def test_an_invalid_address_is_refused(tmp_path, url):
    message = refusal(url, tmp_path)
    assert "is not a web address" in message
    assert len(message) < 300
    assert message.isprintable()


def test_a_user_name_or_password_is_refused_even_in_a_redirect(website, tmp_path):
    secret = website.address("/picture.jpg", f"user:password@{PUBLIC}")
    assert "contains a user name or a password" in refusal(secret, tmp_path)
    assert "contains a user name or a password" in refusal(website.redirect("/start", secret), tmp_path)
    assert website.hosts == [f"{PUBLIC}:{website.server_port}"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(website, tmp_path, status):
    assert fetched(website.redirect("/start", "picture.jpg", status), tmp_path).read_bytes() == PICTURE


def test_five_redirects_are_followed_and_a_sixth_is_not(website, tmp_path):
    website.pages["/6"] = lambda handler: handler.answer(PICTURE)
    for step in range(6):
        website.redirect(f"/{step}", f"/{step + 1}")
    assert fetched(website.address("/1"), tmp_path).read_bytes() == PICTURE
    (tmp_path / "none").mkdir()
    assert "redirects more than 5 times" in refusal(website.address("/0"), tmp_path / "none")
    assert "redirects more than 5 times" in refusal(website.redirect("/round", "/round"), tmp_path / "none")


@pytest.mark.parametrize("status", [204, 206, 304, 404, 500, 999])
def test_another_status_is_reported_without_the_words_of_the_server(website, tmp_path, status):
    def page(handler):
        handler.send_response(status, "<script>hacked()</script>")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    website.pages["/gone"] = page
    message = refusal(website.address("/gone"), tmp_path)
    assert f"the server answers with status {status} (" in message
    assert "<" not in message


def test_a_file_that_is_too_large_is_refused_with_or_without_its_size(website, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_BYTES", 2**20)

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(bytes(2**16))

    website.pages["/endless"] = endless
    assert "larger than 1 MiB" in refusal(website.address("/endless"), tmp_path)
    assert "larger than 1 MiB" in refusal(website.serve("/large", bytes(2**20 + 1)), tmp_path)
    assert fetched(website.serve("/fits", bytes(2**20)), tmp_path).stat().st_size == 2**20


def test_a_compressed_body_is_limited_while_it_is_decompressed(website, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_BYTES", 2**20)
    bomb = gzip.compress(bytes(200 * 2**20))
    assert len(bomb) < 2**20
    url = website.serve("/bomb", bomb, Content_Encoding="gzip")
    tracemalloc.start()
    assert "larger than 1 MiB" in refusal(url, tmp_path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 16 * 2**20  # and not the 64 MiB that a single packet unpacks to
    twice = website.serve("/twice", gzip.compress(bomb), Content_Encoding="gzip, gzip")
    assert "compresses it in an unknown way" in refusal(twice, tmp_path)
    tail = gzip.compress(b"") + bytes(5 * 2**20)  # what follows the packed content is not kept
    assert fetched(website.serve("/tail", tail, Content_Encoding="gzip"), tmp_path).read_bytes() == b""


@pytest.mark.parametrize(
    "encoding, pack", [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
def test_a_body_compressed_without_request_is_decompressed(website, tmp_path, encoding, pack):
    content = bytes(2**20) + PICTURE
    url = website.serve("/packed", pack(content), Content_Encoding=encoding)
    assert fetched(url, tmp_path).read_bytes() == content


def test_a_corrupt_compressed_body_is_reported(website, tmp_path):
    damaged = website.serve("/damaged", b"\x1f\x8b no gzip at all", Content_Encoding="gzip")
    assert "corrupt data" in refusal(damaged, tmp_path)


@pytest.mark.parametrize("part", ["status", "headers", "body", "redirects"])
def test_a_slow_server_is_left_after_the_time_limit(website, tmp_path, monkeypatch, part):
    monkeypatch.setattr(fetch, "MAX_SECONDS", 1.0)

    def drip(handler):
        if part == "redirects":
            time.sleep(0.4)
            handler.answer(b"", 302, Location="/slow")
            return
        before = {"status": b"", "headers": b"HTTP/1.1 200 OK\r\nX: ", "body": b"HTTP/1.1 200 OK\r\n\r\n"}[
            part
        ]
        with contextlib.suppress(OSError):
            handler.wfile.write(before)
            for byte in b"HTTP/1.1 200 OK" * 10:
                time.sleep(0.05)
                handler.wfile.write(bytes([byte]))

    website.pages["/slow"] = drip
    start = time.perf_counter()
    assert "it takes longer than 1 seconds" in refusal(website.address("/slow"), tmp_path)
    assert time.perf_counter() - start < 2


def test_a_hanging_name_server_is_left_after_the_time_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_SECONDS", 0.3)
    done = threading.Event()
    monkeypatch.setattr(fetch.socket, "getaddrinfo", lambda *_, **__: done.wait(5) and [])
    start = time.perf_counter()
    try:
        assert "it takes longer than" in refusal("http://slow.example/", tmp_path)
        assert time.perf_counter() - start < 2
    finally:
        done.set()


def test_a_broken_connection_and_a_server_without_http_are_reported(website, tmp_path):
    def breaks_off(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"half")

    website.pages["/half"] = breaks_off
    website.pages["/ssh"] = lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    website.pages["/long"] = lambda handler: handler.answer(b"", X=200_000 * "x")
    assert "connection was lost" in refusal(website.address("/half"), tmp_path)
    assert "does not answer like a website" in refusal(website.address("/ssh"), tmp_path)
    assert "does not answer like a website" in refusal(website.address("/long"), tmp_path)


def test_a_closed_port_and_an_invalid_certificate_are_reported(website, tmp_path):
    https = website.address("/picture.jpg").replace("http:", "https:")
    assert "cannot be reached, or its certificate is not valid" in refusal(https, tmp_path)
    website.shutdown()
    website.server_close()
    assert "cannot be reached, or its certificate is not valid" in refusal(
        website.address("/picture.jpg"), tmp_path
    )


def test_a_long_or_unprintable_address_is_shown_short_and_clean(tmp_path):
    message = refusal("ftp://example.com/\u202egpj.\x1b[31m" + "x" * 1000, tmp_path)
    assert message.isprintable()
    assert "x" * 150 + "… cannot be fetched" in message
    assert len(message) < 350
