"""Model cards for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CANVAS: Final = Path(__file__).with_name("canvas.toml")
"""Text-to-image, image-to-image and inpainting without a model: pictures of one colour."""
COLLAGE: Final = Path(__file__).with_name("collage.toml")
"""Text-to-image with reference pictures, likewise without a model."""
