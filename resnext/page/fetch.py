"""Downloads the image at a web address that a visitor typed, but nothing from the network behind this server.

Gradio's own download (`processing_utils.ssrf_protected_download`, by safehttpx) also connects to the IP
address that it has checked. But it loses httpx's timeouts, reads and decompresses a body of any size, accepts
carrier-grade NAT and NAT64 addresses, and uses the proxies that the environment names.
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

# As sent, and decompressed.
MAX_BYTES = 20 * 2**20
# For name resolution, redirects and the body together: a server may send one byte a second.
MAX_SECONDS = 15.0
MAX_REDIRECTS = 5
# The usual ports of web servers: with others, this page would be a port scanner.
PORTS = (80, 443, 8000, 8080, 8443)
# For each IP address of a host.
_CONNECT_SECONDS = 5.0
_HEADERS = {"User-Agent": "resnext-page", "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
# A name server that hangs keeps a thread, which must not be one of Gradio's.
_NAME_SERVERS = anyio.CapacityLimiter(8)

# RFC 4291 assigns only 2000::/3. Parts of it are not public: Teredo and its neighbors (RFC 2928), 6to4
# (RFC 3056) and documentation (RFC 9637). Mapped, NAT64, local and multicast addresses are all outside.
_PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC_IPV6 = list(map(ipaddress.ip_network, ("2001::/23", "2002::/16", "2001:db8::/32", "3fff::/20")))
# For protocols (RFC 6890) and 6to4 (RFC 7526): Python's `is_global` accepts some of them.
_NOT_PUBLIC_IPV4 = list(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24")))


async def fetch_image(
    url: str, folder: pathlib.Path, look_up: Callable[[str, int], Awaitable[list[str]]] | None = None
) -> pathlib.Path:
    """Downloads a file from a public web address. `open_image` checks whether it is an image.

    Args:
        url: The address as the visitor typed it.
        folder: Where a new folder for the file is created.
        look_up: Returns the IP addresses of a host and a port that may be connected to; `public_addresses` if
            left out.

    Returns:
        The file, named like the end of the address.

    Raises:
        ImageError: It is not a public http or https address, cannot be reached, is too slow or too large.
    """
    try:
        with anyio.fail_after(MAX_SECONDS):
            return await _fetch(url.strip(), folder, look_up or public_addresses)
    except _Refusal as refusal:
        raise ImageError(f"{_shown(url)} cannot be fetched: {refusal}") from None
    except TimeoutError:
        reason = f"it takes longer than {MAX_SECONDS:.0f} seconds: download it yourself and upload the file."
        raise ImageError(f"{_shown(url)} cannot be fetched: {reason}") from None


async def public_addresses(host: str, port: int) -> list[str]:
    """The IP addresses of a host, if all are public.

    The system resolves the host, because there are many notations of an IP address (127.1, 0x7f000001).
    """
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
        # The same words for both: others would reveal which names the network behind this server knows.
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
    """The reason why an address is not fetched and what to do, the end of a sentence."""


@functools.cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


async def _fetch(url, folder, look_up) -> pathlib.Path:
    # The transport alone, because a client would add cookies, proxies and redirects of its own. No connection
    # is reused, because its certificate was checked for another name at the same IP address.
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
                    # Not the server's own words.
                    known = http.client.responses.get(response.status_code, "unknown")
                    reason = f"the server answers with status {response.status_code} ({known})"
                    raise _Refusal(f"{reason}: check that the address opens in a browser.")
                return await _save(
                    response, folder, strip_invalid_filename_characters(target.path.rpartition("/")[2])
                )
            except (httpx.TransportError, httpx.StreamError):
                raise _Refusal("the connection was lost: try again, or download it yourself.") from None
            finally:
                await response.aclose()
    raise _Refusal(f"it redirects more than {MAX_REDIRECTS} times: use the address that it ends at.")


def _parse(url: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        target = base.join(url) if base else httpx.URL(url)
        host = target.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError):
        what = "it redirects to something that" if base else "it"
        raise _Refusal(f"{what} is not a web address: copy the address again.") from None
    start = "it redirects to an address that" if base else "the address"
    if target.scheme not in ("http", "https") or not host:
        raise _Refusal(
            f"{start} does not start with https:// or http:// and a website's name: copy it again."
        )
    if target.userinfo:
        raise _Refusal(f"{start} contains a user name or a password: use a public one.")
    return target


async def _get(transport, url: httpx.URL, look_up) -> httpx.Response:
    port = {"http": 80, "https": 443}[url.scheme] if url.port is None else url.port
    host = url.raw_host.decode("ascii")
    # Connects to the IP address that was checked, whatever the name resolves to a moment later.
    for address in await look_up(host, port):
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
            raise _Refusal("the server does not answer like a website: check the address.") from None
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
        raise _Refusal("the server compresses it in an unknown way: download it yourself.")
    if encoding in ("identity", ""):
        async for chunk in response.aiter_raw():
            yield chunk
        return
    # Detects gzip and zlib.
    unpack = zlib.decompressobj(wbits=47)
    try:
        async for packed in response.aiter_raw():
            # In parts, because 64 KiB may decompress to as much as 64 MiB.
            while packed and not unpack.eof:
                yield unpack.decompress(packed, 2**16)
                packed = unpack.unconsumed_tail
            if unpack.eof:
                return
        yield unpack.flush()
    except zlib.error:
        raise _Refusal("the server sends corrupt data: try again, or download it yourself.") from None


def _shown(url: str) -> str:
    text = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in url.strip()
    )
    return text if len(text) <= 200 else text[:199] + "…"
