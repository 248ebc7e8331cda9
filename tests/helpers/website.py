"""A website on the loopback interface, whose pages respond, redirect, stall or break off."""

import contextlib
import http.server
import threading

import anyio

from resnext.page import fetch

PUBLIC = "photos.example"  # Only the look-up of `fetched` knows this name; name servers do not.
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
    # private networks, and link-local, where clouds serve credentials
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
    # reserved, documentation and multicast
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
    """A server of pages.

    Attributes:
        pages: A function of the request's handler for each path.
        requests: The headers of each request so far.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages = {}
        self.requests = []

    @property
    def hosts(self) -> list[str]:
        """The host names that were requested."""
        return [headers["Host"] for headers in self.requests]

    def address(self, path: str = "/", host: str = PUBLIC) -> str:
        """The URL of a page."""
        return f"http://{host}:{self.server_port}{path}"

    def redirect(self, path: str, target: str, status: int = 302) -> str:
        """Adds a page that redirects to a target; returns its URL."""
        self.pages[path] = lambda handler: handler.answer(b"", status, Location=target)
        return self.address(path)

    def serve(self, path: str, content: bytes, **headers: str) -> str:
        """Adds a page with this content; returns its URL."""
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
    """Serves a website for as long as the block runs."""
    website = Website()
    threading.Thread(target=website.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield website
    finally:
        website.shutdown()
        website.server_close()


def fetched(url, folder, port=None, look_up=None):
    """Fetches an image as the page does, except that `PUBLIC` leads to the website here.

    Args:
        url: The address to fetch.
        folder: The folder into which the file is written.
        port: The port of the website, which is treated as 80.
        look_up: The look-up of host names, instead of the one that knows `PUBLIC`.

    Returns:
        The path of the file.
    """

    async def look_up_public(host: str, asked: int) -> list[str]:
        if host == PUBLIC:
            return ["127.0.0.1"]
        return await fetch.public_addresses(host, 80 if asked == port else asked)

    return anyio.run(fetch.fetch_image, url, folder, look_up or look_up_public)
