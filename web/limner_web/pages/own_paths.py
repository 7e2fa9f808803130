"""The page that a form's answer redirects to."""

from __future__ import annotations

from flask import request


def next_path() -> str:
    """The path to go to after a form: one of this service, never another site's."""
    wanted = request.values.get("next", "/")
    is_own = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if is_own and wanted.isprintable() else "/"
