"""Jobs that did not succeed are asked for again, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
from playwright.sync_api import Page, expect

from limner_client.client import Client
from limner_shared.domain.views import JobView
from tests.e2e.bulks import SMALL
from tests.processes import eventually

OpenPage = Callable[..., Page]
DESCRIPTION = "zwei Bilder von einem Geist, bitte"


@contextmanager
def paused(service: int) -> Iterator[None]:
    """Pause the own queue, so that nothing is read or drawn."""
    url = f"http://127.0.0.1:{service}/api/v1/pause"
    httpx.put(url, json={}).raise_for_status()
    try:
        yield
    finally:
        httpx.delete(url).raise_for_status()


def newest(client: Client, before: str) -> JobView:
    """The job that was made after another one."""
    eventually(lambda: client.jobs().items[0].id != before)
    return client.jobs().items[0]


def test_a_description_that_was_not_read_is_asked_for_again_as_a_description(service: int, open_page: OpenPage):
    page = open_page()
    with Client(f"http://127.0.0.1:{service}") as client, paused(service):
        job = client.cancel(client.submit(SMALL | {"description": DESCRIPTION, "style": "flat"}).id)
        tile = page.locator(f"#{job.id}")
        for name in ("Try again", "Again, with another seed"):
            before = client.jobs().items[0].id
            tile.get_by_role("button", name=name).click()
            made = newest(client, before)
            assert (made.description, made.given, made.style) == (DESCRIPTION, ["style", "width", "height"], "flat")
            client.cancel(made.id)
        tile.get_by_role("button", name="Remix").click()
        expect(page.get_by_role("textbox", name="Description")).to_have_value(DESCRIPTION)
        expect(page.get_by_role("button", name="Read it")).to_be_visible()


def test_a_message_that_was_not_read_is_tried_again_in_its_conversation(service: int, open_page: OpenPage):
    page = open_page("/conversation")
    page.get_by_label("Message").fill("a red car, 64x64")
    page.keyboard.press("Enter")
    turn = page.locator(".turn").last
    expect(page.locator(".reply.succeeded")).to_have_count(1, timeout=60_000)
    expect(turn.get_by_role("button", name="Try again")).to_be_hidden()
    studio = open_page()
    with Client(f"http://127.0.0.1:{service}") as client, paused(service):
        page.get_by_label("Message").fill("bluer")
        page.keyboard.press("Enter")
        expect(turn.locator(".message")).to_contain_text("bluer")
        turn.get_by_role("button", name="Cancel").click()
        expect(turn.get_by_role("button", name="Try again")).to_be_visible()
        job = client.jobs().items[0]
        studio.locator(f"#{job.id}").get_by_role("button", name="Try again").click()
        made = newest(client, job.id)
        assert (made.description, made.conversation) == ("bluer", job.conversation)
        client.cancel(made.id)
    turn.get_by_role("button", name="Try again").click()
    expect(turn.locator(".branch")).to_contain_text("2 / 2")
    expect(turn.locator(".presentation")).to_contain_text("a blue car", timeout=60_000)


def test_a_description_of_a_bulk_that_was_not_read_is_retried_as_one(service: int, open_page: OpenPage):
    with Client(f"http://127.0.0.1:{service}") as client:
        with paused(service):
            lines = f'{{"description": "{DESCRIPTION}", "model": "limner-gan", "expires_in": 1}}\n'
            bulk = client.submit_bulk([lines.encode()]).id
            eventually(lambda: client.bulk(bulk).counts["failed"] == 1, 60)
        page = open_page("/bulk")
        with paused(service):
            page.locator(f"#{bulk}").get_by_role("button", name="Retry failed").click()
            expect(page.get_by_text("1 job queued again")).to_be_visible()
            made = client.cancel(client.jobs().items[0].id)
    assert (made.description, made.given) == (DESCRIPTION, [])


def test_a_cell_of_a_grid_that_failed_is_tried_again_and_stays_in_the_grid(service: int, open_page: OpenPage):
    def line(seed: int, **more: int) -> bytes:
        grid = {"x": ["seed", str(seed)], "y": ["style", "flat"]}
        request = SMALL | {"prompt": "a sunflower", "seed": seed, "style": "flat", "metadata": {"grid": grid}} | more
        return json.dumps(request).encode() + b"\n"

    with Client(f"http://127.0.0.1:{service}") as client, paused(service):
        bulk = client.submit_bulk([line(1), line(2, expires_in=1)]).id
        eventually(lambda: client.bulk(bulk).counts["failed"] == 1, 60)
    page = open_page(f"/grid?bulk={bulk}")
    expect(page.locator("#grid img")).to_have_count(1, timeout=60_000)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#grid img")).to_have_count(2, timeout=60_000)
    page.reload()
    expect(page.locator("#grid img")).to_have_count(2)
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)
