"""Messages that give a picture another time of day, season or weather, and others that put it elsewhere."""

from __future__ import annotations

import pytest
from tests.unit.interpretation.follow_ups import after
