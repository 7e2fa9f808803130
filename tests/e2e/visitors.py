"""Browser contexts for the visitors of the pages, each used again for the next visitor who has the same options."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, Page

CALM: Final[dict[str, Any]] = {"reduced_motion": "reduce", "service_workers": "block"}
"""Unless a test asks for something else: animations cost a machine without a graphics card more than the pages do, and
a service worker, which only stands in for pages that cannot be loaded, costs each visitor five requests."""


class Visitors:
    """New visitors, whose browser has no cookies and no drafts, but has the pages' files from the visitor before."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._free = defaultdict[str, list[BrowserContext]](list)
        self._busy: list[tuple[str, BrowserContext]] = []
        self._last: list[BrowserContext] = []

    def page(self, origin: str, options: dict[str, Any], *, clock: bool = False) -> Page:
        """An empty page of a new visitor; with `clock`, the test can move its time on, which cannot be taken back."""
        kind = repr(options)
        is_known = self._free[kind] and not clock
        context = self._free[kind].pop() if is_known else self._browser.new_context(**CALM | options)
        if clock:
            context.clock.install()
            self._last.append(context)
        else:
            self._busy.append((kind, context))
        page = context.new_page()
        devtools: Any = context.new_cdp_session(page)  # whose types are partly unknown
        devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        return page

    def leave(self) -> None:
        """Close the pages of all visitors."""
        for kind, context in self._busy:
            for page in context.pages:
                page.close()
            context.clear_cookies()
            context.clear_permissions()
            context.set_offline(offline=False)
            self._free[kind].append(context)
        for context in self._last:
            context.close()
        self._busy.clear()
        self._last.clear()
