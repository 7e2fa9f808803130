"""Calls on native threads: which are refused, and what the refusal says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from limner_shared.errors import Overloaded
from limner_web.serving import offload
from limner_web.serving.offload import Threads


def test_a_refusal_names_what_too_many_calls_do(monkeypatch: pytest.MonkeyPatch):
    def always(_name: str) -> bool:
        return True

    monkeypatch.setattr(offload, "monkey", SimpleNamespace(is_module_patched=always))
    with pytest.raises(Overloaded, match="Too many searches for similar images are running"):
        Threads(0, 0, work="searches for similar images are running").call(int)


def test_a_tenant_cannot_take_the_places_of_others_and_gets_its_own_back():
    threads = Threads(1, 1, tenant_share=0.5)

    def twice(tenant_id: str) -> int:
        return threads.call_for("first", threads.call_for, tenant_id, int)

    for _ in range(2):
        with pytest.raises(Overloaded, match="for this tenant"):
            twice("first")
        assert twice("second") == 0
