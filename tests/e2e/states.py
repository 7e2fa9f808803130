"""The states of every page that are photographed and checked for accessibility."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from playwright.sync_api import Browser, BrowserContext, Page, expect

from limner_client.client import Client
from tests.e2e.start_states import cropped, masked, masking, photo, referring
from tests.processes import eventually

PHONE: Final[dict[str, Any]] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESKTOP: Final[dict[str, Any]] = {"viewport": {"width": 1360, "height": 860}}
MODES: Final[dict[str, dict[str, Any]]] = {
    "light": DESKTOP | {"color_scheme": "light"},
    "dark": DESKTOP | {"color_scheme": "dark"},
    "phone": PHONE | {"color_scheme": "light"},
}
STILL: Final = """document.getAnimations().every((each) => {
    return each.timeline !== document.timeline || each.effect.getTiming().iterations === Infinity;
})"""
SHOWN: Final = """[...document.images].every((each) => {
    const {top, bottom} = each.getBoundingClientRect();
    return !each.checkVisibility() || each.complete || bottom < 0 || top > innerHeight;
})"""
PROMPTS: Final = ("red apple", "cat face", "rocket", "sunflower", "ghost", "fox", "tulip", "unicorn", "balloon")

IN_BULK: Final = 2
"""How many of the prompts are lines of a bulk."""


@dataclass(frozen=True, slots=True)
class State:
    """A page after some use. `prepare` is called once the page has loaded.

    Without its service worker, `prepare` can answer in the place of the service.
    """

    name: str
    path: str
    prepare: Callable[[Page], object] = Page.title
    service_workers: Literal["allow", "block"] = "block"


def fill(port: int, prompts: Sequence[str] = PROMPTS, model: str = "limner-flow") -> None:
    """Draw what the states show: these prompts, the first ones as a bulk, four pictures, and sixteen of one job."""
    each = [{"prompt": prompt, "seed": 7, "model": model} for prompt in prompts]
    with Client(f"http://127.0.0.1:{port}") as client:
        bulk = client.submit_bulk([json.dumps(line).encode() + b"\n" for line in each[:IN_BULK]])
        several = [{"prompt": "octopus", "n": 4, "model": model}, {"prompt": "pizza", "n": 16, "model": model}]
        several[:0] = each[IN_BULK:]
        ids = [client.submit(each).id for each in several]
        eventually(lambda: client.bulk(bulk.id).status == "done", 300, every=0.5)
        eventually(lambda: {client.job(each).status for each in ids} == {"succeeded"}, 300, every=0.5)


def open_state(context: BrowserContext, port: int, state: State) -> Page:
    """A page in the state."""
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{port}{state.path}")
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    state.prepare(page)
    eventually(lambda: page.evaluate(STILL))
    return page


def new_context(browser: Browser, mode: str, state: State) -> BrowserContext:
    """A browser context for a state, in one of the modes."""
    return browser.new_context(**MODES[mode], reduced_motion="reduce", service_workers=state.service_workers)


def loaded(page: Page) -> None:
    """Wait until the visible pictures are shown."""
    expect(page.locator(".tile[data-state=succeeded] img, .cell img").first).to_be_visible()
    eventually(lambda: page.evaluate(SHOWN), 30)


def _problem(page: Page) -> None:
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.get_by_role("alert")).to_be_visible()


def _progress(page: Page) -> None:
    page.get_by_role("textbox", name="Prompt").fill("ghost")
    page.evaluate("document.querySelector('.settings').open = true")
    page.get_by_label("Pictures", exact=True).fill("16")
    page.get_by_label("Steps", exact=True).fill("100")
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.locator(".tile").first.locator(".preview")).to_be_visible(timeout=60_000)


def _first(page: Page) -> None:
    """As a visitor without pictures sees it."""
    page.route("**/api/v1/jobs?*", lambda route: route.fulfill(json={"items": [], "next": None}))
    page.reload()
    expect(page.get_by_role("heading", name="Three steps")).to_be_visible()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    eventually(lambda: page.evaluate(SHOWN), 30)


def _understood(page: Page) -> None:
    page.get_by_role("button", name="Describe", exact=True).click()
    page.get_by_label("Description").fill("zwanzig Bilder von einem Geist als 3D-Figur ohne Hut, bitte")
    page.get_by_role("button", name="Read it").click()
    expect(page.get_by_role("group", name="What was understood")).to_be_visible(timeout=30_000)


def _presets(page: Page) -> None:
    settings = {"model": "limner-flow", "style": "3d", "width": 256, "height": 256, "n": 4}
    for name in ("Four figures", "Quick look"):
        page.request.put(page.url + f"api/v1/presets/{name}", data=settings)
    page.evaluate("document.querySelector('.settings').open = true")
    page.get_by_role("button", name="Presets").click()
    expect(page.locator(".preset")).to_have_count(2)


def _menu(page: Page) -> None:
    loaded(page)
    tile = page.locator(".tile[data-state=succeeded]").first
    tile.get_by_role("button", name="More actions").click()


def _viewer(page: Page) -> None:
    loaded(page)
    page.locator(".tile[data-state=succeeded] .mosaic button").first.click()
    expect(page.get_by_role("dialog", name="Picture viewer")).to_be_visible()


def _receipt(page: Page) -> None:
    _viewer(page)
    page.keyboard.press("i")
    expect(page.locator(".facts-panel")).to_contain_text("SHA-256")


def _alike(page: Page) -> None:
    _viewer(page)
    page.get_by_role("dialog", name="Picture viewer").get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="More like this").click()
    expect(page.locator(".alike img").first).to_be_visible()
    eventually(lambda: page.evaluate("[...document.querySelectorAll('.alike img')].every(each => each.complete)"), 30)


def _compare(page: Page) -> None:
    _viewer(page)
    page.keyboard.press("c")


def _slider(page: Page) -> None:
    _compare(page)
    page.get_by_role("button", name="Slider").click()


def _keymap(page: Page) -> None:
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()


def _selected(page: Page) -> None:
    loaded(page)
    for index in (0, 1):
        page.locator(f".cell[data-index='{index}'] input").check(force=True)


def _boards(page: Page) -> None:
    loaded(page)
    jobs: Any = page.request.get(page.url.replace("/gallery", "/api/v1/jobs?status=succeeded&limit=8")).json()["items"]
    for at, job in enumerate(jobs):
        page.request.put(
            page.url.replace("/gallery", f"/api/v1/jobs/{job['id']}/tags/{('Animals', 'Small things')[at % 2]}")
        )
    page.reload()
    for name in ("Animals", "Small things"):
        expect(page.locator("#boards button", has_text=name).locator("img")).to_be_visible()
    loaded(page)


def _board(page: Page) -> None:
    _boards(page)
    page.locator("#boards button", has_text="Animals").click()
    page.locator(".cell[data-index='0'] input").check(force=True)
    expect(page.get_by_role("button", name="Take off this board")).to_be_visible()
    loaded(page)


def _offline(page: Page) -> None:
    loaded(page)
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_be_visible()


def _away(page: Page) -> None:
    """As the service worker stands in for a page that cannot be loaded."""
    page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    page.context.set_offline(True)
    page.reload()
    expect(page.get_by_role("heading", name="The service cannot be reached")).to_be_visible()


def _said(page: Page) -> None:
    page.get_by_label("Message").fill("two pictures of a red car, please")
    page.keyboard.press("Enter")
    page.locator(".reply.succeeded .choice").last.click(timeout=60_000)
    eventually(lambda: page.evaluate(SHOWN), 30)


def _followed(page: Page) -> None:
    page.get_by_role("combobox", name="Model").select_option("tracer")
    page.locator(".attach-control input").set_input_files(photo())
    page.get_by_label("Message").fill("a lake at dawn")
    page.keyboard.press("Enter")
    expect(page.locator(".reply.succeeded .pictures img")).to_be_visible(timeout=60_000)
    eventually(lambda: page.evaluate(SHOWN), 30)


def _part(page: Page) -> None:
    _said(page)
    page.locator(".reply.succeeded").last.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Change a part of it").click()
    expect(page.get_by_role("dialog", name="Mask painter").locator("canvas")).to_be_focused()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Use this mask").click()
    expect(page.get_by_role("button", name="Change the mask")).to_be_visible()


def _checked(page: Page) -> None:
    page.get_by_label("Or write it here").fill("prompt,n,style\nfox,2,3d\nghost,x,3d\nrocket,1,oil\n")
    expect(page.locator(".errors")).to_be_visible()
    expect(page.locator(".bulk").first).to_be_visible()
    expect(page.locator("#estimate")).to_contain_text("times the work")


def _busy(page: Page) -> None:
    """While a job runs, of a model that needs no processor, and one waits for its time."""
    jobs = page.url.replace("/queue", "/api/v1/jobs")
    page.request.post(jobs, data={"prompt": "ghost", "model": "canvas", "steps": 400})
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    page.request.post(jobs, data={"prompt": "fox", "not_before": later, "unique": {"key": "later"}})
    expect(page.locator("#running .row").first).to_be_visible(timeout=20_000)
    expect(page.locator("#hour svg")).to_have_count(3)


def _canceling(page: Page) -> None:
    """While the service cancels all that waits, and then what waits of a class."""
    order = {"id": "cancel_1", "model": None, "priority": None, "canceled": 34_000, "status": "running"}
    other = order | {"id": "cancel_2", "model": "limner-flow", "priority": "low", "canceled": 0}
    page.route("**/api/v1/cancellations", lambda route: route.fulfill(json={"items": [order, other]}))
    page.reload()
    expect(page.get_by_role("button", name="Stop canceling")).to_have_count(2)


def _idle(page: Page) -> None:
    expect(page.locator("#running .nothing")).to_be_visible(timeout=60_000)


def _share(page: Page) -> None:
    _menu(page)
    page.get_by_role("menuitem", name="Share a link").click()
    expect(page.get_by_label("Link", exact=True)).to_have_value(re.compile("^http"))


def _why(page: Page) -> None:
    _busy(page)
    page.get_by_role("button", name="Why?").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()


def _pause(page: Page) -> None:
    _busy(page)
    page.get_by_role("button", name="Pause").first.click()


def _grid(page: Page) -> None:
    page.get_by_label("Prompt", exact=True).fill("sunflower")
    page.get_by_label("Columns: parameter").select_option("Steps")
    page.get_by_role("textbox", name="Columns: Steps").fill("1, 2, 4, 8")
    page.get_by_label("Rows: parameter").select_option("Style")
    expect(page.locator("#estimate")).to_contain_text("times the work")
    page.get_by_role("button", name="Draw 16 pictures").click()
    expect(page.locator("#grid img")).to_have_count(16, timeout=180_000)
    eventually(lambda: page.evaluate(SHOWN), 30)


def _webhook(page: Page) -> None:
    page.get_by_role("button", name="Add a webhook").click()


def _names(page: Page) -> None:
    page.get_by_text("All names that it knows").first.click()
    expect(page.locator(".names[open] .chip").first).to_be_visible()
    page.mouse.wheel(0, -9999)
    eventually(lambda: page.evaluate("scrollY") == 0)


def _contrast(page: Page) -> None:
    page.get_by_label("High contrast").check()


STATES: Final = (
    State("studio", "/", loaded),
    State("studio-first", "/", _first),
    State("studio-understood", "/", _understood),
    State("studio-start", "/", masked),
    State("studio-mask", "/", masking),
    State("studio-cropped", "/", cropped),
    State("studio-references", "/", referring),
    State("studio-problem", "/", _problem),
    State("studio-progress", "/", _progress),
    State("studio-menu", "/", _menu),
    State("studio-presets", "/", _presets),
    State("models", "/models", _names),
    State("studio-share", "/", _share),
    State("studio-keymap", "/", _keymap),
    State("studio-offline", "/", _offline),
    State("viewer", "/", _viewer),
    State("viewer-receipt", "/", _receipt),
    State("viewer-alike", "/", _alike),
    State("viewer-compare", "/", _compare),
    State("viewer-slider", "/", _slider),
    State("gallery", "/gallery", loaded),
    State("gallery-selected", "/gallery", _selected),
    State("gallery-boards", "/gallery", _boards),
    State("gallery-board", "/gallery", _board),
    State("gallery-empty", "/gallery?bulk=bulk_0123456789"),
    State("conversation", "/conversation"),
    State("conversation-reply", "/conversation", _said),
    State("conversation-part", "/conversation", _part),
    State("conversation-control", "/conversation", _followed),
    State("bulk", "/bulk", _checked),
    State("queue", "/queue", _busy),
    State("queue-idle", "/queue", _idle),
    State("queue-canceling", "/queue", _canceling),
    State("queue-why", "/queue", _why),
    State("queue-pause", "/queue", _pause),
    State("grid-plan", "/grid"),
    State("grid", "/grid", _grid),
    State("account", "/account"),
    State("account-webhook", "/account", _webhook),
    State("account-contrast", "/account", _contrast),
    State("sign-in", "/sign-in"),
    State("not-found", "/nothing"),
    State("offline", "/gallery", _away, "allow"),
    State("api", "/api/v1/docs"),
)
