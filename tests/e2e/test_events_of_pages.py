"""How the pages follow events: one stream while they are shown, and what bulks and gaps hide."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from limner_client.client import Client
from tests.e2e.bulks import SMALL, draw_bulk
from tests.e2e.running import draw
from tests.processes import eventually

pytestmark = pytest.mark.long

OpenPage = Callable[..., Page]
STREAMS = """
window.streams = new Set();
const Real = EventSource;
window.EventSource = class extends Real {
    constructor(...given) { super(...given); streams.add(this); }
    close() { super.close(); streams.delete(this); }
};
let isHidden = false;
Object.defineProperty(Document.prototype, "hidden", { get: () => isHidden });
window.hide = (on) => { isHidden = on; document.dispatchEvent(new Event("visibilitychange")); };
"""
OPEN = "[...streams].filter((each) => each.readyState === EventSource.OPEN).length"


def watched(open_page: OpenPage, path: str, port: int | None = None) -> Page:
    """A page whose streams can be counted, and which can be hidden."""
    page = open_page(path) if port is None else open_page(path, port=port)
    page.add_init_script(STREAMS)
    page.reload()
    eventually(lambda: page.evaluate(OPEN) == 1)
    return page


def requests_of(page: Page) -> list[str]:
    """The paths in the API that the page reads from now on."""
    seen: list[str] = []

    def note(request: Request) -> None:
        path = urlsplit(request.url).path
        if path.startswith("/api/v1/"):
            seen.append(path.removeprefix("/api/v1/"))

    page.on("request", note)
    return seen


@pytest.mark.parametrize("path", ["/", "/gallery"])
def test_a_hidden_page_holds_no_stream_and_catches_up_when_it_is_shown(path: str, service: int, open_page: OpenPage):
    gone = draw(service, f"a pear to delete {path}", **SMALL)
    assert gone
    page = watched(open_page, path)
    shown = page.locator(".tile, .cell").filter(has_text=f"a pear to delete {path}")
    expect(shown).to_have_count(1)
    page.evaluate("hide(true)")
    assert page.evaluate(OPEN) == 0
    draw(service, f"a plum meanwhile {path}", **SMALL)
    with Client(f"http://127.0.0.1:{service}") as client:
        [job] = [each for each in client.jobs().items if each.prompt == f"a pear to delete {path}"]
        client.delete(job.id)
    page.evaluate("hide(false)")
    expect(page.locator(".tile, .cell").filter(has_text=f"a plum meanwhile {path}")).to_have_count(1)
    expect(shown).to_have_count(0)
    assert page.evaluate(OPEN) == 1


def test_a_page_that_is_shown_again_has_all_that_was_made_meanwhile(service: int, open_page: OpenPage):
    draw(service, "a grape before", **SMALL)
    page = watched(open_page, "/")
    expect(page.locator(".tile").filter(has_text="a grape before")).to_have_count(1)
    page.get_by_role("button", name="Show bulks too").click()
    expect(page.locator("#gallery")).to_have_attribute("aria-busy", "false")
    page.evaluate("hide(true)")
    draw_bulk(service, *({"prompt": f"a grape meanwhile {number}"} for number in range(30)))  # more than one page
    page.evaluate("hide(false)")
    expect(page.locator(".tile").filter(has_text="a grape meanwhile")).to_have_count(30)


def test_the_gallery_shows_what_bulks_draw_meanwhile(service: int, open_page: OpenPage):
    page = open_page("/gallery?model=limner-gan")
    seen = requests_of(page)
    draw_bulk(service, *({"prompt": f"bulk cherry {name}"} for name in ("one", "two", "three")))
    for name in ("one", "two", "three"):
        expect(page.get_by_role("button", name=f"Enlarge: bulk cherry {name}")).to_be_visible()
    assert len(seen) < 12


def test_a_page_that_missed_events_reads_the_jobs_again(service: int, open_page: OpenPage):
    page = watched(open_page, "/gallery?model=limner-gan")
    page.evaluate("window.ended = [...streams]; ended.forEach((each) => each.close())")  # no other event helps
    draw(service, "a missed melon", **SMALL)
    page.evaluate("ended[0].dispatchEvent(new MessageEvent('reset', { data: '{}' }))")
    expect(page.get_by_role("button", name="Enlarge: a missed melon")).to_be_visible()


def test_a_grid_is_followed_by_its_bulk_and_not_by_each_of_its_jobs(service: int, open_page: OpenPage):
    with Client(f"http://127.0.0.1:{service}") as client:
        grid = [
            SMALL
            | {
                "prompt": "grid ghost",
                "seed": seed,
                "metadata": {"grid": {"x": ["seed", str(seed)], "y": ["style", "3d"]}},
            }
            for seed in range(30)
        ]
        bulk = client.submit_bulk(io.BytesIO("".join(json.dumps(each) + "\n" for each in grid).encode()))
        page = open_page(f"/grid?bulk={bulk.id}")
        seen = requests_of(page)
        expect(page.locator("#grid img")).to_have_count(30, timeout=120_000)
    assert len(seen) - Counter(seen)["events"] < 40  # a request for each job alone would be more than 60
    assert not [path for path in seen if path.startswith("jobs/")]
