"""The gallery with 100,000 pictures, in a headless browser: frames, memory, requests, and the way to a date.

    python -m bench.gallery [--quick]

Some pictures are drawn, and their rows are copied until the tenant has 100,000 jobs of two years (--quick: 5,000).
A browser then scrolls from the newest picture to the oldest. Frames are counted while it scrolls 4,000 pixels a second,
at the beginning and with all pictures loaded; memory is the JavaScript heap after a collection. A page of the list is
timed at the beginning and at the end of the list.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

import click
import httpx
from playwright.sync_api import Page, ViewportSize
from sqlalchemy import Engine, MetaData, create_engine, insert, select
from tests.e2e.running import chromium
from tests.processes import eventually
from ulid import ULID

from bench.common import conclude, running_stack, summary
from limner_client.client import Client
from limner_client.local.stack import Stack

GOAL_FRAMES: Final = 55.0  # a second, of the 60 that the browser draws
GOAL_MB: Final = 150.0
DRAWN: Final = ("red apple", "cat face", "rocket", "pizza", "sunflower", "octopus", "fox", "ghost")
YEARS_SECONDS: Final = 2 * 365 * 86_400
ROWS: Final = 1000
VIEWPORT: Final[ViewportSize] = {"width": 1360, "height": 860}
SHOWN: Final = """() => {
    const [first] = document.querySelectorAll(".cell img");
    const isShown = Boolean(first?.src && first.complete);
    return isShown && document.querySelector("#pictures").getAttribute("aria-busy") === "false";
}"""
SCROLL: Final = """async ([pixels, seconds]) => {
    const frame = () => new Promise(requestAnimationFrame);
    const gaps = [];
    const start = await frame();
    for (let last = start, now = start; now < start + seconds * 1000; last = now) {
        scrollBy({ top: (pixels * (now - last)) / 1000, behavior: "instant" });
        now = await frame();
        gaps.push(now - last);
    }
    return gaps;
}"""


def copy_rows(engine: Engine, jobs: int) -> list[float]:
    """Copy the drawn jobs and their images until there are this many, of equal distances in two years.

    Returns the times of the jobs, the oldest first.
    """
    meta = MetaData()
    meta.reflect(engine, only=("jobs", "images"))
    job_table, image_table = meta.tables["jobs"], meta.tables["images"]
    with engine.begin() as connection:
        originals = [dict(row) for row in connection.execute(select(job_table)).mappings()]
        images = {row["job_id"]: dict(row) for row in connection.execute(select(image_table)).mappings()}
    now = time.time()
    times = [now - YEARS_SECONDS * (jobs - number) / jobs for number in range(jobs - len(originals))]
    for start in range(0, len(times), ROWS):
        numbers = range(start, min(start + ROWS, len(times)))
        made = [_copy(originals[at % len(originals)], images, at, times[at]) for at in numbers]
        with engine.begin() as connection:
            connection.execute(insert(job_table), [job for job, _ in made])
            connection.execute(insert(image_table), [image for _, image in made])
    return times


def _copy(job: dict[str, Any], images: dict[str, Any], number: int, at: float) -> tuple[dict[str, Any], dict[str, Any]]:
    image, name = images[job["id"]], str(ULID.from_timestamp(int(at * 1000))).lower()
    moments = {"created_at": at, "started_at": at, "finished_at": at}
    return (
        job | moments | {"id": f"job_{name}", "indexed": True},
        image | {"id": f"img_{name}", "job_id": f"job_{name}", "created_at": at, "seed": number},
    )


def frames(page: Page, seconds: float) -> dict[str, float]:
    """Frames a second while the page scrolls, and the longest wait for one of twenty, in ms."""
    gaps: list[float] = sorted(page.evaluate(SCROLL, [4000, seconds]))
    return {"a second": round(1000 * len(gaps) / sum(gaps), 1), "p95 ms": round(gaps[int(len(gaps) * 0.95)], 1)}


def heap_mb(session: Any) -> float:
    """The JavaScript heap after a collection, by a `CDPSession`, whose answers have no types."""
    session.send("HeapProfiler.collectGarbage")
    found: dict[str, float] = {
        each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]
    }
    return round(found["JSHeapUsedSize"] / 1e6, 1)


def load_all(page: Page, jobs: int) -> float:
    """Scroll to the end until every picture is loaded; returns the seconds that it took."""
    start = time.perf_counter()
    page.evaluate(
        """async (jobs) => {
            const loaded = () => Number(document.querySelector("#pictures").dataset.loaded);
            while (loaded() < jobs) {
                scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
                await new Promise((resolve) => { setTimeout(resolve, 20); });
            }
        }""",
        jobs,
    )
    return round(time.perf_counter() - start, 1)


def page_ms(url: str, before: float | None) -> list[float]:
    """Times of a page of the list that begins at a moment, in ms."""
    query = {"status": "succeeded", "limit": "100"}
    if before is not None:
        query["created_before"] = datetime.fromtimestamp(before, UTC).isoformat()
    found: list[float] = []
    with httpx.Client(base_url=url, trust_env=False) as client:
        for _ in range(12):
            start = time.perf_counter()
            client.get("/api/v1/jobs", params=query).raise_for_status()
            found.append((time.perf_counter() - start) * 1000)
    return found[2:]


def jump_seconds(page: Page, at: float) -> float:
    """Go to a date; returns the seconds until its first picture is shown."""
    first = page.locator(".cell img").first
    before = first.get_attribute("src")
    start = time.perf_counter()
    page.get_by_label("Until").fill(datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d"))
    eventually(lambda: first.get_attribute("src") != before and page.evaluate(SHOWN), 20, every=0.02)
    return round(time.perf_counter() - start, 2)


def measure(stack: Stack, jobs: int, seconds: float) -> dict[str, Any]:
    """All figures of a gallery with this many pictures."""
    with Client(stack.url) as client:
        ids = [client.submit({"prompt": prompt, "model": "limner-gan"}).id for prompt in DRAWN]
        for each in ids:
            while client.job(each, wait_seconds=20).status != "succeeded":
                pass
    engine = create_engine(stack.settings.resolved_database_url)
    times = copy_rows(engine, jobs)
    engine.dispose()
    figures: dict[str, Any] = {"pictures": jobs}
    with chromium() as browser:
        page = browser.new_context(viewport=VIEWPORT, reduced_motion="reduce").new_page()
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        session: Any = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        page.goto(f"{stack.url}/gallery")
        eventually(lambda: page.evaluate(SHOWN), 60)
        figures["requests until shown"] = len(requests)
        figures["heap MB, first page"] = heap_mb(session)
        figures["frames, first pages"] = frames(page, seconds)
        figures["seconds to load all"] = load_all(page, jobs)
        figures["requests of the list"] = sum("/api/v1/jobs?" in each for each in requests)
        figures["heap MB, all loaded"] = heap_mb(session)
        figures["cells"] = page.locator(".cell").count()
        page.evaluate("scrollTo({ top: document.documentElement.scrollHeight / 2, behavior: 'instant' })")
        figures["frames, all loaded"] = frames(page, seconds)
        figures["seconds to a date"] = jump_seconds(page, times[len(times) // 3])
    figures["page ms, newest"] = summary(page_ms(stack.url, None))
    figures["page ms, oldest"] = summary(page_ms(stack.url, times[200]))
    return figures


@click.command()
@click.option("--quick", is_flag=True, help="5,000 pictures, and shorter scrolls.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    with running_stack(workers=1, web_workers=1) as stack:
        figures = measure(stack, 5_000 if quick else 100_000, 2 if quick else 6)
    worst = min(figures[name]["a second"] for name in ("frames, first pages", "frames, all loaded"))
    met = worst >= GOAL_FRAMES and figures["heap MB, all loaded"] <= GOAL_MB
    conclude("gallery", figures, f"{GOAL_FRAMES} frames a second, at most {GOAL_MB} MB", met=met)


if __name__ == "__main__":
    main()
