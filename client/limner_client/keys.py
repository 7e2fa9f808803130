"""The client's calls about its tenant's API keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from limner_shared.domain.access import DEFAULT_OVERLAP_SECONDS, DEFAULT_SCOPES, Scope
from limner_shared.domain.account_views import CreatedKey, KeyList, KeyView, RotatedKey

KEYS: Final = "/api/v1/keys"
PAGE: Final = 100


class Keys:
    """Keys of one server's tenant. Raises what `Client` raises; all calls but `rotate` need the scope `admin`."""

    def __init__(self, call: Callable[..., Any]) -> None:
        """`call` sends a method, a path and httpx's options, and returns the answer's JSON, if it has any."""
        self._call = call

    def create(
        self, label: str, scopes: Iterable[Scope] = DEFAULT_SCOPES, expires_at: datetime | None = None
    ) -> CreatedKey:
        """Create a key of your tenant, which expires when the client's own key does unless you name an earlier time."""
        body: dict[str, Any] = {"label": label, "scopes": sorted(scopes)}
        if expires_at is not None:
            body["expires_at"] = expires_at.isoformat()
        return CreatedKey.model_validate(self._call("POST", KEYS, json=body))

    def list(self) -> Iterator[KeyView]:
        """Yield your tenant's keys, newest first, also those that expired or were revoked."""
        params = {"limit": str(PAGE)}
        while True:
            page = KeyList.model_validate(self._call("GET", KEYS, params=params))
            yield from page.items
            if page.next is None:
                return
            params["cursor"] = page.next

    def rotate(self, overlap_seconds: int = DEFAULT_OVERLAP_SECONDS) -> RotatedKey:
        """Replace the client's own key, which works for `overlap_seconds` more. The client keeps the old one."""
        return RotatedKey.model_validate(
            self._call("POST", f"{KEYS}/rotate", json={"overlap_seconds": overlap_seconds})
        )

    def revoke(self, key_id: str) -> None:
        """End a key at once and permanently."""
        self._call("DELETE", f"{KEYS}/{quote(key_id, safe='')}")
