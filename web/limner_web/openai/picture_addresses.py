"""The addresses of this service's pictures in the texts of a chat."""

from __future__ import annotations

import re
from typing import Final

from limner_shared.db.signed_links import FOLDER, SignedLinks
from limner_shared.errors import InvalidLink

_IMAGE_URL: Final = re.compile(rf"/api/v1/images/(img_[0-9a-z]+)|{FOLDER}/([\w.~-]{{1,300}})", re.ASCII)


def image_id_at(links: SignedLinks, text: str) -> str | None:
    """The id of the first picture whose address a text has, also if the link has expired; None if there is none."""
    found = _IMAGE_URL.search(text)
    if found is None:
        return None
    try:
        return found[1] or links.image_of(found[2])
    except InvalidLink:
        return None
