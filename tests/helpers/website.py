"""A website on loopback for tests of what is fetched: pages that answer, redirect, dawdle or break off."""

import contextlib
import http.server
import threading

import anyio

from resnext.page import fetch

PUBLIC = "photos.example"  # no name server knows it: the tests' own look-up does
PRIVATE = [
    # loopback
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "0",
    "0.0.0.0",
    "127.0.0.2",
    "localhost",
    "localhost.",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    # private networks, and link-local, where a cloud tells its secrets
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.254",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[fec0::1]",
    "169.254.169.254",
    "2852039166",
    "[fe80::1]",
    # IPv4 inside IPv6
    "[64:ff9b::7f00:1]",
    "[64:ff9b::808:808]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    # no hosts
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "[100::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[ff02::1]",
]


class Website(http.server.ThreadingHTTPServer):
    """A real server: pages by path, each a function of the request's handler; remembers what it was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages, self.requests = {}, []

    @property
    def hosts(self) -> list[str]:
        """The names under which it was asked."""
        return [headers["Host"] for headers in self.requests]

    def address(self, path: str = "/", host: str = PUBLIC) -> str:
        """Where a page is."""
        return f"http://{host}:{self.server_port}{path}"

    def redirect(self, path: str, target: str, status: int = 302) -> str:
        """Makes a page that leads elsewhere, and tells its address."""
        self.pages[path] = lambda handler: handler.answer(b"", status, Location=target)
        return self.address(path)

    def serve(self, path: str, content: bytes, **headers: str) -> str:
        """Makes a page, and tells its address."""
        self.pages[path] = lambda handler: handler.answer(content, **headers)
        return self.address(path)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(dict(self.headers))
        self.server.pages.get(self.path, lambda handler: handler.answer(b"nothing", 404))(self)

    def answer(self, content: bytes, status: int = 200, **headers: str):
        with contextlib.suppress(OSError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving():
    """A website for as long as the block runs."""
    website = Website()
    threading.Thread(target=website.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield website
    finally:
        website.shutdown()
        website.server_close()


def fetched(url, folder, port=None, look_up=None):
    """Fetches as the page does, but for one name that leads to the website here, and its port, which counts as 80."""

    async def with_one_name_more(host: str, asked: int) -> list[str]:
        if host == PUBLIC:
            return ["127.0.0.1"]
        return await fetch.public_addresses(host, 80 if asked == port else asked)

    return anyio.run(fetch.fetch_image, url, folder, look_up or with_one_name_more)
