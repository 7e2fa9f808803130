"""Links to images that need no key and expire. The web process serves them; webhooks contain them too."""

from __future__ import annotations

import threading
import time
from typing import Final

from itsdangerous import BadSignature, URLSafeSerializer

from limner_shared.db.accounts.secrets import signing_keys
from limner_shared.db.engine import Database
from limner_shared.domain import cells
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.errors import InvalidLink, LinkExpired
from limner_shared.settings import Settings

MAX_SECONDS: Final = 7 * DAY_SECONDS
FOLDER: Final = "/images"
"""Where the web process serves the links."""
ANSWER_SECONDS: Final = 3600
"""How long the links in the answers of OpenAI's and Replicate's APIs work, as theirs do."""
PURPOSE: Final = "image link"


class SignedLinks:
    """Makes and reads the tokens of links."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._prefix = cells.link_prefix(settings.cell)
        self._settings = settings
        self._database = database
        self._lock = threading.Lock()
        self._serializer: URLSafeSerializer | None = None

    def prepare(self) -> None:
        """Read the keys, if they were not read yet; `make` and `read` do it too, but not within a transaction."""
        self._ready()

    def make(self, image_id: str, seconds: int) -> tuple[str, float]:
        """Return the path of a link to an image, and when it expires, in seconds since 1970."""
        until = int(time.time()) + seconds
        return f"{FOLDER}/{self._prefix}{self._ready().dumps([image_id, until])}", float(until)

    def read(self, token: str) -> tuple[str, float]:
        """Return the image of a token, and the seconds until it expires. Raises InvalidLink or LinkExpired."""
        image_id, until = self._content(token)
        if (left := until - time.time()) <= 0:
            raise LinkExpired
        return image_id, left

    def image_of(self, token: str) -> str:
        """The image of a token, also of one that has expired. Raises InvalidLink."""
        return self._content(token)[0]

    def _content(self, token: str) -> tuple[str, int]:
        try:
            image_id, until = self._ready().loads(token.rpartition(cells.LINK_SEPARATOR)[2])
            return str(image_id), int(until)
        except (BadSignature, ValueError, TypeError) as error:
            raise InvalidLink from error

    def _ready(self) -> URLSafeSerializer:
        with self._lock:
            if self._serializer is None:
                keys = signing_keys(self._settings, self._database, PURPOSE)
                self._serializer = URLSafeSerializer(keys, salt=PURPOSE)
            return self._serializer
