"""What a page needs of its machine: an address, a folder for uploads, certificates, and no proxy to itself.

Gradio finds such faults late: it tries a hundred ports for five seconds each, or fails at the first upload.
"""

import errno
import functools
import os
import pathlib
import socket
import ssl
import tempfile
from typing import Any, NoReturn

from resnext.errors import ConfigError

_PROXY_VARIABLES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def reach_itself_directly(host: str) -> None:
    """Keeps this process from reaching its own page through the proxies that the environment names.

    Gradio asks its own address when it starts. Proxies stay in use for everything else. One that Gradio's
    client cannot use, such as SOCKS without the package for it, would keep Gradio from being imported: it is
    taken out of this process's environment, and the client of the Hub refuses to connect without it.

    Args:
        host: The address that the page listens on.
    """
    import httpx

    known = next(filter(None, map(os.environ.get, ("no_proxy", "NO_PROXY"))), "")
    exceptions = dict.fromkeys([*filter(None, map(str.strip, known.split(","))), *_LOOPBACK, host])
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(exceptions)
    for name in [name for name in os.environ if name.upper() in _PROXY_VARIABLES]:
        proxy = os.environ[name]
        try:
            if proxy:
                httpx.HTTPTransport(proxy=proxy if "://" in proxy else f"http://{proxy}", verify=False)
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            import huggingface_hub

            del os.environ[name]
            huggingface_hub.set_client_factory(functools.partial(_refuse_to_connect, error))


def _refuse_to_connect(fault: Exception) -> NoReturn:
    import httpx2

    # `resnext.hub_errors` has a sentence for each.
    raise fault if isinstance(fault, ImportError) else httpx2.InvalidURL(str(fault))


def check_address(host: str, port: int | None) -> None:
    """Checks that this process may listen on an address.

    Args:
        host: A name or an IP address, without the brackets of IPv6.
        port: The port; None if any will do.

    Raises:
        ConfigError: It may not.
    """
    try:
        places = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ConfigError(f"{host!r} is not the address of a machine: {_OTHER_HOST}") from None
    faults = [fault for family, *_, place in places if (fault := _bind_fault(family, place))]
    # A name may have an IPv6 address where IPv6 is switched off.
    foreign = [fault for fault in faults if fault.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)]
    other = [fault for fault in faults if fault not in foreign]
    if other:
        raise ConfigError(_port_fault(other[0], port))
    if len(foreign) == len(places):
        raise ConfigError(f"{host} is not an address of this machine: {_OTHER_HOST}")


_OTHER_HOST = (
    "choose another --host (GRADIO_SERVER_NAME), such as 127.0.0.1 for visitors on this machine or 0.0.0.0 "
    "for all."
)


def _bind_fault(family: int, place: Any) -> OSError | None:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # As the server does: otherwise "::" would be taken by a program that listens on 0.0.0.0.
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(place)
    except OSError as error:
        return error
    return None


def _port_fault(fault: OSError, port: int | None) -> str:
    if fault.errno == errno.EADDRINUSE:
        return f"Port {port} is in use by another program: choose another --port (GRADIO_SERVER_PORT)."
    if fault.errno in (errno.EACCES, errno.EPERM):
        return (
            f"Port {port} may be opened only by an administrator: choose a --port (GRADIO_SERVER_PORT) from "
            "1024 on, and let a web server such as nginx pass on what arrives at the other."
        )
    return f"Port {port} cannot be opened ({fault.strerror}): choose another --port (GRADIO_SERVER_PORT)."


def check_upload_folder() -> None:
    """Checks that the folder of uploads can be written.

    Raises:
        ConfigError: It cannot, for example because it belongs to another user.
    """
    folder = os.environ.get("GRADIO_TEMP_DIR", "")
    try:
        # As Gradio chooses it.
        folder = folder or os.path.join(tempfile.gettempdir(), "gradio")
        os.makedirs(folder, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"Uploads cannot be stored in {folder or 'any folder'} ({error.strerror}): name a folder of your "
            "own in the environment variable GRADIO_TEMP_DIR."
        ) from None


def check_certificate(certificate: pathlib.Path, key: pathlib.Path) -> None:
    """Checks that a certificate and its private key can be used.

    Raises:
        ConfigError: One of the files cannot be read, or they do not belong together.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        reason = error.reason.lower().replace("_", " ") if error.reason else "they are not in PEM format"
        raise ConfigError(
            f"{certificate} and {key} cannot be used for HTTPS ({reason}): give a certificate and its "
            "private key in PEM format, without a password."
        ) from None
    except OSError as error:
        missing = next((file for file in (certificate, key) if not os.access(file, os.R_OK)), certificate)
        raise ConfigError(f"{missing} cannot be read ({error.strerror}).") from None


def _no_password() -> str:
    return ""


def read_accounts(given: list[str], file: pathlib.Path | None) -> list[tuple[str, str]]:
    """Reads the names and passwords of the visitors that may see the page.

    Args:
        given: Accounts, each USER:PASSWORD.
        file: A file with an account in each line. Empty lines, and those that begin with "#", are left out.

    Returns:
        Names with their passwords; empty if everybody may see the page.

    Raises:
        ConfigError: The file cannot be read or has no accounts, or an account is not USER:PASSWORD.
    """
    accounts = [_account(text, "--auth") for text in given]
    if file is None:
        return accounts
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"{file} cannot be read ({reason}): name another --auth-file.") from None
    listed = [
        _account(line, f"Line {number} of {file}")
        for number, line in enumerate(map(str.strip, lines), 1)
        if line and not line.startswith("#")
    ]
    if not listed:
        raise ConfigError(f"{file} has no accounts: write USER:PASSWORD in each line.")
    return accounts + listed


def _account(text: str, where: str) -> tuple[str, str]:
    user, _, password = text.partition(":")
    if not (user and password):
        # The text itself is not repeated: it may be a password.
        raise ConfigError(f"{where} is not a name and a password: write USER:PASSWORD.")
    return user, password
