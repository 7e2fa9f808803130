"""Bulks of small pictures for the pages."""

from __future__ import annotations

SMALL = {"model": "limner-gan", "width": 64, "height": 64}
