"""The conversation page while messages are on their way, in a real browser."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, Request, Route, expect

from tests.processes import eventually

OpenPage = Callable[..., Page]


def posts(page: Page) -> list[Request]:
    """What the page posts from now on."""
    seen: list[Request] = []

    def note(request: Request) -> None:
        if request.method == "POST":
            seen.append(request)

    page.on("request", note)
    return seen


def hold(page: Page, path: str) -> list[Route]:
    """Posts to the path, which wait for the test."""
    held: list[Route] = []

    def handle(route: Route) -> None:
        if route.request.method == "POST":
            held.append(route)
        else:
            route.continue_()

    page.route(path, handle)
    return held


def test_a_message_is_sent_once_and_what_is_typed_meanwhile_stays(open_page: OpenPage):
    page = open_page("/conversation")
    held, seen = hold(page, "**/api/v1/conversations"), posts(page)
    message = page.get_by_label("Message")
    message.fill("a red car, 64x64")
    for event in ({"isComposing": True}, {"repeat": True}):
        message.dispatch_event("keydown", {"key": "Enter", "bubbles": True, "cancelable": True} | event)
    expect(message).to_have_value("a red car, 64x64")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    message.fill("bluer")
    page.keyboard.press("Enter")
    eventually(lambda: bool(held))
    held[0].continue_()
    expect(page.locator(".reply.succeeded")).to_have_count(1, timeout=60_000)
    expect(message).to_have_value("bluer")
    assert len(seen) == 1


def test_a_message_that_cannot_be_sent_is_back_in_the_field(open_page: OpenPage):
    page = open_page("/conversation")
    held = hold(page, "**/api/v1/conversations")
    message = page.get_by_label("Message")
    message.fill("a red car")
    page.keyboard.press("Enter")
    eventually(lambda: bool(held))
    message.fill("with a hat")
    held[0].abort()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(message).to_have_value("a red car\nwith a hat")
