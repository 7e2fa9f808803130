"""The traffic during the faults: a bulk and single jobs over HTTP, each repeated until it is accepted.

Every request has an idempotency key, so that a lost response causes a repeat and never a second job.
"""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from typing import Any

import httpx
from PIL import Image

BULK, SINGLES = 150, 50
FROM_A_PICTURE = 10
"""Number of single jobs with an input image."""
EQUAL = 25
"""Seeds repeat after this number of jobs: with deduplication, equal ones are drawn once."""
GIVE_UP_SECONDS = 60


def picture(number: int) -> str:
    """The `data:` URL of a small PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (number * 20, 80, 160)).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def until_accepted(
    client: httpx.Client, path: str, key: str, seconds: float, failures: list[str], **sent: Any
) -> dict[str, Any] | None:
    """Repeat a request with one Idempotency-Key until it is accepted; otherwise None, and an entry in `failures`."""
    headers = {"Idempotency-Key": key} | sent.pop("headers", {})
    deadline, told = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        try:
            answer = client.post(path, headers=headers, **sent)
            if answer.is_success:
                return answer.json()
            told = answer.text
            if not answer.json().get("retryable", answer.status_code >= 500 or answer.status_code == 409):
                break
        except (httpx.HTTPError, ValueError) as error:
            told = repr(error)
        time.sleep(0.2)
    failures.append(f"{path} was not accepted within {seconds:g} s: {told[:300]}")
    return None


class Traffic(threading.Thread):
    """Sends 200 jobs; `accepted` has the ids of those with a 2xx response, `failures` what could not be sent."""

    def __init__(self, url: str, name: str, from_a_picture: int = FROM_A_PICTURE) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.name_ = name
        self.from_a_picture = from_a_picture
        self.accepted: set[str] = set()
        self.singles: list[str] = []
        """The single jobs among the accepted ones, the oldest first."""
        self.failures: list[str] = []

    def run(self) -> None:
        with httpx.Client(base_url=f"{self.url}/api/v1", timeout=10) as client:
            lines = "".join(json.dumps({"prompt": "a line", "seed": n % EQUAL}) + "\n" for n in range(BULK))
            bulk = self._until_accepted(client, "/bulks", f"{self.name_}-bulk", lines, "application/jsonl")
            for number in range(SINGLES):
                request: dict[str, Any] = {"prompt": "a single job", "seed": 1000 + number % EQUAL}
                if number < self.from_a_picture:
                    request["image"] = picture(number)
                body = json.dumps(request)
                job = self._until_accepted(client, "/jobs", f"{self.name_}-{number}", body, "application/json")
                if job is not None:
                    self.accepted.add(job["id"])
                    self.singles.append(job["id"])
            if bulk is not None:
                self.accepted |= self._ids(client, bulk["links"]["results"])

    def _until_accepted(self, client: httpx.Client, path: str, key: str, body: str, kind: str) -> dict[str, Any] | None:
        sent: dict[str, Any] = {"content": body, "headers": {"Content-Type": kind}}
        return until_accepted(client, path, key, GIVE_UP_SECONDS, self.failures, **sent)

    def _ids(self, client: httpx.Client, results: object) -> set[str]:
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while True:
            try:
                answer = client.get(str(results).removeprefix("/api/v1"))
                ids = {json.loads(line)["id"] for line in answer.raise_for_status().text.splitlines()}
                if len(ids) == BULK:
                    return ids
                raise ValueError(f"{len(ids)} lines")
            except (httpx.HTTPError, ValueError) as error:
                if time.monotonic() > deadline:
                    self.failures.append(f"the bulk's results: {error}")
                    return set()
                time.sleep(0.2)
