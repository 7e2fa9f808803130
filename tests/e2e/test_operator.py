"""The operator's part of the queue page, in a real browser with the real service."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.sync_api import Page, expect

from limner_client.client import Client
from tests.e2e.bulks import SMALL
from tests.processes import eventually

OpenPage = Callable[..., Page]


@pytest.fixture
def api(service: int) -> Iterator[httpx.Client]:
    """The API of the service, in which no pause is left."""
    with httpx.Client(base_url=f"http://127.0.0.1:{service}/api/v1/") as client:
        yield client
        for each in client.get("pauses").json()["items"]:
            client.delete(f"pauses/{each['id']}")


def test_the_operator_sees_the_workers_and_pauses_and_resumes_a_model(
    service: int, api: httpx.Client, open_page: OpenPage
):
    page = open_page("/queue", clock=True)
    worker = page.locator("#workers article")
    expect(worker).to_contain_text("limner-flow, limner-gan", timeout=30_000)
    expect(worker.get_by_role("heading")).to_have_text("cpu")
    expect(worker).to_contain_text("GiB")
    expect(page.locator("#hour svg")).to_have_count(3)
    card = page.locator("[data-name=limner-gan]")
    card.get_by_role("button", name="Pause").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("new weights")
    dialog.get_by_role("button", name="Pause it").click()
    expect(card).to_contain_text("The operator has paused this model: new weights")
    expect(card.get_by_role("button", name="Resume")).to_be_focused()
    expect(page.locator("#pauses .row")).to_have_text([re.compile("A model whose jobs wait.*new weights")])
    with Client(f"http://127.0.0.1:{service}") as client:
        job = client.submit(SMALL | {"prompt": "ghost"})
        page.clock.fast_forward(30_000)  # in which the page reads the queues also where it heard of no change
        expect(card).to_contain_text("1 waiting")
        expect(card.locator(".lanes li")).to_have_count(1)
        expect(page.locator("#tenants .row")).to_contain_text("1 waiting · 0 running")
        card.get_by_role("button", name="Resume").click()
        expect(card.get_by_role("button", name="Pause")).to_be_visible()
        expect(page.get_by_role("region", name="Pauses")).to_be_hidden()
        eventually(lambda: client.job(job.id).status == "succeeded", 60)


def test_the_operator_pauses_a_tenant_by_its_name_and_ends_the_pause_by_keyboard(
    api: httpx.Client, open_page: OpenPage
):
    page = open_page("/queue")
    button = page.get_by_role("button", name="Pause a tenant")
    for name, shown in (("acme", "There is no tenant 'acme'."), ("local", "local is paused")):
        button.focus()
        page.keyboard.press("Enter")
        page.keyboard.type(name)
        page.get_by_label("Reason").fill("unpaid")
        page.get_by_label("How long").select_option("for an hour")
        page.keyboard.press("Enter")
        expect(page.get_by_text(shown)).to_be_visible()
    [pause] = api.get("pauses").json()["items"]
    assert (pause["tenant"], pause["reason"]) == ("local", "unpaid")
    assert datetime.fromisoformat(pause["until"]) - datetime.now(UTC) < timedelta(hours=1)
    row = page.locator("#pauses .row")
    expect(row).to_have_text([re.compile("local.*A tenant whose jobs wait · since .*unpaid, until")])
    row.get_by_role("button", name="Resume local").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Pauses")).to_be_hidden()
    expect(button).to_be_focused()
    assert api.get("pauses").json() == {"items": []}


def test_the_operator_drains_a_worker_that_then_can_be_stopped_or_take_jobs_again(
    api: httpx.Client, open_page: OpenPage
):
    [worker] = api.get("workers").json()["items"]
    page = open_page("/queue", clock=True)
    card = page.locator("#workers article")
    card.get_by_role("button", name=f"Drain {worker['id']}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("No other worker takes jobs: they wait meanwhile.")
    dialog.get_by_label("Reason").fill("a new driver")
    page.keyboard.press("Enter")
    expect(card).to_contain_text("draining")
    expect(card).to_contain_text("Reason: a new driver")
    expect(page.locator("#pauses .row")).to_have_text([re.compile(f"{worker['id']}.*takes no new jobs.*a new driver")])
    drained = worker | {"draining": True, "held": 0}  # as it reports with its next heartbeat
    page.route("**/api/v1/workers", lambda route: route.fulfill(json={"items": [drained]}))
    page.clock.fast_forward(30_000)  # in which the page asks again
    expect(card).to_contain_text("It holds no job: it can be stopped.")
    page.unroute("**/api/v1/workers")
    card.get_by_role("button", name=f"Resume {worker['id']}").click()
    expect(page.locator("#pauses .row")).to_have_count(0)
    eventually(lambda: not api.get("workers").json()["items"][0]["draining"])  # by its next heartbeat
    page.clock.fast_forward(30_000)
    expect(card.get_by_role("button", name=f"Drain {worker['id']}")).to_be_visible()
    assert api.get("pauses").json() == {"items": []}
