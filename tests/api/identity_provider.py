"""A small OpenID provider on loopback: discovery, keys, a token endpoint that checks client, PKCE and code."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT, SECRET = "limner", "s3cret/+"


@dataclass
class Provider:
    """What the provider says; tests change `claims`, `signing` and `header`."""

    url: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    published: list[RSAKey] = field(default_factory=list[RSAKey])
    claims: dict[str, Any] = field(default_factory=dict[str, Any])
    header: dict[str, str] = field(default_factory=lambda: {"alg": "RS256", "kid": "one"})
    secrets: set[str] = field(default_factory=lambda: {SECRET})
    """The secrets that the client may use."""
    codes: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    token: Callable[[dict[str, Any]], str] | None = None
    """Makes the ID token of its claims, instead of `key`."""

    def sign_in(self, address: str) -> dict[str, str]:
        """What a person's browser is sent back with who signs in at this address of the authorization endpoint."""
        query = dict(parse_qsl(urlsplit(address).query))
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        return {"code": code, "state": query["state"]}

    def metadata(self) -> dict[str, Any]:
        paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return {"issuer": self.url} | {name: f"{self.url}/{path}" for name, path in paths.items()}

    def exchange(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """The token endpoint's answer. A code works once."""
        accepted = {base64.b64encode(f"{CLIENT}:{quote(each, safe='')}".encode()).decode() for each in self.secrets}
        asked = self.codes.pop(form.get("code", ""), None)
        if authorization.removeprefix("Basic ") not in accepted:
            return 401, {"error": "invalid_client"}
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if (
            asked is None
            or asked["redirect_uri"] != form["redirect_uri"]
            or challenge.decode() != asked["code_challenge"]
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.url, "sub": "u-1", "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        told = {name: value for name, value in (claims | self.claims).items() if value is not None}
        token = jwt.encode(self.header, told, self.key) if self.token is None else self.token(told)
        return 200, {"access_token": "a", "token_type": "Bearer", "id_token": token}


@contextmanager
def running_provider() -> Iterator[Provider]:
    """A provider that answers on a free port of loopback."""
    provider = Provider()
    provider.published.append(provider.key)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys = KeySet([*provider.published]).as_dict(private=False)
            self._send(200, dict(keys) if self.path == "/keys" else provider.metadata())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._send(*provider.exchange(form, self.headers.get("Authorization", "")))

        def _send(self, status: int, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    provider.url = f"http://127.0.0.1:{server.server_port}"
    yield provider
    server.shutdown()
    thread.join()
    server.server_close()
