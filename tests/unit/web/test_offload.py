"""Calls on native threads: which are refused, and what the refusal says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from tests.processes import eventually

from limner_shared.errors import Overloaded
from limner_web.serving import offload
from limner_web.serving.offload import OffloadPool


def test_a_refusal_names_what_too_many_calls_do(monkeypatch: pytest.MonkeyPatch):
    def always(_name: str) -> bool:
        return True

    monkeypatch.setattr(offload, "monkey", SimpleNamespace(is_module_patched=always))
    with pytest.raises(Overloaded, match="Too many searches for similar images are running"):
        OffloadPool(0, 0, work="searches for similar images are running").call(int)


def test_a_tenant_cannot_take_the_places_of_others_and_gets_its_own_back():
    threads = OffloadPool(1, 1, tenant_share=0.5)

    def twice(tenant_id: str) -> int:
        return threads.call_for("first", threads.call_for, tenant_id, int)

    for _ in range(2):
        with pytest.raises(Overloaded, match="for this tenant"):
            twice("first")
        assert twice("second") == 0


def test_a_tenants_calls_leave_threads_for_those_of_others(monkeypatch: pytest.MonkeyPatch):
    def as_under_gevent(_name: str) -> bool:
        return True

    class Threads:
        """Instead of gevent's: `count` calls run, and the others wait for one of them."""

        def __init__(self, count: int) -> None:
            self._free = threading.Semaphore(count)

        def apply(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
            with self._free:
                return function(*args)

    monkeypatch.setattr(offload, "monkey", SimpleNamespace(is_module_patched=as_under_gevent))
    monkeypatch.setattr(offload, "ThreadPool", Threads)
    threads, ended, running = OffloadPool(4, 8, tenant_share=0.5), threading.Event(), threading.Semaphore(0)

    def hangs() -> bool:
        running.release()
        return ended.wait(30)

    with ThreadPoolExecutor(8) as pool:
        mine = [pool.submit(threads.call_for, "mine", hangs) for _ in range(6)]
        assert all(running.acquire(timeout=30) for _ in range(2))
        assert pool.submit(threads.call_for, "other", bool, 1).result(30)
        ended.set()
        assert all(each.result(30) for each in mine)


def test_calls_in_turn_take_one_place_of_a_tenant_and_hold_up_nobody_else():
    threads, begun, ended = OffloadPool(1, 7), threading.Event(), threading.Event()
    running: list[str] = []

    def one_of(tenant_id: str) -> list[str]:
        running.append(tenant_id)
        begun.set()
        assert tenant_id == "other" or ended.wait(30)
        seen = list(running)
        running.remove(tenant_id)
        return seen

    with ThreadPoolExecutor(8) as pool:
        mine = [pool.submit(threads.call_in_turn, "mine", one_of, "mine") for _ in range(6)]
        assert begun.wait(30)
        assert threads.call_in_turn("other", one_of, "other") == ["mine", "other"]
        ended.set()
        assert [each.result(30) for each in mine] == [["mine"]] * 6


def test_a_call_in_turn_counts_in_its_tenants_share():
    threads = OffloadPool(1, 1, tenant_share=0.5)
    with pytest.raises(Overloaded, match="for this tenant"):
        threads.call_for("first", threads.call_in_turn, "first", int)
    assert threads.call_in_turn("first", int) == 0


def test_a_tenant_has_a_limited_number_of_calls_that_wait_for_its_turn():
    threads = OffloadPool(1, 8, in_turn=2)
    ended, running = threading.Event(), threading.Semaphore(0)

    def hangs() -> bool:
        running.release()
        return ended.wait(30)

    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(threads.call_in_turn, "mine", hangs) for _ in range(2)]
        assert running.acquire(timeout=30)
        eventually(lambda: threads._in_turn["mine"] == 2)
        with pytest.raises(Overloaded, match="for this tenant"):
            threads.call_in_turn("mine", int)
        ended.set()
        assert all(each.result(30) for each in waiting)
    assert threads.call_in_turn("mine", int) == 0
