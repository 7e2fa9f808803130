"""The studio in each language: nothing is left in English, and everything has room, also on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, expect
from tools import texts

from limner_web.pages.languages import read_catalog
from tests.e2e.states import PHONE

TEXTS: Final = """() => {
    const found = new Set();
    const names = ["aria-label", "title", "placeholder", "alt"];
    const walker = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.nodeType === Node.TEXT_NODE ? node.parentElement : node;
        if (element.closest("[lang]") !== document.documentElement || !element.checkVisibility()) continue;
        const shown = node === element ? names.map((name) => node.getAttribute(name)) : [node.textContent];
        for (const text of shown) if (text?.trim()) found.add(text.trim());
    }
    return [...found];
}"""
"""Every text that a reader sees or hears, but for what is marked as of another language."""
CUT: Final = """() => {
    const over = [...document.querySelectorAll("button, label, h1, h2, h3, p, li, legend")].filter((each) => {
        if (!each.checkVisibility() || each.clientWidth <= 1 || each.matches(".sr, .sr *")) return false;
        if (getComputedStyle(each).textOverflow === "ellipsis") return false;
        const frame = (each.closest(".panel, dialog") ?? document.body).getBoundingClientRect();
        const isOutside = !each.closest("nav") && each.getBoundingClientRect().right > frame.right + 1;
        return isOutside || each.scrollWidth > each.clientWidth + 1;
    });
    const page = document.documentElement.scrollWidth > innerWidth ? ["the page"] : [];
    return [...page, ...over.map((each) => each.outerHTML.slice(0, 160))];
}"""
"""What is wider than its place."""
OpenPage = Callable[..., Page]
OTHERS: Final = (r"[\d\W]+", "Limner( Flow)?", "Ctrl|Esc|Shift|[A-Z]", r"\d+ × \d+")
LOCALES: Final = {"zh": "zh-CN"}


def pattern(text: str) -> str:
    return re.sub(r"%\\\(\w+\\\)s", ".+", re.escape(text))


def allowed(language: str) -> re.Pattern[str]:
    """A text of the catalog, or what is not a text of ours: numbers, names of models and styles."""
    strings = [each.string for each in read_catalog(language) if each.id]
    forms = [form for each in strings for form in ([each] if isinstance(each, str) else each)]
    return re.compile(
        "|".join([*map(pattern, forms), r"[\d\W]+", "Limner( Flow)?", "Ctrl|Esc|Shift|[A-Z]", r"\d+ × \d+"])
    )


def check(page: Page, language: str) -> None:
    assert page.locator("html").get_attribute("lang") == language
    known = allowed(language)
    pieces = [piece for text in page.evaluate(TEXTS) for piece in re.split(r" · |\n", text)]
    assert [piece for piece in pieces if not known.fullmatch(piece.strip())] == []
    assert page.evaluate(CUT) == []


@pytest.mark.parametrize(
    "language", [pytest.param(each, marks=[] if each == "de" else [pytest.mark.long]) for each in texts.TRANSLATED]
)
def test_the_studio_has_no_english_left_and_nothing_is_cut(language: str, browser: Browser, service: int) -> None:
    context = browser.new_context(locale=LOCALES.get(language, language), reduced_motion="reduce")
    context.route("**/api/v1/jobs?*", lambda route: route.fulfill(json={"items": [], "next": None}))  # the first visit
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{service}/")
    expect(page.locator("#empty")).to_be_visible()
    check(page, language)
    page.set_viewport_size(PHONE["viewport"])
    check(page, language)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    check(page, language)
    context.close()


def test_the_language_is_chosen_on_the_account_page_and_kept(open_page: OpenPage) -> None:
    page = open_page("/account", locale="en-GB")
    page.get_by_label("Language").select_option("Français")
    expect(page.get_by_role("heading", name="Compte", exact=True)).to_be_visible()
    page.get_by_role("link", name="Studio").click()
    expect(page.get_by_role("button", name="Dessiner", exact=True)).to_be_visible()
    page.get_by_role("button", name="Dessiner", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Décrivez")


def test_without_its_texts_a_page_works_in_english(open_page: OpenPage) -> None:
    page = open_page("/account", locale="de")
    page.route("**/texts/*", lambda route: route.abort())
    page.goto(page.url.replace("/account", "/"))
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    page.locator(".draw").click()
    expect(page.get_by_role("alert")).to_have_text("Describe the picture you want.")
