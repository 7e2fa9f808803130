"""A front of the emulator of Google Cloud Storage: parts of Google's XML API, and checks of credentials, which the
emulator lacks.

Uploads, uploads in parts, and copies become calls of the emulator's JSON API. Reads, lists and deletions pass through.
A request needs a token that the service account's key signed (RFC 7519, RS256), or a URL that it signed
(GOOG4-RSA-SHA256, "V4 signing process" of Google's documentation).
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, parse_qsl, quote, unquote, urlsplit
from uuid import uuid4

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

SIGNED: Final = "X-Goog-Signature"
HOST: Final = "storage.googleapis.com"
"""What the client signs as the host, whatever the server's address is."""
PASSED: Final = ("Content-Type", "Last-Modified", "ETag", "X-Goog-Generation", "Content-Range", "Accept-Ranges")


class GoogleFront:
    """Forwards requests to an emulator on this machine."""

    def __init__(self, target: str, key: RSAPublicKey) -> None:
        self.emulator = httpx.Client(base_url=target, trust_env=False, timeout=60)
        self.key = key
        self.parts: defaultdict[str, dict[int, str]] = defaultdict(dict)
        """The objects that hold the parts of unfinished uploads, by upload and number."""

        class Handler(_Handler):
            front = self

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.emulator.close()

    def is_signed(self, data: bytes, signature: bytes) -> bool:
        """Whether the service account's key signed these bytes."""
        try:
            self.key.verify(signature, data, PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front: GoogleFront

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        _, bucket, name = (unquote(part) for part in (url.path + "//").split("/", 2))
        try:
            self._answer(url, query, bucket, name.rstrip("/"), body)
        except httpx.TransportError:  # the emulator was killed
            self.close_connection = True

    def _answer(self, url: SplitResult, query: dict[str, str], bucket: str, name: str, body: bytes) -> None:
        upload, source = query.get("uploadId", ""), self.headers.get("x-goog-copy-source")
        if not (self._url_is_signed(url, query) if SIGNED in query else self._has_token()):
            self._send(401, b"", {})
        elif source is not None:
            self._copy(unquote(source).lstrip("/").split("/", 1), bucket, name)
        elif "uploads" in query:
            started = (
                f"<InitiateMultipartUploadResult><UploadId>{uuid4().hex}</UploadId></InitiateMultipartUploadResult>"
            )
            self._send(200, started.encode(), {})
        elif self.command == "POST" and upload:
            self._complete(bucket, name, upload)
        elif self.command == "PUT":
            if upload:
                name = f"parts/{upload}/{query['partNumber']}"
                self.front.parts[upload][int(query["partNumber"])] = name
            self._put(bucket, name, body)
        else:
            self._pass_through()

    def _pass_through(self) -> None:
        wanted = {each: self.headers[each] for each in ("Range", "If-Match") if each in self.headers}
        found = self.front.emulator.request(self.command, self.path.partition("?X-Goog-")[0], headers=wanted)
        sent = {each: found.headers.get(each) for each in PASSED}
        self._send(found.status_code, found.content, sent, found.headers.get("Content-Length"))

    def _put(self, bucket: str, name: str, body: bytes) -> None:
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
        kind = self.headers.get("Content-Type") or "application/octet-stream"
        self._stored(self.front.emulator.post(path, content=body, headers={"Content-Type": kind}).json())

    def _copy(self, source: list[str], bucket: str, name: str) -> None:
        old, new = (f"/b/{each}/o/{quote(key, safe='')}" for each, key in (source, (bucket, name)))
        answer = self.front.emulator.post(f"/storage/v1{old}/rewriteTo{new}")
        if answer.status_code != 200:
            self._send(answer.status_code, answer.content, {})
        else:
            self._stored(answer.json()["resource"])

    def _complete(self, bucket: str, name: str, upload: str) -> None:
        parts = [part for _, part in sorted(self.front.parts.pop(upload).items())]
        path = f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}/compose"
        sources = [{"name": part} for part in parts]
        made = self.front.emulator.post(path, json={"destination": {}, "sourceObjects": sources}).json()
        for part in parts:
            self.front.emulator.delete(f"/storage/v1/b/{bucket}/o/{quote(part, safe='')}")
        result = f"<CompleteMultipartUploadResult><ETag>{made['etag']}</ETag></CompleteMultipartUploadResult>"
        self._send(200, result.encode(), {"X-Goog-Generation": made["generation"]})

    def _stored(self, made: dict[str, Any]) -> None:
        self._send(200, b"", {"ETag": made["etag"], "X-Goog-Generation": made["generation"]})

    def _send(self, status: int, body: bytes, headers: dict[str, str | None], size: str | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.send_header("Content-Length", size or str(len(body)))  # that of HEAD is the object's
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _has_token(self) -> bool:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        signed, _, signature = token.rpartition(".")
        return self.front.is_signed(signed.encode(), base64.urlsafe_b64decode(signature + "=="))

    def _url_is_signed(self, url: SplitResult, query: dict[str, str]) -> bool:
        signed = sorted((name, value) for name, value in parse_qsl(url.query) if name != SIGNED)
        canonical = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in signed)
        request = f"{self.command}\n{url.path}\n{canonical}\nhost:{HOST}\n\nhost\nUNSIGNED-PAYLOAD"
        scope = query["X-Goog-Credential"].partition("/")[2]
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = "\n".join([query["X-Goog-Algorithm"], query["X-Goog-Date"], scope, digest])
        made = datetime.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        in_time = datetime.now(UTC) < made + timedelta(seconds=int(query["X-Goog-Expires"]))
        return in_time and self.front.is_signed(text.encode(), bytes.fromhex(query[SIGNED]))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Log nothing."""

    do_GET = handle_any  # noqa: N815 - the names of the base class
    do_PUT = handle_any  # noqa: N815
    do_POST = handle_any  # noqa: N815
    do_DELETE = handle_any  # noqa: N815
    do_HEAD = handle_any  # noqa: N815
