"""Exports convert their pages by turns."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.processes import eventually

from limner_web.serving.page_turns import PageTurns


def test_exports_have_turns_one_at_a_time_and_tenants_alternate() -> None:
    turns, order, running = PageTurns(), list[str](), list[str]()
    asked, may_begin = list[str](), threading.Event()

    def export(tenant: str) -> None:
        asked.append(tenant)
        with turns.turn(tenant):
            running.append(tenant)
            assert may_begin.wait(60)
            order.append(tenant)
            assert running == [tenant]
            running.clear()

    with ThreadPoolExecutor(12) as pool:
        for count in range(1, 11):
            pool.submit(export, "many")
            eventually(lambda count=count: len(asked) == count)
        eventually(lambda: running)
        pool.submit(export, "one")
        eventually(lambda: len(asked) == 11)
        may_begin.set()
    assert len(order) == 11
    assert order.index("one") <= 2
