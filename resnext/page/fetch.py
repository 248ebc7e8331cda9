"""The image at a web address that a visitor typed, fetched so that nobody can look behind this server through it.

Gradio's own download (`processing_utils.ssrf_protected_download`, by safehttpx) also connects to the address that it
has checked, but it drops httpx's timeouts on the way, reads a body of any size, decodes whatever is packed in it, lets
carrier-grade NAT and NAT64 addresses pass, and goes through proxies that the environment names.
"""

import functools
import http.client
import ipaddress
import pathlib
import socket
import ssl
import tempfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import anyio.to_thread
import httpx
from gradio_client.utils import strip_invalid_filename_characters

from resnext.errors import ImageError

MAX_BYTES = 20 * 2**20  # as sent, and as unpacked
MAX_SECONDS = 15.0  # for everything: names, redirects, and a server that sends a byte a second
MAX_REDIRECTS = 5
PORTS = (80, 443, 8000, 8080, 8443)  # where web servers listen; others would make this page a port scanner
_CONNECT_SECONDS = 5.0  # for each address of a host
_HEADERS = {"User-Agent": "resnext-page", "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
_NAME_SERVERS = anyio.CapacityLimiter(8)  # one that hangs keeps a thread, which must not be one of Gradio's

# RFC 4291 gives out 2000::/3 alone. Of it these lead elsewhere: Teredo and its neighbours (RFC 2928), 6to4 (RFC 3056),
# documentation (RFC 9637). Mapped, NAT64, local and multicast addresses are all outside.
_PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC_IPV6 = list(map(ipaddress.ip_network, ("2001::/23", "2002::/16", "2001:db8::/32", "3fff::/20")))
# For protocols (RFC 6890), and 6to4 once more (RFC 7526): Python's `is_global` lets some of them pass.
_NOT_PUBLIC_IPV4 = list(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24")))


async def fetch_image(
    url: str, folder: pathlib.Path, look_up: Callable[[str, int], Awaitable[list[str]]] | None = None
) -> pathlib.Path:
    """Downloads a public web address; whether it is an image is for `open_image` to say.

    Args:
        url: as the visitor typed it.
        folder: where to put the file, in a new folder of its own.
        look_up: a host and a port to the addresses that may be connected to; `public_addresses` if left out.

    Returns:
        The file, named as the address ends.

    Raises:
        ImageError: not a public http or https address, out of reach, too slow, too large.
    """
    try:
        with anyio.fail_after(MAX_SECONDS):
            return await _fetch(url.strip(), folder, look_up or public_addresses)
    except _Refusal as refusal:
        raise ImageError(f"{_shown(url)} cannot be fetched: {refusal}") from None
    except TimeoutError:
        reason = (
            f"it takes longer than {MAX_SECONDS:.0f} seconds: download it yourself and drop the file here."
        )
        raise ImageError(f"{_shown(url)} cannot be fetched: {reason}") from None


async def public_addresses(host: str, port: int) -> list[str]:
    """A host's IP addresses, if all are public; ways to write one (127.1, 0x7f000001) are the system's own to read."""
    if port not in PORTS:
        raise _Refusal(
            f"port {port} is not one of {', '.join(map(str, PORTS))}: use an address without a port."
        )
    try:
        found = await anyio.to_thread.run_sync(
            lambda: socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM),
            abandon_on_cancel=True,
            limiter=_NAME_SERVERS,
        )
    except (OSError, ValueError):
        found = []
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    if not addresses or not all(map(is_public, addresses)):
        # Both in the same words, or the answer would tell which names the network behind this server knows.
        raise _Refusal("no public website has this name: check it, and use one that everyone can open.")
    return addresses


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return ip in _PUBLIC_IPV6 and not any(ip in network for network in _NOT_PUBLIC_IPV6)
    public = ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_private or ip.is_unspecified)
    return public and not any(ip in network for network in _NOT_PUBLIC_IPV4)


class _Refusal(Exception):
    """Why an address is not fetched, and what to do: the end of a sentence."""


@functools.cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


async def _fetch(url, folder, look_up) -> pathlib.Path:
    # The transport alone: a client would add cookies, proxies and redirects of its own. Nor may a connection be used
    # again, which was made, and its certificate checked, for another name at the same address.
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncHTTPTransport(_certificates(), trust_env=False, limits=limits) as transport:
        target = _parse(url)
        for _ in range(MAX_REDIRECTS + 1):
            response = await _get(transport, target, look_up)
            try:
                if response.has_redirect_location:
                    target = _parse(response.headers["location"], target)
                    continue
                if response.status_code != http.client.OK:
                    known = http.client.responses.get(
                        response.status_code, "unknown"
                    )  # not the server's own words
                    reason = f"the server answers {response.status_code} ({known})"
                    raise _Refusal(f"{reason}: check that the address opens in a browser.")
                return await _save(
                    response, folder, strip_invalid_filename_characters(target.path.rpartition("/")[2])
                )
            except (httpx.TransportError, httpx.StreamError):
                raise _Refusal("the connection broke off: try again, or download it yourself.") from None
            finally:
                await response.aclose()
    raise _Refusal(f"it redirects more than {MAX_REDIRECTS} times: use the address that it ends at.")


def _parse(url: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        target = base.join(url) if base else httpx.URL(url)
        host = target.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError):
        what = "it redirects to what" if base else "it"
        raise _Refusal(f"{what} is no web address: copy the address again.") from None
    start = "it redirects to an address that" if base else "the address"
    if target.scheme not in ("http", "https") or not host:
        raise _Refusal(
            f"{start} does not start with https:// or http:// and a website's name: copy it again."
        )
    if target.userinfo:
        raise _Refusal(f"{start} holds a user name or a password: use one that is open to everyone.")
    return target


async def _get(transport, url: httpx.URL, look_up) -> httpx.Response:
    port = {"http": 80, "https": 443}[url.scheme] if url.port is None else url.port
    host = url.raw_host.decode("ascii")
    for address in await look_up(
        host, port
    ):  # connects to what was checked, whatever the name says a moment later
        request = httpx.Request(
            "GET",
            url.copy_with(host=address, fragment=None),
            headers={**_HEADERS, "Host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": host, "timeout": {"connect": _CONNECT_SECONDS}},
        )
        try:
            return await transport.handle_async_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue
        except httpx.TransportError:
            raise _Refusal("the server does not answer as a website does: check the address.") from None
    raise _Refusal("the website cannot be reached, or its certificate is not valid: try again later.")


async def _save(response: httpx.Response, folder: pathlib.Path, name: str) -> pathlib.Path:
    file = pathlib.Path(tempfile.mkdtemp(prefix="fetched-", dir=folder)) / (name.strip(". ") or "image")
    try:
        size = 0
        with file.open("wb") as output:
            async for chunk in _content(response):
                size += len(chunk)
                if max(size, response.num_bytes_downloaded) > MAX_BYTES:
                    raise _Refusal(f"it is larger than {MAX_BYTES >> 20} MiB: make it smaller first.")
                output.write(chunk)
        return file
    except BaseException:
        file.unlink(missing_ok=True)
        file.parent.rmdir()
        raise


async def _content(response: httpx.Response) -> AsyncIterator[bytes]:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise _Refusal("the server packs it in a way that it was not asked for: download it yourself.")
    if encoding in ("identity", ""):
        async for chunk in response.aiter_raw():
            yield chunk
        return
    unpack = zlib.decompressobj(wbits=47)  # gzip or zlib, whichever it is
    try:
        async for packed in response.aiter_raw():
            while packed and not unpack.eof:  # httpx would unpack 64 KiB into as much as 64 MiB at once
                yield unpack.decompress(packed, 2**16)
                packed = unpack.unconsumed_tail
            if unpack.eof:
                return
        yield unpack.flush()
    except zlib.error:
        raise _Refusal("what the server sends is damaged: try again, or download it yourself.") from None


def _shown(url: str) -> str:
    text = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in url.strip()
    )
    return text if len(text) <= 200 else text[:199] + "…"
