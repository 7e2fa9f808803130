"""What a grid compares and what its cells have in common, as far as the chosen model takes it."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image
from playwright.sync_api import FilePayload, Locator, Page, expect

from limner_client.client import Client

OpenPage = Callable[..., Page]


def axes(page: Page) -> list[str]:
    """The parameters that the columns may compare."""
    return page.get_by_label("Columns: parameter").locator("option:not([hidden])").all_inner_texts()


def picture(pixels: int) -> FilePayload:
    """A file whose picture does not compress, so that one of many pixels does not fit into a line of a bulk."""
    buffer = io.BytesIO()
    Image.effect_noise((pixels, pixels), 100).save(buffer, "PNG")
    return {"name": "noise.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


def choose_canvas(page: Page) -> Locator:
    page.locator(".plan summary").click()
    model = page.get_by_role("combobox", name="Model", exact=True)
    model.select_option("Canvas")
    return model


def test_a_grid_offers_what_the_chosen_model_takes(open_page: OpenPage) -> None:
    page = open_page("/grid")
    common = ["Steps", "Guidance", "Seed", "Style", "Model", "Prompt"]
    assert axes(page) == [*common, "Size"]
    model = choose_canvas(page)
    assert axes(page) == [*common, "Exclude", "Size", "Sampler", "Change"]
    page.get_by_label("Columns: parameter").select_option("Change")
    expect(page.get_by_role("region", name="Start picture")).to_be_visible()
    model.select_option("Limner Flow")
    expect(page.get_by_label("Columns: parameter")).to_have_value("steps")
    expect(page.get_by_role("region", name="Start picture")).to_be_hidden()
    expect(page.get_by_label("Quality")).to_be_visible()
    expect(page.get_by_role("textbox", name="Exclude")).to_have_count(0)


def test_a_grid_starts_from_a_picture_and_compares_how_much_of_it_changes(service: int, open_page: OpenPage) -> None:
    page = open_page("/grid")
    choose_canvas(page)
    page.get_by_label("Prompt", exact=True).fill("a lake")
    page.get_by_role("textbox", name="Exclude").fill("a boat")
    page.get_by_label("Columns: parameter").select_option("Change")
    page.get_by_role("textbox", name="Columns: Change").fill("0.25, 0.5")
    page.get_by_label("Rows: parameter").select_option("Size")
    page.get_by_role("group", name="Rows: Size").get_by_label("64 × 64").uncheck()
    page.get_by_role("button", name="Draw").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose a picture to start from")
    page.get_by_role("region", name="Start picture").locator("input[type=file]").set_input_files(picture(600))
    expect(page.get_by_role("img", name="The picture to start from")).to_be_visible()
    sizes = page.get_by_role("group", name="Rows: Size").get_by_role("checkbox", checked=True).count()
    draw = page.get_by_role("button", name=f"Draw {2 * sizes} pictures")
    with page.expect_response(lambda response: response.request.method == "POST" and "bulks" in response.url) as made:
        draw.click()
    expect(page.locator("#grid img")).to_have_count(2 * sizes, timeout=60_000)
    expect(page.locator("#grid thead th")).to_have_text(["0.25", "0.5"])
    with Client(f"http://127.0.0.1:{service}") as client:
        jobs = sorted(client.bulk_results(made.value.json()["id"]), key=lambda job: job.line or 0)
    assert [job.strength for job in jobs] == [0.25, 0.5] * sizes
    assert {job.negative_prompt for job in jobs} == {"a boat"}
    assert all(job.image for job in jobs)
    assert len({(job.width, job.height) for job in jobs}) == sizes
