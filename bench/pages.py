"""The budgets of the pages, in a headless browser: first paint, weight and layout shift.

    python -m bench.pages [--quick]

Each page is opened several times by a visitor whose browser has nothing in its cache; the weight is what is
transferred but for pictures. Layout shift is that of the studio while a job of four pictures is drawn, without what
follows an input.
"""

from __future__ import annotations

from statistics import median
from typing import Any, Final

import click
from playwright.sync_api import Browser, Page, ViewportSize
from tests.e2e.running import chromium
from tests.processes import eventually

from bench.common import conclude, running_stack

PAGES: Final = ("/", "/gallery", "/conversation", "/bulk", "/grid", "/queue", "/account", "/models")
GOAL_SECONDS, GOAL_KB, GOAL_SHIFT = 0.5, 150.0, 0.02
QUIET_MS: Final = 300
"""How long a page is left alone once it shows everything: for what it still asks for."""
VIEWPORT: Final[ViewportSize] = {"width": 1360, "height": 860}
PAINT: Final = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
WEIGHT: Final = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .filter((each) => !["/images/", "/tour/", "/models/limner-"].some((part) => each.name.includes(part)))
    .reduce((sum, each) => sum + each.transferSize, 0) / 1000"""
WATCH: Final = """
    window.shift = 0;
    new PerformanceObserver((list) => {
        for (const each of list.getEntries()) if (!each.hadRecentInput) window.shift += each.value;
    }).observe({ type: "layout-shift", buffered: true });
"""


def opened(browser: Browser, url: str, path: str, language: str) -> tuple[float, float]:
    """The first contentful paint in seconds, and the weight in kB, of a page without a cache."""
    page = browser.new_context(viewport=VIEWPORT, locale=language).new_page()
    page.goto(url + path)
    eventually(lambda: page.evaluate(PAINT) and not page.locator("[aria-busy=true]").count(), 20)
    page.wait_for_timeout(QUIET_MS)
    found = float(page.evaluate(PAINT)) / 1000, float(page.evaluate(WEIGHT))
    page.context.close()
    return found


def shift_while_drawing(browser: Browser, url: str) -> float:
    """The layout shift of the studio from opening it until four pictures of a job are shown."""
    page: Page = browser.new_context(viewport=VIEWPORT, reduced_motion="reduce").new_page()
    page.add_init_script(WATCH)
    page.goto(url)
    page.locator("#ask textarea[name=prompt]").fill("red apple")
    page.locator("#ask [name=n]").fill("4")
    page.locator("#ask .draw").click()
    eventually(lambda: page.locator(".tile[data-state=succeeded] img").count() >= 4, 120)
    page.wait_for_timeout(QUIET_MS)
    found = float(page.evaluate("window.shift"))
    page.context.close()
    return round(found, 4)


def tries(browser: Browser, url: str, path: str, language: str, *, quick: bool) -> list[tuple[float, float]]:
    """What is found in seven tries; if `quick`, in one, or in three where the first is slower than the goal."""
    found = [opened(browser, url, path, language)]
    further = 6 if not quick else 2 if found[0][0] >= GOAL_SECONDS else 0
    return found + [opened(browser, url, path, language) for _ in range(further)]


@click.command()
@click.option("--quick", is_flag=True, help="Each page is opened once, unless that is slow.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    figures: dict[str, Any] = {}
    with running_stack(workers=1, web_workers=1) as stack, chromium() as browser:
        figures["layout shift"] = [shift_while_drawing(browser, stack.url) for _ in range(1 if quick else 3)]
        for language in ("en", "de"):
            for path in PAGES:
                found = tries(browser, stack.url, path, language, quick=quick)
                paint, weight = median(first for first, _ in found), max(second for _, second in found)
                figures[f"{language} {path}"] = {"first paint s": round(paint, 3), "kB": round(weight, 1)}
    pages: list[dict[str, float]] = [figures[f"{language} {path}"] for language in ("en", "de") for path in PAGES]
    met = all(each["first paint s"] < GOAL_SECONDS and each["kB"] < GOAL_KB for each in pages)
    met = met and max(figures["layout shift"]) < GOAL_SHIFT
    goal = f"first paint < {GOAL_SECONDS} s, weight < {GOAL_KB} kB, layout shift < {GOAL_SHIFT}"
    conclude("pages", figures, goal, met=met)


if __name__ == "__main__":
    main()
