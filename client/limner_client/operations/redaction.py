"""Removes secrets from texts that leave the installation: settings, findings, metrics and logs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from limner_shared.settings import Settings

REDACTED: Final = "[redacted]"
SHORTEST: Final = 4
"""Shorter values are not looked for: they would be found in every other word."""
SECRET_NAME: Final = re.compile("key|secret|password|passwd|pwd|token|credential|signature|auth|headers", re.IGNORECASE)
"""Names of variables and of parameters of URLs whose values are secrets."""
NOT_SECRET: Final = frozenset({"true", "false", "none", "null", "require_keys"})
USERINFO: Final = re.compile(r"(?<=://)[^/\s@\"']+(?=@)")
PATTERNS: Final = (
    re.compile(r"\blmn_[a-z0-9-]+_[A-Za-z0-9]+(?:_[A-Za-z0-9]+)?"),  # API keys
    re.compile(r"(?<=/images/)[\w~.-]+\.[\w-]{20,}"),  # tokens of signed links
    re.compile(r"\bwhsec_[A-Za-z0-9+/=]+"),
    re.compile(r"(?<=[Bb]earer )[^\s\"',]+"),
    re.compile(r"(?<=[Bb]asic )[A-Za-z0-9+/=]{8,}"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
)
PARAMETER: Final = re.compile(r"([?&;]([\w.-]+)=)[^&\s\"'#]+")


class Redaction:
    """Knows the secrets of the settings and of this process's environment."""

    def __init__(self, settings: Settings, environment: Mapping[str, str] = os.environ) -> None:
        found = {spelling for secret in _secrets(settings, environment) for spelling in _spellings(secret)}
        # The longest first: one may be a part of another.
        words = sorted((each for each in found if len(each) >= SHORTEST), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, words))) if words else None

    def __call__(self, text: str) -> str:
        """The text with each secret replaced, whether it is known or only looks like one."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        for pattern in PATTERNS:
            text = pattern.sub(REDACTED, text)
        text = USERINFO.sub(REDACTED, text)
        return PARAMETER.sub(lambda one: one[1] + REDACTED if SECRET_NAME.search(one[2]) else one[0], text)

    def settings(self, settings: Settings) -> dict[str, Any]:
        """All settings by their variables. Of a secret it says only whether it is set."""
        shown: dict[str, Any] = {}
        for name, value in settings.model_dump(mode="json").items():
            if Settings.model_fields[name].repr is False:
                shown[f"LIMNER_{name.upper()}"] = "set" if value else "not set"
            else:
                shown[f"LIMNER_{name.upper()}"] = json.loads(self(json.dumps(value)))
        return shown


def _secrets(settings: Settings, environment: Mapping[str, str]) -> Iterator[str]:
    """The values that must not be shown."""
    for name, value in settings.model_dump(mode="json").items():
        if Settings.model_fields[name].repr is False:
            yield from [value] if isinstance(value, str) else value or ()
        if isinstance(value, str):
            yield from _in_url(value)
    for name, value in environment.items():
        if SECRET_NAME.search(name) and value.lower() not in NOT_SECRET and not value.isdecimal():
            yield value
        yield from _in_url(value)


def _in_url(value: str) -> Iterator[str]:
    """The password of a URL, and its parameters with secret names."""
    try:
        parts = urlsplit(value)
        password = parts.password
    except ValueError:
        return
    if parts.scheme and password:
        yield password
    for name, parameter in parse_qsl(parts.query):
        if SECRET_NAME.search(name):
            yield parameter


def _spellings(secret: str) -> Iterator[str]:
    """A secret as it may stand in a URL, in JSON or in a text."""
    plain = unquote(secret)
    for one in (secret, plain):
        yield one
        yield json.dumps(one)[1:-1]
        yield repr(one)[1:-1]
    yield quote(plain, safe="")
    yield quote_plus(plain)
    yield quote(plain)
