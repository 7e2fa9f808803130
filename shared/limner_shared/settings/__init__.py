"""The settings of every process, from environment variables and files. service: all fields, with those of delivery,
oidc and safety · sources: where values come from besides.
"""

from __future__ import annotations

from limner_shared.settings.service import CELL_PATTERN, OPENAI_NAMES, Settings, is_loopback

__all__ = ["CELL_PATTERN", "OPENAI_NAMES", "Settings", "is_loopback"]
