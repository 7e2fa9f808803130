"""How many requests an open page makes, and what it does when there are too many."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Page, Request, Route, expect

pytestmark = pytest.mark.long


def requests_of(page: Page) -> list[str]:
    """The paths of the API that the page asks for from now on."""
    seen: list[str] = []

    def note(request: Request) -> None:
        path = urlsplit(request.url).path
        if path.startswith("/api/v1/") and not path.endswith("/events"):
            seen.append(path)

    page.on("request", note)
    return seen


def paused(open_page: Callable[..., Page], path: str) -> Page:
    """A page whose clock the test moves on."""
    page = open_page(path, clock=True)
    page.clock.run_for(1000)
    return page


def test_a_queue_in_which_nothing_changes_makes_few_requests(service: int, open_page: Callable[..., Page]):
    httpx.post(f"http://127.0.0.1:{service}/api/v1/jobs/cancel")  # what tests before left waiting, which a page polls
    page = paused(open_page, "/queue")
    seen = requests_of(page)
    for _ in range(60):
        page.clock.run_for(1000)
    expect(page.locator("#health")).to_be_visible()
    assert len(seen) <= 30, seen  # for a minute


def test_a_page_waits_as_long_as_the_service_says(open_page: Callable[..., Page]):
    page = paused(open_page, "/queue")

    def refuse(route: Route) -> None:
        route.fulfill(status=429, headers={"Retry-After": "120"}, json={"code": "limit_reached"})

    page.route("**/api/v1/usage", refuse)
    with page.expect_response("**/api/v1/usage"):
        for _ in range(40):
            page.clock.run_for(1000)
    expect(page.locator("#problem")).to_be_visible()
    seen = requests_of(page)
    page.unroute("**/api/v1/usage")
    for _ in range(70):
        page.clock.run_for(1000)
    assert "/api/v1/usage" not in seen
    for _ in range(60):
        page.clock.run_for(1000)
    expect(page.locator("#problem")).to_be_hidden()
