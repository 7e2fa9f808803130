"""The programs in the guide to webhooks verify what the sender signs, and refuse everything else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from limner_dispatcher.webhooks.sender import signed_headers
from limner_shared.domain.webhooks import new_secret

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "webhooks.md"
BODY = '{"id":"evt_1","type":"job.succeeded","data":{"id":"job_1","prompt":"ein Apfel für dich 🍎"}}'


def programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)


def run(number: int) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(programs()[number], f"{GUIDE}:{number}", "exec"), names)  # noqa: S102 - the guide's own program
    return names


def test_the_receiver_of_the_guide_handles_each_event_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    secret = new_secret()
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    receive = run(0)["receive"]
    for _ in range(2):
        assert receive(BODY.encode(), signed_headers("evt_1", BODY, [new_secret(), secret])) == 204
    assert capsys.readouterr().out == "job.succeeded job_1\n"
    assert receive(BODY.encode() + b" ", signed_headers("evt_2", BODY, [secret])) == 400
    assert receive(BODY.encode(), signed_headers("evt_2", BODY, [new_secret()])) == 400


def test_the_verification_without_a_library_accepts_and_refuses_the_same():
    secret, is_genuine = new_secret(), run(1)["is_genuine"]
    headers = signed_headers("evt_1", BODY, [new_secret(), secret])
    assert is_genuine(BODY.encode(), headers, secret)
    assert not is_genuine(BODY.encode() + b" ", headers, secret)
    assert not is_genuine(BODY.encode(), headers, new_secret())
    assert not is_genuine(BODY.encode(), headers | {"webhook-id": "evt_2"}, secret)
    assert not is_genuine(BODY.encode(), headers | {"webhook-timestamp": "1700000000"}, secret)
