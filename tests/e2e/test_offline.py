"""What a page shows when it is opened or reloaded without the service, in a real browser with its service worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.accessibility import violations

OpenPage = Callable[..., Page]
WORKING = "navigator.serviceWorker.ready.then(({active}) => active.state)"
KEPT = """async () => {
    const found = [];
    for (const name of await caches.keys())
        for (const { url } of await (await caches.open(name)).keys()) found.push(new URL(url).pathname);
    return found;
}"""


def visit(open_page: OpenPage, path: str, **options: Any) -> Page:
    """A page of a visitor whose browser has the service worker."""
    page = open_page(path, service_workers="allow", **options)
    assert page.evaluate(WORKING) in {"activating", "activated"}
    return page


def test_a_page_that_cannot_be_loaded_says_so_and_opens_by_itself_when_it_can(open_page: OpenPage) -> None:
    page = visit(open_page, "/gallery?q=fox", locale="de", color_scheme="dark")
    page.context.set_offline(offline=True)
    page.reload()
    expect(page.get_by_role("heading", name="Der Dienst ist nicht erreichbar")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.panel')).borderRadius") == "18px"
    assert page.evaluate("document.querySelector('main img').naturalWidth") > 0
    assert page.url.endswith("/gallery?q=fox")
    assert violations(page) == []
    page.context.set_offline(offline=False)
    expect(page.get_by_role("heading", name="Galerie")).to_be_visible()
    assert page.url.endswith("/gallery?q=fox")


def test_the_worker_keeps_its_own_page_and_nothing_else(service: int, open_page: OpenPage) -> None:
    page = visit(open_page, "/")
    for path in ("/gallery", "/account", "/"):
        page.goto(f"http://127.0.0.1:{service}{path}")
        expect(page.locator("[aria-busy=true]")).to_have_count(0)
    found = page.evaluate(KEPT)
    assert found[0] == "/offline"
    assert {path.rpartition("/")[2] for path in found[1:]} == {"common.css", "offline.js", "icon.svg"}
    page.context.set_offline(offline=True)
    assert page.evaluate("fetch('/api/v1/usage').then(() => 'answered', () => 'failed')") == "failed"


@pytest.mark.long
def test_an_old_worker_goes_on_asking_a_service_that_no_longer_has_it(service: int, open_page: OpenPage) -> None:
    page = visit(open_page, "/queue")
    page.context.route("**/service-worker.js", lambda route: route.fulfill(status=404))
    page.reload()
    expect(page.get_by_role("heading", name="Queue", exact=True)).to_be_visible()
    assert page.evaluate("performance.getEntriesByType('navigation')[0].workerStart") > 0
