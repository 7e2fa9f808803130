"""The bulk, grid and queue pages in a real browser, with the real service."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, Route, expect

from limner_client.client import Client
from tests.e2e.bulks import SMALL, draw_bulk, submit_bulk


def test_a_bulk_is_checked_line_by_line_and_then_followed_to_its_end(
    service: int, open_page: Callable[..., Page], tmp_path: Path
):
    file = tmp_path / "bulk.csv"
    file.write_text('prompt,n,model,width,height\n"a fox, red",2,limner-gan,64,64\nghost,x,,,\nrocket,1,nothing,,\n')
    page = open_page("/bulk")
    page.get_by_label("Choose a file").set_input_files(file)
    expect(page.locator("#checked")).to_contain_text("1 line of CSV is ready")
    expect(page.locator(".errors tr")).to_have_text(
        ["Line 3“n” must be a number.", "Line 4There is no model “nothing”."]
    )
    submit = page.get_by_role("button", name="Draw 1 job")
    expect(submit).to_be_disabled()
    page.get_by_label("Leave out").check()
    card = submit_bulk(page, submit.click)
    expect(card).to_contain_text("1 done", timeout=60_000)
    with Client(f"http://127.0.0.1:{service}") as client:
        [job] = client.bulk_results(card.get_attribute("id") or "")
    assert (job.prompt, job.n, job.width) == ("a fox, red", 2, 64)
    with page.expect_download() as download:
        card.get_by_role("link", name="ZIP").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 4


def test_the_services_own_errors_name_the_lines_of_the_file(open_page: Callable[..., Page]):
    page = open_page("/bulk")
    page.get_by_label("Or write it here").fill('{"prompt": "x"}\n\n{"prompt": "y", "colour": 1}\n')
    expect(page.locator("#estimate")).to_contain_text("2 times the work of one picture")
    page.get_by_role("button", name="Draw 2 jobs").click()
    expect(page.locator(".errors tr")).to_contain_text(["Line 3colour"])


def test_a_line_with_choices_is_drawn_with_each_of_them(service: int, open_page: Callable[..., Page]):
    page = open_page("/bulk")
    text = page.get_by_label("Or write it here")
    text.fill("{0|1}" * 40)
    expect(page.locator(".errors")).to_contain_text("at most")
    text.fill("{a red|a blue} fox {|in a hat}\n\na {plain} ghost")
    expect(page.locator("#checked")).to_contain_text("2 lines of plain text are ready")
    card = submit_bulk(page, page.get_by_role("button", name="Draw 5 jobs").click)
    expect(card).to_contain_text("5 done", timeout=90_000)
    with Client(f"http://127.0.0.1:{service}") as client:
        drawn = [job.prompt for job in client.bulk_results(card.get_attribute("id") or "")]
    assert drawn == ["a red fox", "a red fox in a hat", "a blue fox", "a blue fox in a hat", "a {plain} ghost"]


def test_a_bulk_is_paused_resumed_and_canceled(service: int, open_page: Callable[..., Page]):
    page = open_page("/bulk")
    page.get_by_label("Or write it here").fill("\n".join(f"red apple {number}" for number in range(300)))
    card = submit_bulk(page, page.get_by_role("button", name="Draw 300 jobs").click)
    for name, state in (("Pause", "paused"), ("Resume", "running"), ("Cancel", "canceled")):
        card.get_by_role("button", name=name, exact=True).click()
        expect(card.locator(".badge")).to_have_text(state, timeout=20_000)


def test_older_bulks_are_shown_when_asked_for(service: int, open_page: Callable[..., Page]):
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    line = json.dumps(SMALL | {"prompt": "later", "not_before": in_an_hour}).encode()
    with Client(f"http://127.0.0.1:{service}") as client:
        ids = [client.submit_bulk(io.BytesIO(line)).id for _ in range(21)]
        page = open_page("/bulk")
        expect(page.locator(".bulk").first).to_have_id(ids[-1])
        expect(page.locator(".bulk")).to_have_count(20)
        page.get_by_role("button", name="Older bulks").click()
        expect(page.locator(".bulk").nth(20)).to_have_id(ids[0])
        for bulk_id in ids:
            client.cancel_bulk(bulk_id)


def test_only_the_failed_jobs_of_a_bulk_are_retried_with_their_seeds(service: int, open_page: Callable[..., Page]):
    late = {"prompt": "a late fox", "model": "canvas", "steps": 1000, "seed": 5, "expires_in": 1}
    bulk = draw_bulk(service, {"prompt": "an early fox"}, late | {"width": 64, "height": 64})
    page = open_page("/bulk")
    card = page.locator(f"#{bulk}")
    expect(card).to_contain_text("1 done · 1 failed")
    card.get_by_text("Failed lines and their reasons").click()
    reason = card.get_by_role("group", name="The picture was not finished before its time limit.")
    expect(reason.get_by_role("row")).to_have_text(["Line 2a late fox"])
    expect(reason.get_by_role("link", name="a late fox")).to_have_attribute("href", re.compile(r"/\?remix=job_"))
    card.get_by_role("button", name="Retry failed").click()
    expect(page.get_by_text("1 job queued again")).to_be_visible()
    with Client(f"http://127.0.0.1:{service}") as client:
        newest = client.jobs().items[0]
        client.cancel(newest.id)
    assert (newest.prompt, newest.seed, newest.steps) == ("a late fox", 5, 1000)
    assert newest.bulk not in {None, bulk}


def test_the_queue_shows_running_and_waiting_jobs_moves_and_cancels_them(service: int, open_page: Callable[..., Page]):
    with Client(f"http://127.0.0.1:{service}") as client:
        ids = [client.submit({"prompt": f"queued {n}", "steps": 100, "n": 16}).id for n in range(12)]
        in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        later = client.submit({"prompt": "later", "not_before": in_an_hour}).id
        page = open_page("/queue")
        expect(page.locator("#running .row").first).to_be_visible(timeout=20_000)
        expect(page.locator("[data-figure=workers]")).to_have_text("1")
        expect(page.locator("#health")).to_have_text("All well")
        page.locator(f"#{later}").get_by_role("button", name="Move").click()
        page.get_by_role("menuitem", name="high priority").click()
        expect(page.locator("#waiting .group").first).to_contain_text("high priority")
        assert client.job(later).priority == "high"
        client.cancel(later)
        page.locator(f"#{ids[-1]}").get_by_role("button", name="Cancel").click()
        expect(page.locator(f"#{ids[-1]}")).to_have_count(0)
        assert client.job(ids[-1]).status == "canceled"
        for name in ids[:-1]:
            client.cancel(name)
    expect(page.locator("#running")).to_contain_text("Nothing runs now", timeout=20_000)


def test_all_that_waits_is_canceled_after_a_question_or_one_model_and_class(
    service: int, open_page: Callable[..., Page]
):
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    later = SMALL | {"not_before": in_an_hour}
    with Client(f"http://127.0.0.1:{service}") as client:
        low = [client.submit(later | {"prompt": "later", "priority": "low"}).id for _ in range(2)]
        normal = [client.submit(later | {"prompt": "sooner"}).id for _ in range(2)]
        page = open_page("/queue")
        group = page.locator("#waiting .group").filter(has_text="low priority")
        group.get_by_role("button", name="Cancel what waits of limner-gan with low priority?").click()
        page.get_by_role("dialog").get_by_role("button", name="Keep them").click()
        group.get_by_role("button", name="Cancel what waits of limner-gan").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel them").click()
        expect(page.get_by_text("2 jobs canceled")).to_be_visible()
        expect(group).to_have_count(0)
        assert [client.job(name).status for name in low + normal] == ["canceled"] * 2 + ["queued"] * 2
        page.get_by_role("button", name="Cancel all …").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel them").click()
        expect(page.locator("#waiting")).to_contain_text("Nothing waits.")
        expect(page.get_by_role("button", name="Cancel all …")).to_be_hidden()
        assert {client.job(name).status for name in normal} == {"canceled"}


def test_the_service_goes_on_canceling_and_the_page_shows_how_far_it_is(service: int, open_page: Callable[..., Page]):
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    orders = [{"id": "cancel_1", "model": None, "priority": None, "canceled": 1000, "ordered_at": in_an_hour}]
    with Client(f"http://127.0.0.1:{service}") as client:
        waiting = [client.submit(SMALL | {"prompt": "later", "not_before": in_an_hour}).id for _ in range(2)]
        page = open_page("/queue", clock=True)
        page.route("**/api/v1/cancellations", lambda route: route.fulfill(json={"items": orders}))
        page.route("**/api/v1/jobs/cancel", lambda route: route.fulfill(json={"canceled": 1000, "more": True}))
        page.get_by_role("button", name="Cancel all …").click()
        with page.expect_request("**/api/v1/jobs/cancel") as asked:
            page.get_by_role("dialog").get_by_role("button", name="Cancel them").click()
        assert asked.value.post_data_json == {"in_background": True}
        expect(page.get_by_text("also when you close this page")).to_be_visible()
        note = page.locator("#canceling")
        expect(note).to_contain_text("Canceling everything that waits: 1,000 so far.")
        orders[0] |= {"canceled": 34_000, "model": "limner-gan", "priority": "low"}
        page.clock.run_for(2000)
        expect(note).to_contain_text("Canceling what waits of limner-gan, low priority: 34,000 so far.")
        client.own_queue.cancel()
        ended = orders.pop() | {"status": "finished"}
        page.route("**/api/v1/cancellations/cancel_1", lambda route: route.fulfill(json=ended))
        page.clock.run_for(2000)
        expect(page.get_by_text("34,000 jobs canceled")).to_be_visible()
        expect(note).to_be_hidden()
        expect(page.locator("#waiting")).to_contain_text("Nothing waits.")
        assert {client.job(name).status for name in waiting} == {"canceled"}


def test_a_cancellation_that_goes_on_is_stopped_and_the_rest_stays(open_page: Callable[..., Page]):
    order = {"id": "cancel_1", "model": None, "priority": None, "canceled": 1000, "ordered_at": "2026-11-29T12:00:00Z"}
    stopped: list[dict[str, Any]] = []

    def answer(route: Route) -> None:
        if route.request.method == "POST":
            stopped.append(order | {"status": "stopped"})
        is_list = route.request.url.endswith("/cancellations")
        route.fulfill(json={"items": [] if stopped else [order]} if is_list else stopped[0])

    page = open_page("/queue")
    page.route(re.compile("/api/v1/cancellations"), answer)
    page.reload()
    page.get_by_role("button", name="Stop canceling").click()
    expect(page.get_by_text("Stopped: 1,000 jobs were canceled, the others still wait.")).to_be_visible()
    expect(page.locator("#canceling")).to_be_hidden()


def test_a_user_pauses_and_resumes_the_own_queue(service: int, open_page: Callable[..., Page]):
    page = open_page("/queue")
    page.get_by_role("button", name="Pause my queue").click()
    page.get_by_label("Reason, if you like").fill("lunch")
    page.get_by_role("dialog").get_by_role("button", name="Pause it").click()
    expect(page.locator("#own-paused")).to_have_text("You have paused your queue: lunch.")
    with Client(f"http://127.0.0.1:{service}") as client:
        waiting = client.submit({"prompt": "waits", "steps": 1}).id
        expect(page.locator(f"#{waiting}")).to_contain_text("On hold · You have paused your queue: lunch")
        page.get_by_role("button", name="Resume my queue").click()
        expect(page.locator("#own-paused")).to_be_hidden()
        assert [each.status for each in client.wait(waiting)][-1] == "succeeded"


def test_a_grid_is_drawn_as_one_bulk_and_saved_as_one_picture(
    service: int, open_page: Callable[..., Page], tmp_path: Path
):
    page = open_page("/grid")
    page.get_by_label("Columns: parameter").select_option("Seed")
    page.get_by_role("textbox", name="Columns: Seed").fill("1, 2, 2, 3")
    page.get_by_label("Rows: parameter").select_option("Style")
    for style in ("noto", "noto-v1"):
        page.get_by_label(style, exact=True).uncheck()
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.get_by_role("alert")).to_have_text("The prompt is missing.")
    page.get_by_label("Prompt", exact=True).fill("sunflower")
    expect(page.locator("#estimate")).to_contain_text("6 times the work of one picture")
    page.get_by_role("button", name="Draw 6 pictures").click()
    expect(page.locator("#grid img")).to_have_count(6, timeout=120_000)
    expect(page.locator("#grid thead th")).to_have_text(["1", "2", "3"])
    expect(page.locator("#grid tbody th")).to_have_text(["3d", "flat"])
    page.reload()
    expect(page.locator("#grid img")).to_have_count(6)
    bulk = re.search(r"bulk_\w+", page.url)
    assert bulk
    with Client(f"http://127.0.0.1:{service}") as client:
        made = sorted(client.bulk_results(bulk.group()), key=lambda job: job.line or 0)
    assert [(job.seed, job.style) for job in made] == [(s, style) for style in ("3d", "flat") for s in (1, 2, 3)]
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as one picture").click()
    download.value.save_as(tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.width > 3 * 256
        assert picture.height > 2 * 256
        assert len(picture.getcolors(1 << 24) or []) > 1000
    page.locator("#grid button").nth(1).click()
    expect(page.get_by_role("dialog", name="Picture viewer").locator(".place")).to_have_text("2 of 6")


def test_a_grid_offers_the_styles_of_the_model_that_draws(open_page: Callable[..., Page]):
    page = open_page("/grid")
    page.get_by_label("Rows: parameter").select_option("Style")
    styles = page.get_by_role("group", name="Rows: Style").get_by_role("checkbox")
    expect(styles).to_have_count(4)
    page.locator(".plan summary").click()
    page.get_by_role("combobox", name="Model", exact=True).select_option("Canvas")
    expect(styles).to_have_count(2)
    page.get_by_label("Columns: parameter").select_option("Model")
    expect(styles).to_have_count(6)


def test_a_grid_of_one_parameter_or_of_impossible_values_is_refused(open_page: Callable[..., Page]):
    page = open_page("/grid")
    page.get_by_label("Prompt", exact=True).fill("sunflower")
    for values, problem in (
        ("1, x", "takes numbers"),
        ("", "at least one value"),
        ("1, 900", "may be 1 to 100, not 900"),
    ):
        page.get_by_role("textbox", name="Columns: Steps").fill(values)
        page.get_by_role("button", name="Draw").click()
        expect(page.get_by_role("alert")).to_contain_text(problem)
    page.get_by_label("Columns: parameter").select_option("Guidance")
    page.get_by_role("button", name="Draw").click()
    expect(page.get_by_role("alert")).to_contain_text("two different parameters")
