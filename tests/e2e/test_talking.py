"""The conversation page while messages, conversations and previews are on their way, in a real browser."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.e2e.bulks import SMALL
from tests.e2e.start_states import photo
from tests.processes import eventually

pytestmark = pytest.mark.long

OpenPage = Callable[..., Page]
LATE_PREVIEWS = """
const read = Response.prototype.blob;
window.previews = 0;
Response.prototype.blob = async function () {
    const body = await read.call(this);
    if (!this.url.endsWith("/preview")) return body;
    window.previews += 1;
    await new Promise((go) => { addEventListener("late", go, { once: true }); });
    return body;
};
"""


def talk(service: int, message: str) -> str:
    """The id of a conversation with one message."""
    url = f"http://127.0.0.1:{service}/api/v1/conversations"
    return httpx.post(url, json=SMALL | {"message": message}).json()["id"]


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
    eventually(lambda: bool(page.title()) and bool(held))  # a call lets the routes go on
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
    eventually(lambda: bool(page.title()) and bool(held))  # a call lets the routes go on
    message.fill("with a hat")
    held[0].abort()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(message).to_have_value("a red car\nwith a hat")


def test_a_message_stays_in_its_conversation_while_another_one_is_opened(service: int, open_page: OpenPage):
    talk(service, "one red car, please")
    page = open_page(f"/conversation#{talk(service, 'one green frog, please')}")
    held = hold(page, "**/messages")
    message, said = page.get_by_label("Message"), page.locator(".turn .message p")
    expect(said).to_have_text(["one green frog, please"])
    message.fill("yellow")
    page.keyboard.press("Enter")
    eventually(lambda: bool(page.title()) and bool(held))  # a call lets the routes go on
    page.get_by_role("link", name="one red car").first.click()
    expect(said).to_have_text(["one red car, please"])
    with page.expect_response("**/messages"):
        held[0].continue_()
    page.unroute("**/messages")
    with page.expect_request("**/messages") as sent:
        message.fill("bluer")
        eventually(lambda: page.keyboard.press("Enter") or not message.input_value())  # once the answer has been read
    expect(said).to_have_text(["one red car, please", "bluer"])
    assert page.url.rpartition("#")[2] in sent.value.url


def test_a_message_for_a_new_conversation_may_be_left_behind(open_page: OpenPage):
    page = open_page("/conversation")
    held = hold(page, "**/api/v1/conversations")
    page.get_by_label("Message").fill("a lonely lemon, 64x64")
    page.keyboard.press("Enter")
    eventually(lambda: bool(page.title()) and bool(held))  # a call lets the routes go on
    page.get_by_role("button", name="New conversation").click()
    held[0].continue_()
    expect(page.get_by_role("link", name="a lonely lemon")).to_be_visible()  # in the list
    expect(page.locator(".turn")).to_have_count(0)
    assert "#" not in page.url


def test_a_conversation_that_cannot_be_loaded_gets_no_message_and_neither_does_the_one_before(
    service: int, open_page: OpenPage
):
    lost = talk(service, "one purple plum, please")
    page = open_page(f"/conversation#{talk(service, 'one orange, please')}")
    expect(page.locator(".turn")).to_have_count(1)
    page.route(f"**/conversations/{lost}", lambda route: route.fulfill(status=503, json={}))
    page.get_by_role("link", name="one purple plum").first.click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator(".turn")).to_have_count(0)
    seen = posts(page)
    page.get_by_label("Message").fill("riper")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Message")).to_have_value("riper")
    page.unroute(f"**/conversations/{lost}")
    page.keyboard.press("Enter")
    expect(page.locator(".turn .message p")).to_have_text(["one purple plum, please", "riper"])
    assert [request.url.split("/")[-2:] for request in seen] == [[lost, "messages"]]


def test_a_late_preview_does_not_replace_the_finished_pictures(open_page: OpenPage):
    page = open_page("/conversation")
    page.add_init_script(LATE_PREVIEWS)
    page.reload()
    body = photo()["buffer"]
    page.route("**/preview", lambda route: route.fulfill(content_type="image/png", body=body))
    page.get_by_label("Message").fill("4 pictures of a red car, 100 steps")
    page.keyboard.press("Enter")
    eventually(lambda: page.evaluate("previews"), 60)
    reply = page.locator(".turn .reply")
    expect(reply.locator(".choice")).to_have_count(4, timeout=60_000)
    page.evaluate("dispatchEvent(new Event('late'))")
    page.evaluate("new Promise((go) => { setTimeout(go); })")  # after what the event has released
    expect(reply.locator(".choice")).to_have_count(4)
    expect(reply.locator(".preview")).to_have_count(0)
