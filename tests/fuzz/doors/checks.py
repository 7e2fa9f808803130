"""What must hold for every answer, whatever the request."""

from __future__ import annotations

import json
import re
from typing import Any, Final, cast
from urllib.parse import unquote

import httpx

from limner_shared import errors
from limner_shared.db.tables import Job
from limner_shared.domain.jobs import JobSpec
from limner_shared.errors import LimnerError
from limner_web.http.problems import HTTP_CODES
from tests.fuzz.doors.requests import Request
from tests.fuzz.doors.world import CANARY

CODES: Final = {
    *(each.code for each in vars(errors).values() if isinstance(each, type) and issubclass(each, LimnerError)),
    *HTTP_CODES.values(),
    "http_error",
}
AFTER_ACCEPTANCE: Final = ("deadline_exceeded", "invalid_state", "not_found")
"""Codes with which an accepted job's call may end: it expired, was canceled, or deleted."""
OF_NO_FIELD: Final = ("body: remove NUL", "is beyond", "At most 20 endpoints")
"""Names that cannot be stored and numbers before their place is known, and what a tenant has too many of."""
MAX_SECONDS: Final = 10.0


def check(request: Request, answer: httpx.Response, jobs: list[Job], seconds: float, mine: str) -> None:
    """Raise AssertionError, which says what is wrong. `jobs` are those that the request has made."""
    told = check_alone(request, answer)
    assert seconds < MAX_SECONDS, f"took {seconds:.1f} s: {told}"
    if request.path == "/mcp":
        _check_agent(request, answer, jobs)
        return
    if answer.status_code >= 400:
        _check_refusal(request, answer, jobs, told)
    elif request.makes_job:
        assert len(jobs) == 1, f"accepted, and made {len(jobs)} jobs: {told}"
        _check_job(request, jobs[0])
    elif request.raw is None:
        assert not jobs, f"made {len(jobs)} jobs: {told}"


def check_alone(request: Request, answer: httpx.Response) -> str:
    """Raise AssertionError for what no answer may be, whatever else the service does; returns the answer in short."""
    told = f"{answer.status_code} {answer.text[:500]!r}"
    assert answer.status_code < 500 or _code(request, answer) in AFTER_ACCEPTANCE, f"a server error: {told}"
    assert CANARY not in answer.text, f"another tenant's data: {told}"
    assert "Traceback" not in answer.text, f"a traceback: {told}"
    return told


def _check_refusal(request: Request, answer: httpx.Response, jobs: list[Job], told: str) -> None:
    code = _code(request, answer)
    assert not jobs or code in AFTER_ACCEPTANCE, f"refused, and made {len(jobs)} jobs: {told}"
    if answer.headers["Content-Type"].startswith("text/html") or answer.request.method == "HEAD":
        return
    assert code in CODES, f"no stable code: {told}"
    if code == "invalid_request" and request.raw is None:
        field = _field(request, answer)
        if not field and ("" in request.names or any(words in answer.text for words in OF_NO_FIELD)):
            return
        assert field, f"names no parameter: {told}"
        first = re.split(r"[.\[]", str(field))[0]
        names = {name.lower().replace("-", "_").removesuffix("[]") for name in request.names}  # a list in a query
        told_name = unquote(str(field)).lower().replace("-", "_")  # of a form, whose client escapes names
        is_sent = any(name.startswith(told_name) for name in names)
        assert is_sent or first in request.names | names, f"names {field!r}, which was not sent: {told}"


def _check_job(request: Request, job: Job) -> None:
    spec = JobSpec.model_validate(job.spec).model_dump(mode="json")
    for name, value in request.asks.items():
        assert spec[name] == value, f"{name} is {spec[name]!r} in the job, and {value!r} in the request"


def _check_agent(request: Request, answer: httpx.Response, jobs: list[Job]) -> None:
    if answer.status_code != 200:
        assert not jobs, f"refused, and made {len(jobs)} jobs: {answer.text[:300]}"
        return
    message = _message(answer)
    result = message.get("result", {})
    if "error" in message or result.get("isError"):
        assert not jobs, f"refused, and made {len(jobs)} jobs: {answer.text[:300]}"
        if "error" not in message:
            text: str = result["content"][0]["text"]
            found = re.match(r"(?:Error executing tool \w+: )?([a-z_]+): ", text)
            is_known = found is not None and found[1] in CODES
            assert is_known or text.startswith("Unknown tool"), f"no stable code: {text[:300]!r}"
    elif request.makes_job:
        assert len(jobs) == 1, f"accepted, and made {len(jobs)} jobs: {answer.text[:300]}"


def _message(answer: httpx.Response) -> dict[str, Any]:
    if answer.headers["Content-Type"].startswith("text/event-stream"):
        data = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: ")]
        return cast("dict[str, Any]", json.loads(data[-1])) if data else {}
    return cast("dict[str, Any]", json.loads(answer.text)) if answer.text else {}


def _error(request: Request, answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    if not isinstance(body, dict):
        return {}
    found = cast("dict[str, Any]", body)
    return cast("dict[str, Any]", found.get("error", {})) if request.path.startswith("/v1/") else found


def _code(request: Request, answer: httpx.Response) -> str | None:
    return _error(request, answer).get("code")


def _field(request: Request, answer: httpx.Response) -> Any:
    error = _error(request, answer)
    first = cast("list[dict[str, Any]]", error.get("errors") or [{}])[0]
    return error.get("param") or error.get("field") or first.get("field")
