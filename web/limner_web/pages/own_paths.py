"""The page that a form's answer redirects to."""

from __future__ import annotations

from flask import request


def next_path() -> str:
    """The path to go to after a form: one of this service, never another site's."""
    return own_path(request.values.get("next", "/"))


def own_path(wanted: str) -> str:
    """The path if it is one of this service, otherwise `/`."""
    is_own = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if is_own and wanted.isprintable() else "/"
