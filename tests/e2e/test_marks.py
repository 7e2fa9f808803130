"""Favourites and tags of pictures: what one page marks, another one takes away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from limner_client.client import Client
from tests.e2e.bulks import SMALL
from tests.processes import eventually

OpenPage = Callable[..., Page]


@pytest.fixture
def api(service: int) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{service}/api/v1") as client:
        yield client


def drawn(service: int, prompt: str, n: int = 1) -> str:
    """The id of a job that has been drawn."""
    with Client(f"http://127.0.0.1:{service}") as client:
        *_, job = client.wait(client.submit(SMALL | {"prompt": prompt, "n": n}).id)
        assert job.status == "succeeded"
        return job.id


def marks(api: httpx.Client, job: str) -> list[bool]:
    """Whether the job and each of its images are favourites."""
    found: dict[str, Any] = api.get(f"/jobs/{job}").json()
    return [found["favourite"], *(image["favourite"] for image in found["images"])]


def tags(api: httpx.Client, job: str) -> list[list[str]]:
    """The tags of the job and of each of its images."""
    found: dict[str, Any] = api.get(f"/jobs/{job}").json()
    return [found["tags"], *(image["tags"] for image in found["images"])]


def press_on(page: Page, index: int, key: str) -> None:
    page.locator(f".cell[data-index='{index}'] > button").focus()
    page.keyboard.press(key)


def test_a_favourite_of_the_studio_is_taken_away_in_the_gallery(
    service: int, open_page: OpenPage, api: httpx.Client
) -> None:
    job = drawn(service, "a medlar from the studio")
    studio = open_page()
    studio.locator(f"#{job}").get_by_role("button", name="More actions").click()
    studio.get_by_role("menuitem", name="Add to favourites").click()
    eventually(lambda: any(marks(api, job)))
    page = open_page("/gallery?q=medlar+from+the+studio&favourite=true")
    expect(page.locator(".cell .loved")).to_have_count(1)
    press_on(page, 0, "f")
    expect(page.get_by_role("heading", name="No picture matches")).to_be_visible()
    assert marks(api, job) == [False, False]
    expect(studio.locator(f"#{job} .loved")).to_be_hidden()


def test_a_favourite_of_the_gallery_is_taken_away_in_the_studio(
    service: int, open_page: OpenPage, api: httpx.Client
) -> None:
    job = drawn(service, "a medlar from the gallery")
    page = open_page("/gallery?q=medlar+from+the+gallery")
    press_on(page, 0, "f")
    expect(page.locator(".cell .loved")).to_have_count(1)
    studio = open_page()
    expect(studio.locator(f"#{job} .loved")).to_be_visible()
    studio.locator(f"#{job}").get_by_role("button", name="More actions").click()
    studio.get_by_role("menuitem", name="Remove from favourites").click()
    expect(studio.locator(f"#{job} .loved")).to_be_hidden()
    assert marks(api, job) == [False, False]
    expect(page.locator(".cell .loved")).to_have_count(0)


def test_where_one_picture_of_a_favourite_job_loses_the_mark_the_others_keep_it(
    service: int, open_page: OpenPage, api: httpx.Client
) -> None:
    job = drawn(service, "a medlar of three", 3)
    api.put(f"/jobs/{job}/favourite")
    page = open_page("/gallery?q=medlar+of+three")
    expect(page.locator(".cell .loved")).to_have_count(3)
    press_on(page, 1, "f")
    expect(page.locator(".cell .loved")).to_have_count(2)
    expect(page.locator(".cell[data-index='1'] > button")).to_be_focused()
    eventually(lambda: marks(api, job) == [False, True, False, True])


def test_ctrl_a_in_the_search_of_the_gallery_selects_its_text(service: int, open_page: OpenPage) -> None:
    drawn(service, "a medlar to search")
    page = open_page("/gallery?q=medlar+to+search")
    expect(page.locator(".cell")).to_have_count(1)
    search = page.get_by_role("searchbox", name="Search")
    search.focus()
    page.keyboard.press("Control+a")
    selected = "input => input.value.slice(input.selectionStart, input.selectionEnd)"
    assert search.evaluate(selected) == "medlar to search"
    expect(page.locator("#chosen")).to_be_hidden()
    press_on(page, 0, "Control+a")
    expect(page.locator("#chosen b")).to_have_text("1 selected")


def test_a_tag_is_taken_away_in_the_settings_of_a_picture(service: int, open_page: OpenPage, api: httpx.Client) -> None:
    job = drawn(service, "a medlar with tags", 2)
    first = api.get(f"/jobs/{job}").json()["images"][0]["id"]
    api.put(f"/jobs/{job}/tags/orchard")
    api.put(f"/images/{first}/tags/ripe")
    page = open_page("/gallery?q=medlar+with+tags")
    press_on(page, 0, "Enter")
    page.keyboard.press("i")
    panel = page.get_by_role("complementary", name="Settings and receipt")
    panel.get_by_role("button", name="Remove the tag orchard").click()
    expect(panel.get_by_role("button", name="Remove the tag ripe")).to_be_focused()
    assert tags(api, job) == [[], ["ripe"], ["orchard"]]
    expect(page.locator("#boards").get_by_text("orchard")).to_be_attached()
    page.get_by_role("button", name="Undo").click()
    expect(panel.get_by_role("listitem")).to_have_text(["orchard", "ripe"])
    assert tags(api, job) == [[], ["orchard", "ripe"], ["orchard"]]
    for name in ("orchard", "ripe"):
        panel.get_by_role("button", name=f"Remove the tag {name}").click()
    expect(panel.get_by_text("Tags", exact=True)).to_be_hidden()
    assert tags(api, job) == [[], [], ["orchard"]]


def test_pictures_are_taken_off_the_board_that_is_open(service: int, open_page: OpenPage, api: httpx.Client) -> None:
    jobs = [drawn(service, f"a medlar {name}") for name in ("to take off", "to stay")]
    for job in jobs:
        api.put(f"/jobs/{job}/tags/medlars")
    page = open_page("/gallery?tag=medlars")
    expect(page.locator(".cell")).to_have_count(2)
    page.locator(".cell[data-index='0'] input").check(force=True)
    page.get_by_role("button", name="Take off this board").click()
    expect(page.locator(".cell")).to_have_count(1)
    board = page.get_by_role("region", name="Boards").locator("button", has_text="medlars")
    expect(board).to_contain_text("1")
    assert tags(api, jobs[1]) == [[], []]
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".cell")).to_have_count(2)
    expect(board).to_contain_text("2")
    page.get_by_role("button", name="All pictures").click()
    page.locator(".cell[data-index='0'] input").check(force=True)
    expect(page.get_by_role("button", name="Take off this board")).to_be_hidden()


def test_pictures_appear_with_the_boards_above_them_and_move_under_no_pointer(
    service: int, open_page: OpenPage, api: httpx.Client
) -> None:
    job = drawn(service, "a medlar in its place")
    api.put(f"/jobs/{job}/tags/placed")
    page = open_page()
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    page.route("**/api/v1/tags", hold)
    with page.expect_response("**/api/v1/jobs?*"):
        page.goto(f"http://127.0.0.1:{service}/gallery?tag=placed")
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    expect(page.locator(".cell")).to_have_count(0)
    waiting[0].continue_()
    expect(page.locator(".cell")).to_have_count(1)
    expect(page.get_by_role("region", name="Boards")).to_be_visible()


def test_a_picture_is_made_a_favourite_in_the_viewer_and_its_cell_says_so(
    service: int, open_page: OpenPage, api: httpx.Client
) -> None:
    job = drawn(service, "a medlar to look at")
    page = open_page("/gallery?q=medlar+to+look+at")
    page.get_by_role("button", name="Enlarge: a medlar").click()
    heart = page.get_by_role("dialog", name="Picture viewer").get_by_role("button", name="Favourite")
    heart.click()
    expect(heart).to_have_attribute("aria-pressed", "true")
    assert any(marks(api, job))
    expect(page.locator(".cell .loved")).to_have_count(1)
    page.keyboard.press("l")
    expect(heart).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".cell .loved")).to_have_count(0)
    assert not any(marks(api, job))


def test_a_board_counts_no_picture_that_is_deleted_here_or_elsewhere(
    service: int, open_page: OpenPage, api: httpx.Client
) -> None:
    jobs = [drawn(service, f"a sorb {number}") for number in range(3)]
    for job in jobs:
        api.put(f"/jobs/{job}/tags/sorbs")
    page = open_page("/gallery?tag=sorbs", clock=True)
    board = page.get_by_role("region", name="Boards").locator("button", has_text="sorbs")
    expect(board).to_contain_text("3 pictures")
    press_on(page, 0, "Delete")
    expect(board).to_contain_text("2 pictures")
    page.get_by_role("button", name="Undo").click()
    expect(board).to_contain_text("3 pictures")
    page.mouse.move(5, 5)  # the message of the next deletion stays under the pointer
    press_on(page, 0, "Delete")
    expect(board).to_contain_text("2 pictures")
    page.clock.run_for(60_000)
    eventually(lambda: api.get(f"/jobs/{jobs[2]}").status_code == 404)
    expect(page.locator(".cell")).to_have_count(2)
    expect(board).to_contain_text("2 pictures")
    api.delete(f"/jobs/{jobs[1]}")
    expect(page.locator(".cell")).to_have_count(1)
    page.clock.run_for(1000)
    expect(board).to_contain_text("1 picture")


def test_a_late_answer_does_not_take_away_a_picture_that_is_back_on_the_board(
    service: int, open_page: OpenPage, api: httpx.Client
) -> None:
    job = drawn(service, "a quince to put back")
    api.put(f"/jobs/{job}/tags/quinces")
    page = open_page("/gallery?tag=quinces")
    expect(page.locator(".cell")).to_have_count(1)
    answers: list[tuple[Route, APIResponse]] = []
    page.route("**/api/v1/jobs?ids=*", lambda route: answers.append((route, route.fetch())))
    page.locator(".cell[data-index='0'] input").check(force=True)
    page.get_by_role("button", name="Take off this board").click()
    expect(page.locator(".cell")).to_have_count(0)
    eventually(lambda: page.evaluate("true") and len(answers) == 1)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".cell")).to_have_count(1)
    eventually(lambda: page.evaluate("true") and len(answers) == 2)
    for (route, answer), shown in zip(answers, (0, 1), strict=True):  # the first was given before the undo
        route.fulfill(response=answer)
        expect(page.locator(".cell")).to_have_count(shown)


def test_a_picture_appears_on_the_board_that_another_window_puts_it_on(
    service: int, open_page: OpenPage, api: httpx.Client
) -> None:
    jobs = [drawn(service, f"a quince of window {name}") for name in ("one", "two")]
    api.put(f"/jobs/{jobs[0]}/tags/windows")
    page = open_page("/gallery?tag=windows")
    expect(page.locator(".cell")).to_have_count(1)
    api.put(f"/jobs/{jobs[1]}/tags/windows")
    expect(page.locator(".cell")).to_have_count(2)


def test_a_board_is_renamed_and_deleted_without_its_pictures(
    service: int, open_page: OpenPage, api: httpx.Client
) -> None:
    job = drawn(service, "a medlar to rename", 2)
    api.put(f"/jobs/{job}/tags/misspelt")
    for image in api.get(f"/jobs/{job}").json()["images"]:
        api.put(f"/images/{image['id']}/tags/misspelt")
    page = open_page("/gallery?tag=misspelt")
    boards = page.get_by_role("region", name="Boards")
    expect(boards.get_by_role("button", name="misspelt 2 pictures")).to_be_visible()  # of three marks
    more = page.get_by_role("button", name="More actions for the board")
    more.click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_role("dialog").get_by_label("Name").fill("well spelt")
    page.keyboard.press("Enter")
    expect(boards.get_by_role("button", name="well spelt", pressed=True)).to_be_visible()
    expect(page.locator(".cell")).to_have_count(2)
    assert tags(api, job) == [["well spelt"]] * 3
    more.click()
    page.get_by_role("menuitem", name="Delete the board").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page).to_have_url(f"http://127.0.0.1:{service}/gallery")  # of all pictures; there may be no other board
    assert tags(api, job) == [[], [], []]
