"""A truncated request is never accepted as complete: a real server, and a socket that closes early."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from sqlalchemy import func, select

from limner_shared.db.file_tables import StoredFile
from limner_shared.db.tables import Bulk, Job
from tests.api.test_bulks import lines
from tests.processes import Service

pytestmark = pytest.mark.long

LINES = lines(*[{"prompt": "x"}] * 100)
HEAD = "POST /api/v1/bulks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/jsonl\r\nIdempotency-Key: k\r\n"
DECLARED = f"{HEAD}Content-Length: {len(LINES)}\r\n\r\n".encode()
CHUNKED = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()


def send_and_close(service: Service, data: bytes) -> tuple[int, dict[str, Any]]:
    """Send these bytes, close the socket for writing, and return the response's status and body."""
    with socket.create_connection(("127.0.0.1", service.settings.port), timeout=30) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def rows(service: Service) -> tuple[int, int]:
    with service.database.read() as session:
        bulks, jobs = (session.scalar(select(func.count()).select_from(table)) or 0 for table in (Bulk, Job))
        return bulks, jobs


def test_a_bulk_shorter_than_its_content_length_is_refused_and_can_be_repeated(server: Service):
    for made, kept in enumerate((0, len(LINES) // 2, len(LINES) // 100 * 51, len(LINES) - 2, len(LINES) - 1)):
        head = DECLARED.replace(b"Idempotency-Key: k", b"Idempotency-Key: k%d" % kept)
        status, problem = send_and_close(server, head + LINES[:kept])
        assert (status, problem["code"]) == (400, "malformed_body"), kept
        assert f"{kept} of {len(LINES)} bytes" in problem["detail"]
        assert rows(server) == (made, 100 * made), kept
        status, bulk = send_and_close(server, head + LINES)
        assert (status, bulk["total"]) == (202, 100), kept


@pytest.mark.long
@pytest.mark.parametrize(
    "end",
    [b"", b"0\r\n", f"{len(LINES):x}\r\n".encode() + LINES[:-7], b"zz\r\n"],
    ids=["no final chunk", "no end of trailers", "in a chunk", "no size"],
)
def test_a_chunked_bulk_without_its_final_chunk_is_refused_and_can_be_repeated(server: Service, end: Any):
    status, problem = send_and_close(server, CHUNKED + chunk(LINES[: len(LINES) // 2]) + end)
    assert (status, problem["code"]) == (400, "malformed_body")
    assert rows(server) == (0, 0)
    status, bulk = send_and_close(server, CHUNKED + chunk(LINES) + b"0\r\n\r\n")
    assert (status, bulk["total"]) == (202, 100)


def form(path: str, *parts: tuple[str, str]) -> tuple[str, bytes]:
    """The head of a request with a form, without its length, and the form. A part is a disposition and a value."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    texts = (f"--b\r\nContent-Disposition: form-data; {name}\r\n\r\n{value}\r\n" for name, value in parts)
    return head, ("".join(texts) + "--b--\r\n").encode()


FILE = 'name="file"; filename="a.jsonl"', LINES.decode()
FORMS = {
    "a file": form("/v1/files", ('name="purpose"', "batch"), FILE),
    "an edit": form("/v1/images/edits", ('name="prompt"', "x"), ('name="image"; filename="a.png"', "x" * 999)),
    "an input": form("/replicate/v1/files", ('name="content"; filename="a.png"', "x" * 999), ('name="metadata"', "{}")),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_is_cut_off_is_refused_as_such_and_stores_nothing(server: Service, name: str):
    """Also where a part is missing and the rest would be a whole form, and where nothing but the end is missing."""
    head, whole = FORMS[name]
    size = len(whole)
    declared = [(kept, size) for kept in (0, 1, size // 3, size - 100, size - 7, size - 1)]
    without_end = [(kept, kept) for kept in (size // 3, size - 100, size - 7)]
    for kept, length in declared + without_end:
        status, body = send_and_close(server, f"{head}Content-Length: {length}\r\n\r\n".encode() + whole[:kept])
        assert (status, body.get("error", body)["code"]) == (400, "malformed_body"), (kept, length, body)
    with server.database.read() as session:
        assert session.scalars(select(StoredFile.id)).all() == []


def test_the_last_line_needs_no_newline(server: Service):
    data = LINES[:-1]
    status, bulk = send_and_close(server, f"{HEAD}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    assert (status, bulk["total"]) == (202, 100)


def test_a_truncated_job_request_is_refused(server: Service):
    head = (
        "POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    )
    status, problem = send_and_close(server, head.encode() + b'{"prompt": "x"}')
    assert (status, problem["code"]) == (400, "malformed_body")
    assert "15 of 99 bytes" in problem["detail"]


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (f"GET /api/v1/jobs?q={'x' * 8200} HTTP/1.1\r\nHost: 127.0.0.1\r\n", 414, "uri_too_long"),
        (f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nIdempotency-Key: {'x' * 8200}\r\n", 431, "headers_too_large"),
        ("nonsense\r\n", 400, "malformed_request"),
    ],
)
def test_a_head_that_cannot_be_read_is_answered_with_a_problem(server: Service, head: str, status: int, code: str):
    answered, problem = send_and_close(server, f"{head}\r\n".encode())
    assert (answered, problem["code"], problem["status"]) == (status, code, status)


def test_a_query_of_8000_bytes_is_read(server: Service):
    head = f"GET /api/v1/jobs?cursor={'x' * 8000} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    status, problem = send_and_close(server, head.encode())
    assert (status, problem["code"]) == (422, "invalid_request")
