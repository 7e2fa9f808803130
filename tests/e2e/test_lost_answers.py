"""Forms whose answer is lost and which are sent again, in a real browser: the work is done once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.processes import eventually

pytestmark = pytest.mark.long


def studio(page: Page) -> None:
    page.get_by_role("textbox", name="Prompt").fill("a red apple")


def bulk(page: Page) -> None:
    page.get_by_label("Or write it here").fill("a red apple\na cat face")
    expect(page.get_by_role("button", name="Draw 2 jobs")).to_be_enabled()


def grid(page: Page) -> None:
    page.get_by_label("Prompt", exact=True).fill("sunflower")
    page.get_by_role("textbox", name="Columns: Steps").fill("1, 2")


def conversation(page: Page) -> None:
    page.get_by_label("Message").fill("a red car, 64x64")


def studio_is_free(page: Page) -> None:
    expect(page.get_by_role("alert")).to_be_hidden()


def bulk_is_free(page: Page) -> None:
    expect(page.get_by_label("Or write it here")).to_have_value("")


def grid_is_free(page: Page) -> None:
    expect(page.locator("#grid td[class]").first).to_be_visible()


def conversation_is_free(page: Page) -> None:
    expect(page.locator(".turn")).to_be_visible()


FORMS: dict[str, tuple[str, str, Callable[[Page], None], Callable[[Page], None]]] = {
    "studio": ("/", "jobs", studio, studio_is_free),
    "bulk": ("/bulk", "bulks", bulk, bulk_is_free),
    "grid": ("/grid", "bulks", grid, grid_is_free),
    "conversation": ("/conversation", "conversations", conversation, conversation_is_free),
}
"""The path of each form, what it makes, how it is filled, and how it shows that its answer has arrived."""


@pytest.mark.parametrize("name", FORMS)
def test_a_form_whose_answer_is_lost_and_which_is_sent_again_makes_one_thing(name: str, open_page: Callable[..., Page]):
    path, resource, fill, is_free = FORMS[name]
    page = open_page(path)
    sent: list[Request] = []
    made: list[str] = []

    def lose_the_first(route: Route) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        sent.append(route.request)
        answer = route.fetch()
        made.append(answer.json()["id"])
        if len(sent) == 1:
            route.abort()
        else:
            route.fulfill(response=answer)

    page.route(f"**/api/v1/{resource}", lose_the_first)
    submit = page.locator("form [type=submit]").first
    for number in (1, 2, 3):
        if name == "conversation" and number == 3:
            page.get_by_role("button", name="New conversation").click()
            expect(page.locator(".turn")).to_have_count(0)
        if number != 2:
            fill(page)
        submit.click()
        eventually(lambda wanted=number: bool(page.title()) and len(made) == wanted)  # a call lets the routes go on
        if number == 1:
            expect(page.get_by_text("cannot be reached").last).to_be_visible()
        elif number == 2:
            is_free(page)
    keys = [request.headers.get("idempotency-key") for request in sent]
    assert all(keys)
    assert keys[0] == keys[1] != keys[2]  # what has succeeded may be asked for again
    assert made[0] == made[1] != made[2]
