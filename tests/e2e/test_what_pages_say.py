"""What the pages say of costs, models and kept data, and what they fold away on a phone."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.e2e.running import draw
from tests.e2e.start_states import photo
from tests.e2e.states import DESKTOP, PHONE
from tests.processes import eventually

pytestmark = pytest.mark.long

HIDDEN = """(facts) => [...facts.children].filter((each) => {
    const [shown, whole] = [facts, each].map((one) => one.getBoundingClientRect());
    return each.scrollWidth > each.clientWidth || whole.bottom > shown.bottom + 1 || whole.right > shown.right + 1;
}).map((each) => each.textContent)"""
"""The facts of a tile that are cut, or not seen."""
OpenPage = Callable[..., Page]
ALL_STYLES = "document.querySelectorAll('link[rel=stylesheet]').length === document.styleSheets.length"
"""The browser lists a style sheet once it is loaded."""


def test_the_cost_and_the_time_are_said_before_a_picture_is_drawn(open_page: OpenPage):
    page = open_page()
    estimate, steps = page.locator("#estimate"), page.get_by_label("Steps", exact=True)
    known = re.compile("^(Ready in .*|Time not known yet)$")  # the price of one picture is nothing to say
    expect(page.get_by_role("button", name="Draw", exact=True)).to_have_accessible_description(known)
    steps.fill("4")
    expect(estimate).to_contain_text("0.5 times the work of one picture with the default settings")
    reply: dict[str, Any] = {"cost": 80, "paused": None, "workers": 1, "eta": {"median_seconds": 200}}
    page.route("**/api/v1/estimate?*", lambda route: route.fulfill(json=reply))
    for left, words in ((200, "40% of what is left today: 80 of 200"), (20, "More than is left today: 80 of 20")):
        reply["cost_left"] = left
        steps.fill(str(left // 20))
        expect(estimate).to_have_text(f"Ready in about 3 minutes · {words} cost units")


def test_the_time_is_said_once_there_is_a_worker(open_page: OpenPage):
    page = open_page(clock=True)
    reply: dict[str, Any] = {"cost": 128, "cost_left": None, "paused": None, "workers": 0, "eta": None}
    page.route("**/api/v1/estimate?*", lambda route: route.fulfill(json=reply))
    page.get_by_label("Steps", exact=True).fill("9")
    page.clock.run_for(1000)
    expect(page.locator("#estimate")).to_have_text("No worker serves this model now")
    reply |= {"workers": 1, "eta": {"median_seconds": 20}}
    page.clock.run_for(10_000)
    expect(page.locator("#estimate")).to_have_text("Ready in about 20 seconds")


def test_the_form_stays_in_its_place_when_its_scripts_begin(service: int, browser: Browser):
    held: list[Route] = []

    def hold(route: Route) -> None:  # no method of a list: Playwright marks the function
        held.append(route)

    page = browser.new_context(**DESKTOP).new_page()
    page.route("**/js/studio.js", hold)
    page.goto(f"http://127.0.0.1:{service}/", wait_until="commit")
    prompt = page.get_by_role("textbox", name="Prompt")
    expect(prompt).to_be_visible()
    eventually(lambda: page.evaluate(ALL_STYLES))
    before = prompt.bounding_box()
    for each in held:
        each.continue_()
    page.unroute("**/js/studio.js")
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    assert prompt.bounding_box() == before
    page.context.close()


def test_on_a_phone_the_navigation_is_a_menu_that_needs_no_scripts(open_page: OpenPage):
    page = open_page("/account", java_script_enabled=False, **PHONE)
    queue = page.get_by_role("link", name="Queue")
    expect(queue).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    queue.click()
    expect(page.get_by_role("heading", name="Queue", exact=True)).to_be_visible()


def test_a_narrow_tile_shows_its_facts_whole_and_has_the_other_actions_in_its_menu(service: int, open_page: OpenPage):
    draw(service, "tulip", style="flat", seed=4_294_967_295)
    for options, folded in ((PHONE, 1), ({}, 0)):
        page = open_page("/", **options)
        tile = page.locator(".tile[data-state=succeeded]").first
        expect(tile.locator(".facts > span")).to_have_text(["flat", "256 × 256", "seed 4294967295"])
        if folded:
            assert tile.locator(".facts").evaluate(HIDDEN) == []
        expect(tile.get_by_role("button", name="Remix")).to_have_count(1 - folded)
        tile.get_by_role("button", name="More actions").click()
        expect(page.get_by_role("menuitem", name="Download PNG")).to_be_visible()
        expect(page.get_by_role("menuitem", name="Remix")).to_have_count(folded)


def test_the_page_of_the_models_leads_to_their_prompts(open_page: OpenPage):
    page = open_page("/models", locale="fr")
    flow = page.get_by_role("region", name="Limner Flow")
    flow.get_by_text("Tous les noms").click()
    flow.get_by_role("searchbox").fill("tete de ch")
    flow.get_by_role("link", name="tête de chat").last.click()
    expect(page.locator("#ask [name=prompt]")).to_have_value("tête de chat")
    page.goto(page.url.partition("?")[0] + "models")
    page.get_by_role("region", name="Limner GAN").get_by_role("link", name="fusée").click()
    expect(page.locator("#ask [name=prompt]")).to_have_value("fusée")
    expect(page.locator("#ask [name=model]")).to_have_value("limner-gan")


def test_the_account_page_shows_and_changes_what_is_kept(open_page: OpenPage):
    page = open_page("/account")
    expect(page.get_by_role("img", name="Jobs of the last 7 days")).to_be_visible()
    kept = page.get_by_role("region", name="What is kept")
    expect(kept.get_by_role("definition").first).to_have_text("until you delete them")
    kept.get_by_role("button", name="Change").click()
    page.get_by_label("Pictures: days").fill("365")
    page.get_by_role("button", name="Change it").click()
    expect(kept.get_by_role("definition").first).to_have_text("365 days")


def test_a_picture_that_does_not_show_all_of_its_prompt_says_so(service: int, open_page: OpenPage):
    prompts = {
        "red apple": None,
        "ein Poltergeist": "Drawn as “",
        "a fox that plays quantum chess with a turtle": "Not shown: ",
    }
    for prompt in prompts:
        draw(service, prompt)
    page = open_page()
    tiles = page.locator(".tile[data-state=succeeded]")
    for tile, (prompt, words) in zip((tiles.nth(2), tiles.nth(1), tiles.nth(0)), prompts.items(), strict=True):
        mark = tile.locator(".short")
        if words is None:
            expect(mark).to_be_hidden()
            continue
        mark.click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("listitem").first).to_contain_text(words)
        dialog.get_by_role("button", name="Reword it").click()
        expect(page.get_by_role("textbox", name="Prompt")).to_have_value(prompt)


def test_a_picture_whose_prompt_was_read_in_part_says_how_much(service: int, open_page: OpenPage):
    draw(service, "red apple")
    page = open_page()

    def cut(route: Route) -> None:
        """Answer as for a model whose text encoder reads seven characters."""
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('"read_chars":null', '"read_chars":7'))

    page.route("**/jobs?*", cut)
    page.reload()
    mark = page.locator(".tile[data-state=succeeded]").first.locator(".short")
    expect(mark).to_have_text("Not all of it")
    mark.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("listitem").first).to_have_text("Only the first 7 characters of the prompt were read.")
    expect(dialog).not_to_contain_text("Other words")


def test_a_picture_that_the_evaluator_does_not_recognise_is_marked_and_what_may_work_better_is_offered(
    service: int, open_page: OpenPage
):
    draw(service, "fortune cookie", model="limner-gan", style="noto-v1", seed=5008, width=64, height=64)
    page = open_page()
    tile = page.locator(".tile[data-state=succeeded]").first
    expect(tile.locator("img").first).to_have_attribute("alt", re.compile("“fortune cookie” may be hard to recognise"))
    mark = tile.get_by_role("button", name="Hard to recognise")
    for offer, prompt, style in (("cookie", "cookie", "noto-v1"), ("The same in any style", "fortune cookie", "")):
        mark.click()
        dialog = page.get_by_role("dialog", name="This model may not draw this well")
        expect(dialog.get_by_role("listitem")).to_have_text(["“fortune cookie” may be hard to recognise."])
        dialog.get_by_role("group", name="These may work better:").get_by_role("button", name=offer, exact=True).click()
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("textbox", name="Prompt")).to_have_value(prompt)
        expect(page.locator("[name=style]")).to_have_value(style)


def test_words_with_weights_are_drawn_without_them_and_the_page_says_so(open_page: OpenPage):
    page = open_page()
    prompt, note = page.get_by_role("textbox", name="Prompt"), page.get_by_text("This model cannot weigh words")
    prompt.fill("a screen (16:9)")
    expect(note).to_be_hidden()
    prompt.fill("a (red:1.3) apple")
    expect(note).to_be_visible()
    page.get_by_role("button", name="Draw", exact=True).click()
    tile = page.locator(".tile[data-state=succeeded]").first
    expect(tile.locator(".prompt")).to_have_text("a (red:1.3) apple", timeout=60_000)
    alternative = tile.locator("img").first
    expect(alternative).to_have_attribute("alt", re.compile("^(a )?red apple"))


def test_the_button_says_that_a_request_is_on_its_way_and_a_second_press_sends_none(open_page: OpenPage):
    page, held = open_page(), list[Route]()

    def hold(route: Route) -> None:
        if route.request.method == "POST":
            held.append(route)
        else:
            route.continue_()

    page.route("**/api/v1/jobs", hold)
    page.get_by_role("textbox", name="Prompt").fill("a ghost on a slow line")
    button = page.locator("#ask .draw")
    button.click()
    expect(button).to_have_text("Sending …")
    expect(button).to_be_disabled()
    button.click(force=True)
    page.get_by_role("textbox", name="Prompt").press("Enter")
    assert len(held) == 1
    held[0].continue_()
    expect(button).to_have_text("Draw")
    expect(page.locator(".tile .prompt", has_text="a ghost on a slow line")).to_have_count(1)


def test_a_magnified_page_shows_the_pictures_below_the_form(open_page: OpenPage):
    page = open_page(viewport={"width": 340, "height": 220}, device_scale_factor=4)
    form, results = page.locator("#ask"), page.locator(".results")
    expect(form).to_have_css("position", "static")
    above, below = form.bounding_box(), results.bounding_box()
    assert above is not None
    assert below is not None
    assert above["y"] + above["height"] <= below["y"]


def test_in_the_colours_of_the_system_what_is_chosen_differs_from_what_is_not(open_page: OpenPage):
    page = open_page(forced_colors="active")
    colour = "element => getComputedStyle(element).backgroundColor"
    page.evaluate("document.body.style.background = 'Highlight'")
    highlight = page.locator("body").evaluate(colour)
    for kind, chosen in ((".segments button", "[aria-pressed=true]"), (".looks label", ":has(:checked)")):
        ways = [page.locator(f"#ask {kind}{way}").first.evaluate(colour) for way in (chosen, f":not({chosen})")]
        assert [way == highlight for way in ways] == [True, False], kind


def test_a_prompt_is_suggested_for_a_dropped_picture_and_for_none_that_the_evaluator_does_not_know(
    open_page: OpenPage,
):
    page = open_page()
    prompt = page.get_by_role("textbox", name="Prompt")
    prompt.fill("a ghost")
    drop = """(encoded) => {
        const data = new DataTransfer();
        const bytes = Uint8Array.from(atob(encoded), (each) => each.charCodeAt(0));
        data.items.add(new File([bytes], "picture"));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }"""
    sample = page.locator(".looks img").first.evaluate("image => image.src")
    drawing = page.request.get(sample).body()
    for picture, said in ((drawing, "It looks like"), (photo()["buffer"], "does not recognise this picture")):
        page.evaluate(drop, base64.b64encode(picture).decode())
        page.get_by_role("button", name="Suggest a prompt").click()
        expect(page.get_by_text(said)).to_be_visible()
        if picture is drawing:  # at once: the offer to undo goes away by itself
            expect(prompt).to_have_value("red apple")
            page.get_by_role("button", name="Undo").click()
        expect(prompt).to_have_value("a ghost")
