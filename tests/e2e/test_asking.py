"""The studio's two ways to ask, and the picture to start from with its mask, in a real browser."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Response, Route, expect

from limner_client.client import Client
from tests.e2e.states import PHONE
from tests.processes import eventually

OpenPage = Callable[..., Page]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture twice as wide as high."""
    file = tmp_path / "photo.jpg"
    Image.new("RGB", (320, 160), "teal").save(file)
    return file


def wait_for_worker(port: int) -> None:
    """The service answers before its worker has loaded the models."""
    eventually(lambda: httpx.get(f"http://127.0.0.1:{port}/readyz").json()["workers"]["running"], 60, every=0.3)


def describe(page: Page, text: str) -> Locator:
    """Have a description read; returns what was understood."""
    page.get_by_role("button", name="Describe", exact=True).click()
    page.get_by_label("Description").fill(text)
    page.get_by_role("button", name="Read it").click()
    understood = page.get_by_role("group", name="What was understood")
    expect(understood).to_be_visible(timeout=30_000)
    return understood


def submitted(page: Page) -> dict[str, Any]:
    """Press Draw; returns the request that the page sends. The new job has its tile, so the other tiles have moved."""

    def is_job(response: Response) -> bool:
        return response.request.method == "POST" and response.url.endswith("/api/v1/jobs")

    with page.expect_response(is_job) as answered:
        page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.locator(f"#{answered.value.json()['id']}")).to_be_visible()
    return json.loads(answered.value.request.post_data or "")


def test_the_prompt_suggests_names_that_the_model_knows(service: int, open_page: OpenPage) -> None:
    wait_for_worker(service)
    eventually(lambda: httpx.get(f"http://127.0.0.1:{service}/api/v1/models/limner-flow/names").json()["items"])
    for language, typed, name in (("en", "two cat f", "two cat face"), ("de", "eine katzenge", "eine katzengesicht")):
        page = open_page("/", locale=language)
        prompt, offered = (
            page.locator("#ask [name=prompt]"),
            page.get_by_role("listbox", name=re.compile("names|Namen")),
        )
        prompt.press_sequentially(typed)
        expect(offered).to_be_visible()
        page.keyboard.press("Escape")
        expect(offered).to_be_hidden()
        prompt.press_sequentially(typed[-1])
        page.keyboard.press("Backspace")
        page.keyboard.press("ArrowDown")
        expect(prompt).to_have_attribute("aria-activedescendant", "suggestion-0")
        page.keyboard.press("Enter")
        expect(prompt).to_have_value(name)
        prompt.fill("")
        prompt.press_sequentially("sunflo")
        expect(offered).to_be_visible()
        tiles = page.locator(".tile").count()
        page.keyboard.press("Enter")  # with none chosen, it draws what was written
        expect(page.locator(".tile")).to_have_count(tiles + 1)


def test_a_description_is_read_changed_and_then_drawn_as_it_was_changed(service: int, open_page: OpenPage) -> None:
    wait_for_worker(service)
    page = open_page()
    understood = describe(page, "zwei Bilder von einem Geist als 3D-Figur, bitte")
    expect(understood.locator(".remarks")).to_contain_text("German, read by rules.")
    expect(understood.get_by_role("button", name="Pictures 2")).to_be_visible()
    expect(page.get_by_role("textbox", name="Prompt")).to_be_focused()
    with Client(f"http://127.0.0.1:{service}") as client:
        assert all("Geist" not in job.prompt for job in client.jobs().items)  # nothing was drawn
    understood.get_by_role("button", name="Style 3d").click()
    style = page.get_by_role("group", name="Style")
    expect(style.get_by_role("radio", name="3d")).to_be_focused()
    style.get_by_text("flat").click()
    page.get_by_label("Pictures", exact=True).fill("3")
    expect(understood.get_by_role("button", name="Pictures 3")).to_be_visible()
    page.get_by_role("textbox", name="Prompt").fill("ghost")
    sent = submitted(page)
    assert (sent["prompt"], sent["style"], sent["n"]) == ("ghost", "flat", 3)
    page.get_by_role("button", name="Reword").click()
    expect(page.get_by_label("Description")).to_have_value("zwei Bilder von einem Geist als 3D-Figur, bitte")
    page.reload()
    expect(page.get_by_label("Description")).to_have_value("zwei Bilder von einem Geist als 3D-Figur, bitte")
    foreseen = describe(page, "a wizard").get_by_text("Nearest match Drawn as “magic wand”")
    expect(foreseen).to_be_visible()
    page.get_by_role("textbox", name="Prompt").fill("a ghost")
    expect(foreseen).to_be_hidden()


def test_without_a_worker_that_can_read_it_the_page_says_so_and_keeps_the_words(open_page: OpenPage) -> None:
    page = open_page()
    problem = {"code": "interpreter_unavailable", "detail": "No worker that serves limner-flow is running."}
    page.route("**/api/v1/interpret", lambda route: route.fulfill(status=503, json=problem))
    page.get_by_role("button", name="Describe", exact=True).click()
    page.get_by_label("Description").fill("a cat")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("No worker that serves limner-flow is running.")
    expect(page.get_by_label("Description")).to_have_value("a cat")
    expect(page.get_by_role("button", name="Read it")).to_be_enabled()


def test_a_model_that_draws_from_words_only_says_so(open_page: OpenPage) -> None:
    page = open_page()
    expect(page.get_by_text("This model draws from words only.")).to_be_visible()
    expect(page.get_by_role("region", name="Start picture")).to_be_hidden()


def start_from(page: Page, photo: Path) -> None:
    page.get_by_role("combobox", name="Model", exact=True).select_option("canvas")
    page.get_by_role("textbox", name="Prompt").fill("a lake")
    page.locator(".start input[type=file]").set_input_files(photo)
    expect(page.get_by_role("img", name="The picture to start from")).to_be_visible()


def decoded(data_url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data_url.partition(",")[2])))


def test_a_mask_is_painted_erased_undone_and_sent_with_the_picture(
    service: int, open_page: OpenPage, photo: Path
) -> None:
    page = open_page()
    start_from(page, photo)
    page.get_by_label("Change", exact=True).fill("0.5")
    page.get_by_label("Sampler").select_option("ddim")
    page.get_by_role("slider", name="wash").fill("0.6")
    page.get_by_role("button", name="Paint a mask").click()
    painter = page.get_by_role("dialog", name="Mask painter")
    box = painter.locator("canvas").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.1, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, middle, steps=8)
    page.mouse.up()
    painter.get_by_role("button", name="Erase").click()
    page.mouse.click(box["x"] + box["width"] * 0.5, middle)
    painter.get_by_role("button", name="Clear the mask").click()
    painter.get_by_role("button", name="Undo").click()
    painter.get_by_role("button", name="Use this mask").click()
    expect(page.get_by_role("button", name="Change the mask")).to_be_visible()
    with page.expect_response(lambda response: response.status == HTTPStatus.ACCEPTED) as accepted:
        sent = submitted(page)
    mask = decoded(sent["mask"]).convert("L")
    assert mask.size == (1024, 512)  # the shape of the picture, whatever the size of the job
    assert [mask.getpixel(point) for point in ((200, 256), (512, 256), (800, 256), (200, 30))] == [255, 0, 255, 0]
    assert (decoded(sent["image"]).size, sent["strength"], "metadata" in sent) == ((320, 160), 0.5, False)
    assert (sent["scheduler"], sent["adapters"]) == ("ddim", [{"name": "wash", "weight": 0.6}])
    with Client(f"http://127.0.0.1:{service}") as client:
        job = client.job(accepted.value.json()["id"])
        assert job.image is not None
        assert job.mask is not None
        eventually(lambda: client.job(job.id).status == "succeeded")
    page.reload()
    expect(page.get_by_label("Sampler")).to_have_value("ddim")
    expect(page.get_by_role("slider", name="wash")).to_have_value("0.6")


def test_a_picture_is_extended_beyond_its_edges_in_another_shape(open_page: OpenPage, photo: Path) -> None:
    page = open_page()
    start_from(page, photo)
    page.get_by_role("group", name="Size").get_by_text("1:1").click()
    page.get_by_role("button", name="Extend the picture beyond its edges").click()
    expect(page.get_by_role("button", name="Change the mask")).to_be_visible()
    sent = submitted(page)
    picture, mask = decoded(sent["image"]).convert("RGB"), decoded(sent["mask"]).convert("L")
    assert (picture.size, mask.size, sent["strength"]) == ((1024, 1024), (1024, 1024), 1)
    places = ((512, 512), (200, 512), (135, 512), (512, 325), (512, 200), (20, 20))
    assert [mask.getpixel(place) for place in places] == [0, 0, 255, 255, 255, 255]  # also just within its edges
    teal = picture.getpixel((512, 200))
    assert isinstance(teal, tuple)
    assert all(abs(found - wanted) < 6 for found, wanted in zip(teal, (0, 128, 128), strict=True))
    page.get_by_role("button", name="Change the mask").click()
    painter = page.get_by_role("dialog", name="Mask painter")
    painter.get_by_role("button", name="Undo").click()
    painter.get_by_role("button", name="Use this mask").click()
    expect(page.get_by_role("button", name="Paint a mask")).to_be_visible()


def test_only_the_part_around_a_mask_is_drawn_where_the_model_can(open_page: OpenPage, photo: Path) -> None:
    page = open_page()
    start_from(page, photo)
    page.get_by_role("button", name="Extend the picture beyond its edges").click()
    crop = page.get_by_role("checkbox", name="Draw only the part around the mask")
    expect(page.get_by_role("button", name="Change the mask")).to_be_visible()
    expect(crop).to_be_hidden()  # a model of this family cannot

    def able(route: Route) -> None:
        route.fulfill(body=route.fetch().text().replace('"mask_crops": false', '"mask_crops": true'))

    page.route(page.url, able)
    page.reload()
    start_from(page, photo)
    expect(crop).to_be_hidden()  # there is no mask
    page.get_by_role("button", name="Extend the picture beyond its edges").click()
    crop.check()
    page.get_by_label("Margin around the mask").fill("64")
    page.route("**/api/v1/jobs", lambda route: route.abort())
    for field in ({"padding_mask_crop": 64}, {}):
        crop.set_checked(bool(field))
        with page.expect_request("**/api/v1/jobs") as sent:
            page.get_by_role("button", name="Draw", exact=True).click()
        asked: Any = sent.value.post_data_json
        assert {name: value for name, value in asked.items() if name == "padding_mask_crop"} == field


def test_remix_brings_back_the_picture_that_a_job_started_from_and_its_mask(service: int, open_page: OpenPage) -> None:
    buffers = [io.BytesIO(), io.BytesIO()]
    for buffer, colour in zip(buffers, ("teal", "white"), strict=True):
        Image.new("RGB", (64, 32), colour).save(buffer, "PNG")
    given = ["data:image/png;base64," + base64.b64encode(each.getvalue()).decode() for each in buffers]
    with Client(f"http://127.0.0.1:{service}") as client:
        inputs = {"image": given[0], "mask": given[1], "strength": 0.35}
        masked = client.submit({"prompt": "a masked pond", "model": "canvas"} | inputs).id
        plain = client.submit({"prompt": "a pond from words", "model": "canvas"}).id
    page = open_page()
    page.locator(f"#{masked}").get_by_role("button", name="Remix").click()
    start = page.get_by_role("img", name="The picture to start from")
    eventually(lambda: start.evaluate("image => image.naturalWidth") == 64)
    expect(page.get_by_role("button", name="Change the mask")).to_be_visible()
    expect(page.get_by_label("Change", exact=True)).to_have_value("0.35")
    sent = submitted(page)
    assert (sent["image"], sent["mask"], sent["strength"]) == (masked, masked, 0.35)
    page.locator(f"#{plain}").get_by_role("button", name="Remix").click()
    expect(start).to_be_hidden()
    assert "image" not in submitted(page)


@pytest.mark.long
def test_a_mask_is_painted_by_keyboard_alone(open_page: OpenPage, photo: Path) -> None:
    page = open_page()
    start_from(page, photo)
    page.get_by_role("button", name="Paint a mask").press("Enter")
    painter = page.get_by_role("dialog", name="Mask painter")
    expect(painter.locator("canvas")).to_be_focused()
    for key in ("]", "]", " ", *["ArrowRight"] * 6, " ", "ArrowDown", "e", "b", "Control+z", "Control+y"):
        page.keyboard.press(key)
    for _ in range(9):
        page.keyboard.press("Tab")
        if painter.get_by_role("button", name="Use this mask").evaluate("each => each === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(painter).to_be_hidden()
    mask = decoded(submitted(page)["mask"]).convert("L")
    assert (mask.getpixel((512, 256)), mask.getpixel((100, 256))) == (255, 0)


@pytest.mark.long
def test_a_mask_is_painted_by_touch_and_a_canceled_painter_changes_nothing(open_page: OpenPage, photo: Path) -> None:
    page = open_page(**PHONE)
    page.locator(".settings summary").click()
    start_from(page, photo)
    page.get_by_role("button", name="Paint a mask").tap()
    painter = page.get_by_role("dialog", name="Mask painter")
    painter.locator("canvas").tap()
    expect(painter.get_by_role("button", name="Undo")).to_be_enabled()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    painter.get_by_role("button", name="Cancel").tap()
    expect(page.get_by_role("button", name="Paint a mask")).to_be_visible()
    assert "mask" not in submitted(page)


def test_a_drawn_picture_is_started_from_with_a_model_that_can(service: int, open_page: OpenPage) -> None:
    with Client(f"http://127.0.0.1:{service}") as client:
        job = client.submit({"prompt": "a red square", "model": "canvas", "steps": 1})
        eventually(lambda: client.job(job.id).status == "succeeded")
        [image] = client.job(job.id).images
    page = open_page()
    page.locator(f"#{job.id}").get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Start from this picture").click()
    expect(page.get_by_role("combobox", name="Model", exact=True)).to_have_value("canvas")
    page.get_by_role("textbox", name="Prompt").fill("a blue square")
    page.get_by_label("Exclude").fill("circles")
    sent = submitted(page)
    assert (sent["image"], sent["metadata"]) == (image.id, {"started_from": image.id})
    assert sent["negative_prompt"] == "circles"
    page.get_by_role("button", name="Start without a picture").click()
    assert "image" not in submitted(page)


def test_quality_best_is_chosen_with_its_price_where_the_model_has_it(open_page: OpenPage) -> None:
    page = open_page()
    model = page.get_by_role("combobox", name="Model", exact=True)
    quality = page.get_by_role("combobox", name="Quality")
    model.select_option("limner-flow")
    page.get_by_role("textbox", name="Prompt").fill("a cat")
    quality.select_option(label="best of 4")
    expect(page.locator("#estimate")).to_contain_text("4 times the work of one picture")
    assert submitted(page)["quality"] == "best"
    model.select_option("canvas")
    expect(quality).to_be_hidden()
    assert "quality" not in submitted(page)


def test_a_file_that_is_no_picture_is_refused_in_words(open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    page = open_page()
    page.get_by_role("combobox", name="Model", exact=True).select_option("canvas")
    page.locator(".start input[type=file]").set_input_files(tmp_path / "notes.png")
    expect(page.get_by_text("“notes.png” is not a picture that this browser can read.")).to_be_visible()
