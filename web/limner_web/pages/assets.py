"""The files of the pages: styles, scripts and icons, kept in memory and compressed once.

A page names them below a release, which is a hash of all of them: `/static/RELEASE/js/studio.js`. A browser keeps such
a file for good. Scripts import each other by relative paths, so they stay within their release. Below another release,
or none, the file is the current one, which a browser has to ask for again: pages of the previous release stay usable
while web processes are replaced.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

from apiflask import APIBlueprint
from flask import Flask, Response

from limner_shared.errors import NotFound
from limner_web.pages.compression import LEAST_BYTES, compressed_once, kept_answer

bp = APIBlueprint("assets", __name__, enable_openapi=False)

FOLDER: Final = Path(__file__).parent / "static"
FOREVER: Final = "public, max-age=31536000, immutable"
ASK_AGAIN: Final = "no-cache"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
}
PACKED: Final = (".png", ".webp")
"""Formats that are compressed already."""
COMMON: Final = "css/common.css"
SHEETS: Final = ("tokens", "base", "components", "tiles", "viewer", "pages")
"""The styles of every page, sent as one file: a page is not painted before its styles have arrived."""
RELEASE: Final = re.compile(r"[0-9a-f]{12}")
IMPORT: Final = re.compile(r"""^(?:import|export)\b[^;]*?["'](\./[\w-]+\.js)["'];""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file, as it is and in gzip's format."""

    body: bytes
    small: bytes | None
    content_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class Assets:
    """All files by their path below `static/`, and the release that they make up."""

    files: Mapping[str, Asset]
    release: str

    def url(self, path: str) -> str:
        """The address of a file, which changes with any file. Raises KeyError for an unknown one."""
        self.files[path]
        return f"/static/{self.release}/{path}"

    def scripts(self, path: str) -> list[str]:
        """A script and all that it imports, directly or not, in the order in which they are found."""
        found = {path: None}
        for each in (queue := [path]):
            for name in IMPORT.findall(self.files[each].body.decode()):
                imported = str(PurePosixPath(each).parent / name)
                if imported not in found:
                    found[imported] = None
                    queue.append(imported)
        return list(found)


def install(app: Flask) -> None:
    """Let every template name files."""
    app.add_template_global(_url, "asset")
    app.add_template_global(_scripts_of, "scripts_of")


@cache
def load() -> Assets:
    """The files, read once in each process."""
    found = {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()}
    found[COMMON] = b"".join(found[f"css/{name}.css"] for name in SHEETS)
    files = {name: _asset(name, body) for name, body in sorted(found.items())}
    whole = hashlib.sha256("".join(name + each.etag for name, each in files.items()).encode())
    return Assets(files, whole.hexdigest()[:12])


@bp.get("/static/<path:path>")
def static(path: str) -> Response:
    """A file, to be kept for good if it is asked for by the current release."""
    assets = load()
    release, _, rest = path.partition("/")
    asset = assets.files.get(rest if RELEASE.fullmatch(release) else path)
    if asset is None:
        raise NotFound
    answer = kept_answer(asset.body, asset.small, asset.content_type, asset.etag)
    answer.headers["Cache-Control"] = FOREVER if release == assets.release else ASK_AGAIN
    return answer


def _asset(name: str, body: bytes) -> Asset:
    suffix = PurePosixPath(name).suffix
    small = None if suffix in PACKED or len(body) < LEAST_BYTES else compressed_once(body)
    return Asset(body, small, TYPES[suffix], hashlib.sha256(body).hexdigest()[:16])


def _url(path: str) -> str:
    return load().url(path)


@cache
def _scripts_of(page: str) -> list[str]:
    """The addresses of all scripts of a page and of those of every page, so that a browser loads them at once."""
    assets = load()
    names = dict.fromkeys((*assets.scripts("js/frame.js"), *assets.scripts(f"js/{page}.js")))
    return [assets.url(name) for name in names]
