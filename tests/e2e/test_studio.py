"""The studio and the conversation page in a real browser, with the real model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from limner_client.client import Client
from tests.processes import eventually

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def fill(page: Page, prompt: str, **numbers: str) -> None:
    page.get_by_role("textbox", name="Prompt").fill(prompt)
    for name, value in numbers.items():
        page.get_by_label(name.title(), exact=True).fill(value)


def draw(page: Page) -> None:
    page.get_by_role("button", name="Draw", exact=True).click()


def height(page: Page, selector: str) -> int:
    return page.locator(selector).evaluate("element => element.offsetHeight")


def finished(port: int, **request: Any) -> str:
    """The id of a job that has succeeded."""
    with Client(f"http://127.0.0.1:{port}") as client:
        job = client.submit({"steps": 1} | request)
        while job.status not in ("succeeded", "failed", "canceled"):
            job = client.job(job.id, wait_seconds=20)
        assert job.status == "succeeded", job
        return job.id


def test_the_page_shows_progress_and_then_the_pictures_without_a_reload(open_page: Callable[..., Page]):
    page = open_page()
    fill(page, "red apple", seed="7", pictures="16")  # enough work to show progress on any machine
    draw(page)
    tile = page.locator(".tile").first
    expect(tile.locator(".said")).to_contain_text("of 128", timeout=30_000)
    name = tile.get_attribute("id")
    before = height(page, f"#{name}")
    picture = tile.get_by_role("img", name="red apple").first
    expect(picture).to_be_visible(timeout=60_000)
    eventually(lambda: picture.evaluate("image => image.naturalWidth") == 256)
    assert height(page, f"#{name}") == before
    page.reload()
    expect(page.locator(".tile[data-state=succeeded]").first).to_contain_text("red apple")


@pytest.mark.long
def test_many_pictures_are_shown_as_nine_and_the_number_of_the_others(service: int, open_page: Callable[..., Page]):
    sixteen, four = finished(service, prompt="pizza", n=16), finished(service, prompt="pizza", n=4)
    page = open_page()
    expect(page.locator(f"#{sixteen} .mosaic button")).to_have_count(9)
    expect(page.locator(f"#{sixteen}")).to_contain_text("+7")
    expect(page.locator(f"#{four} .mosaic")).to_have_attribute("data-side", "2")
    assert height(page, f"#{sixteen}") == height(page, f"#{four}")


def test_a_running_job_shows_a_preview_and_can_be_canceled_and_tried_again(
    service: int, open_page: Callable[..., Page]
):
    page = open_page()
    with Client(f"http://127.0.0.1:{service}") as client:
        job = client.submit({"prompt": "sunflower", "steps": 100, "n": 16, "seed": 3})
        preview = page.locator(f"#{job.id} .preview")
        expect(preview).to_be_visible(timeout=60_000)
        eventually(lambda: preview.evaluate("image => image.naturalWidth") == 64)
        page.locator(f"#{job.id}").get_by_role("button", name="Cancel").click()
        expect(page.locator(f"#{job.id} .said")).to_have_text("Canceled")
        assert client.job(job.id).status == "canceled"
        page.locator(f"#{job.id}").get_by_role("button", name="Try again").click()
        second = page.locator(".tile").first
        expect(second).not_to_have_attribute("id", job.id)
        second.get_by_role("button", name="Cancel").click()
        [again, *_] = client.jobs().items
        assert (again.prompt, again.seed, again.steps) == ("sunflower", 3, 100)


def test_again_draws_with_another_seed_and_remix_loads_the_seed_only_where_it_is_locked(
    service: int, open_page: Callable[..., Page]
):
    first = finished(service, prompt="octopus", seed=41, guidance=5)
    page = open_page()
    page.locator(f"#{first}").get_by_role("button", name="Again").click()
    with Client(f"http://127.0.0.1:{service}") as client:
        eventually(lambda: client.jobs().items[0].id != first)
        again = client.jobs().items[0]
    assert (again.prompt, again.guidance) == ("octopus", 5)
    assert again.seed != 41
    page.locator(f"#{first}").get_by_role("button", name="Remix").click()
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("octopus")
    expect(page.get_by_label("Guidance", exact=True)).to_have_value("5")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("")
    page.get_by_role("button", name="Keep this seed").click()
    page.locator(f"#{first}").get_by_role("button", name="Remix").click()
    expect(page.get_by_label("Seed", exact=True)).to_have_value("41")


def test_a_failed_job_says_why_and_is_tried_again_with_one_click(service: int, open_page: Callable[..., Page]):
    page = open_page()
    with Client(f"http://127.0.0.1:{service}") as client:
        job = client.submit({"prompt": "a late fox", "seed": 5, "steps": 100, "n": 16, "expires_in": 1})
        tile = page.locator(f"#{job.id}")
        expect(tile.locator(".said")).to_have_text("This did not work", timeout=30_000)
        expect(tile.locator(".detail")).to_have_text("The picture was not finished before its time limit.")
        tile.get_by_role("button", name="Try again").click()
        eventually(lambda: client.jobs().items[0].id != job.id)
        again = client.jobs().items[0]
        client.cancel(again.id)
    assert (again.prompt, again.seed) == ("a late fox", 5)


def test_what_one_tab_draws_appears_in_the_other(open_page: Callable[..., Page]):
    first, second = open_page(), open_page()
    fill(first, "a shared tulip")
    draw(first)
    tile = second.locator(".tile").filter(has_text="a shared tulip")
    expect(tile).to_have_attribute("data-state", "succeeded", timeout=60_000)


def test_vary_draws_four_near_pictures(service: int, open_page: Callable[..., Page]):
    first = finished(service, prompt="unicorn", seed=50, guidance=6)
    page = open_page()
    page.locator(f"#{first}").get_by_role("button", name="Vary").click()
    with Client(f"http://127.0.0.1:{service}") as client:
        eventually(lambda: client.jobs().items[0].id != first)
        varied = client.jobs().items[0]
    assert (varied.n, varied.seed, varied.guidance) == (4, 51, 3.5)


def test_vary_starts_from_the_picture_where_the_model_can(service: int, open_page: Callable[..., Page]):
    first = finished(service, prompt="a blue square", model="canvas", steps=4)
    page = open_page()
    page.locator(f"#{first}").get_by_role("button", name="Vary").click()
    with Client(f"http://127.0.0.1:{service}") as client:
        eventually(lambda: client.jobs().items[0].id != first)
        varied = client.jobs().items[0]
        assert varied.image is not None
        assert (varied.n, varied.strength) == (4, 0.6)
        page.locator(f"#{varied.id}").get_by_role("button", name="Again").click()
        eventually(lambda: client.jobs().items[0].id != varied.id)
        assert client.jobs().items[0].image == varied.image


def test_a_picture_is_shared_by_a_link_that_needs_no_key(service: int, open_page: Callable[..., Page]):
    first = finished(service, prompt="tulip")
    page = open_page()
    page.locator(f"#{first}").get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Share a link").click()
    dialog = page.get_by_role("dialog", name="Share this picture")
    link = dialog.get_by_label("Link", exact=True)
    expect(link).to_have_value(re.compile("^http"))
    day = link.input_value()
    assert httpx.get(day).content.startswith(b"\x89PNG")
    dialog.get_by_label("The link works for").select_option("a week")
    expect(link).not_to_have_value(day)
    dialog.get_by_role("button", name="Close").click()
    page.locator(f"#{first} .mosaic button").click()
    expect(page.get_by_role("dialog", name="Picture viewer")).to_be_visible()
    page.keyboard.press("s")
    expect(link).to_have_value(re.compile("^http"))


@contextmanager
def paused(port: int, **fields: str) -> Iterator[None]:
    """Pause a model meanwhile."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1") as client:
        pause = client.post("/pauses", json=fields).json()["id"]
        yield
        client.delete(f"/pauses/{pause}")


def test_a_waiting_job_says_why_it_waits(service: int, open_page: Callable[..., Page]):
    finished(service, prompt="fox")  # the worker is ready
    page = open_page()
    with Client(f"http://127.0.0.1:{service}") as client, paused(service, model="limner-gan", reason="new weights"):
        job = client.submit({"prompt": "a patient fox", "model": "limner-gan"})
        tile = page.locator(f"#{job.id}")
        expect(tile.locator(".said")).to_have_text("On hold")
        expect(tile.locator(".detail")).to_contain_text("new weights")
        tile.get_by_role("button", name="Why is it waiting?").click()
        dialog = page.get_by_role("dialog", name="Why is it waiting?")
        expect(dialog).to_contain_text("The operator has paused this model: new weights")
        expect(dialog).to_contain_text("1 worker")
        client.cancel(job.id)


def test_errors_are_said_in_plain_words_next_to_the_form(open_page: Callable[..., Page]):
    page = open_page()
    draw(page)
    expect(page.get_by_role("alert")).to_have_text("Describe the picture you want.")
    fill(page, "red apple", pictures="99")
    draw(page)
    expect(page.get_by_role("alert")).to_contain_text("1 to 16")
    fill(page, "red apple", pictures="0")
    draw(page)
    expect(page.get_by_role("alert")).to_have_text("Pictures must be at least 1.")
    expect(page.get_by_label("Pictures", exact=True)).to_be_focused()


@pytest.mark.long
def test_a_lost_connection_is_said_and_the_banner_clears_itself(open_page: Callable[..., Page]):
    page = open_page()
    expect(page.locator("#gallery")).to_have_attribute("aria-busy", "false")
    banner = page.locator("#connection")
    page.context.set_offline(True)
    expect(banner).to_contain_text("Connection lost")
    fill(page, "red apple")
    draw(page)
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("red apple")
    page.context.set_offline(False)
    expect(banner).to_be_hidden(timeout=15_000)


def test_the_page_is_used_by_keyboard_alone(open_page: Callable[..., Page]):
    page = open_page()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Draw")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.type("a ghost by shortcut")
    page.keyboard.press("Control+Enter")
    tile = page.locator(".tile").filter(has_text="a ghost by shortcut")
    expect(tile).to_have_attribute("data-state", "succeeded", timeout=60_000)


def test_the_draft_and_earlier_prompts_survive_a_reload(open_page: Callable[..., Page]):
    page = open_page()
    fill(page, "rocket of the draft", steps="1")
    draw(page)
    eventually(lambda: "rocket of the draft" in page.evaluate("localStorage.getItem('limner-prompts') ?? ''"))
    fill(page, "half a sentence", guidance="7")
    page.reload()
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("half a sentence")
    expect(page.get_by_label("Guidance", exact=True)).to_have_value("7")
    fill(page, "")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("rocket of the draft")


def test_the_form_works_without_javascript(open_page: Callable[..., Page]):
    page = open_page("/", java_script_enabled=False)
    draw(page)
    expect(page.get_by_role("alert")).to_have_text("Describe the picture you want.")
    fill(page, "sunflower")
    draw(page)
    expect(page.get_by_role("img", name="sunflower")).to_be_visible(timeout=60_000)


def test_on_a_phone_the_prompt_stays_in_view_and_targets_are_large(service: int, open_page: Callable[..., Page]):
    for prompt in ("cat face", "dog face", "fox"):
        finished(service, prompt=prompt)
    page = open_page("/", **PHONE)
    expect(page.locator(".tile").first).to_be_visible()
    page.mouse.wheel(0, 2000)
    expect(page.get_by_role("textbox", name="Prompt")).to_be_in_viewport()
    small = page.evaluate("""() => [...document.querySelectorAll("button, nav a, select, .ask input, summary")]
        .filter((each) => each.checkVisibility() && !each.closest(".mosaic"))
        .map((each) => [each.getBoundingClientRect(), each.outerHTML.slice(0, 90)])
        .filter(([box]) => box.height < 43.9 || box.width < 39).map(([, text]) => text)""")
    assert small == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_viewer_turns_zooms_compares_and_shows_the_receipt(service: int, open_page: Callable[..., Page]):
    newer = finished(service, prompt="tulip", n=4, seed=100)
    page = open_page()
    page.locator(f"#{newer} .mosaic button").first.click()
    viewer = page.get_by_role("dialog", name="Picture viewer")
    place = viewer.locator(".place")
    expect(place).to_contain_text("1 of")
    page.keyboard.press("ArrowRight")
    expect(place).to_contain_text("2 of")
    page.keyboard.press("i")
    expect(viewer.locator("aside")).to_contain_text("101")
    expect(viewer.locator("aside")).to_contain_text("Text encoder")
    expect(viewer.locator("aside")).not_to_contain_text("_")
    page.keyboard.press("i")
    page.keyboard.press("+")
    assert "scale" in viewer.locator(".one img").get_attribute("style")
    page.keyboard.press("c")
    expect(viewer.locator(".two figure:visible")).to_have_count(2)
    viewer.get_by_role("button", name="Slider").click()
    viewer.get_by_label("Divider").fill("20")
    viewer.locator(".strip button").nth(3).click()
    expect(viewer.locator(".strip [aria-current=step]")).to_have_count(1)
    viewer.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="More like this").click()
    alike = page.get_by_role("dialog", name="More like this")
    expect(alike.get_by_role("img", name="tulip").first).to_be_visible()
    expect(alike.locator(f"a[href='/jobs/{newer}']").first).to_be_visible()
    alike.get_by_role("button", name="Close").click()
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()


def test_an_unknown_page_answers_with_a_page_and_an_unknown_route_of_the_api_with_a_problem(
    open_page: Callable[..., Page],
):
    page = open_page("/nothing")
    expect(page.get_by_role("heading", name="This page does not exist")).to_be_visible()
    page.get_by_role("link", name="Go to the studio").click()
    expect(page.get_by_role("textbox", name="Prompt")).to_be_visible()
    assert page.goto(page.url + "api/v1/nothing").headers["content-type"] == "application/problem+json"
