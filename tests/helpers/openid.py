"""The Hub's login: an OpenID provider on the loopback interface, which asks its visitors whom to log in."""

import base64
import html
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT = "page"
SECRET = "secret_of_the_page"


class _Request(NamedTuple):
    """What a page has asked for.

    Args:
        token: The access token of the user who has consented.
        redirect_uri: Where the code was sent to.
        nonce: What the page compares with the ID token's.
        scope: The scopes, separated by spaces.
    """

    token: str
    redirect_uri: str
    nonce: str
    scope: str


class OpenIdProvider:
    """The provider: `with OpenIdProvider(hub.users) as provider` serves it at `provider.url`.

    Args:
        users: The names of users by access token. Each of them may log in.

    Attributes:
        callbacks: The addresses that a code may be sent to, without their query.
        seconds: How long an access token is valid.
        scopes: The scopes that were asked for.
        fault: The HTTP status that is answered to the next request for a token instead; 0 for none.
    """

    def __init__(self, users: dict[str, str]):
        self.users = users
        self.callbacks: set[str] = set()
        self.seconds = 3600
        self.scopes: list[str] = []
        self.fault = 0
        self.codes: dict[str, _Request] = {}
        self.key = RSAKey.generate_key(2048, {"kid": "1", "use": "sig", "alg": "RS256"})

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def environment(self, host: str) -> dict[str, str]:
        """The environment variables of a Space whose visitors log in here.

        Args:
            host: The host and port of the Space, which visitors reach over HTTPS.
        """
        self.callbacks.add(f"https://{host}/login/callback")
        return {
            "SYSTEM": "spaces",
            "SPACE_ID": "owner/page",
            "SPACE_HOST": host,
            "OAUTH_CLIENT_ID": CLIENT,
            "OAUTH_CLIENT_SECRET": SECRET,
            "OAUTH_SCOPES": "openid profile contribute-repos",
            "OPENID_PROVIDER_URL": self.url,
        }

    def id_token(self, request: _Request) -> str:
        """Who has logged in, signed."""
        name, now = self.users[request.token], int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": name,
            "name": name.title(),
            "preferred_username": name,
            "profile": f"{self.url}/{name}",
            "picture": f"{self.url}/{name}.png",
            "nonce": request.nonce,
            "iat": now,
            "exp": now + 3600,
        }
        return jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.key)


class _Handler(BaseHTTPRequestHandler):
    provider: OpenIdProvider

    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(url.query).items()}
        answer = {
            "/.well-known/openid-configuration": self.configuration,
            "/oauth/authorize": self.authorize,
            "/oauth/jwks": lambda: KeySet([self.provider.key]).as_dict(private=False),
        }.get(url.path)
        self.answer(*((200, answer()) if answer else (404, {})))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.query = {name: values[0] for name, values in parse_qs(body).items()}
        status, self.provider.fault = self.provider.fault, 0
        self.answer(*((status, {}) if status else self.token()))

    def answer(self, status: int, body: dict | str) -> None:
        kind = "text/html" if isinstance(body, str) else "application/json"
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def configuration(self) -> dict:
        url = self.provider.url
        return {
            "issuer": url,
            "authorization_endpoint": f"{url}/oauth/authorize",
            "token_endpoint": f"{url}/oauth/token",
            "jwks_uri": f"{url}/oauth/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def authorize(self) -> str:
        """The page that asks for consent: a link for each user, and one that denies it."""
        asked = self.query
        known = asked["redirect_uri"].partition("?")[0] in self.provider.callbacks
        if (asked["client_id"], asked["response_type"], known) != (CLIENT, "code", True):
            return "<h1>Invalid request</h1>"
        self.provider.scopes.append(asked["scope"])
        links = {"Cancel": {"error": "access_denied", "error_description": "The user denied the request"}}
        for token, name in self.provider.users.items():
            code = secrets.token_hex(8)
            self.provider.codes[code] = _Request(
                token, asked["redirect_uri"], asked.get("nonce", ""), asked["scope"]
            )
            links[f"Authorize as {name}"] = {"code": code}
        separator = "&" if "?" in asked["redirect_uri"] else "?"
        anchors = [
            f'<a href="{html.escape(address)}">{text}</a>'
            for text, values in links.items()
            for address in [
                asked["redirect_uri"] + separator + urlencode({**values, "state": asked["state"]})
            ]
        ]
        return f"<!doctype html><title>Log in</title><p>{' '.join(anchors)}</p>"

    def token(self) -> tuple[int, dict]:
        """Gives an access token for a code, once, to the page that the code was sent to."""
        known = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        request = self.provider.codes.pop(self.query.get("code", ""), None)
        if self.headers["Authorization"] != f"Basic {known}":
            return 401, {"error": "invalid_client"}
        if request is None or request.redirect_uri != self.query.get("redirect_uri"):
            return 400, {"error": "invalid_grant"}
        return 200, {
            "access_token": request.token,
            "token_type": "bearer",
            "expires_in": self.provider.seconds,
            "scope": request.scope,
            "id_token": self.provider.id_token(request),
        }
