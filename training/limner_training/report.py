"""Loss curves and contact sheets of a training run, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor


def save_sheet(rows: Sequence[Tensor], path: Path, gap: int = 4) -> None:
    """Write rows of images, each [B, 3, H, W] in [-1, 1] and all of one size, as one PNG."""
    lines = [[to_pixels(picture) for picture in row] for row in rows]
    height, width = lines[0][0].shape[:2]
    columns = max(len(line) for line in lines)
    sheet = np.full((len(lines) * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for down, line in enumerate(lines):
        for across, picture in enumerate(line):
            top, left = gap + down * (height + gap), gap + across * (width + gap)
            sheet[top : top + height, left : left + width] = picture
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(path)


def to_pixels(picture: Tensor) -> np.ndarray:
    """Convert float32 [3, H, W] in [-1, 1] to uint8 [H, W, 3]."""
    scaled = ((picture.detach().float().clamp(-1, 1) + 1) * 127.5).round()
    return scaled.permute(1, 2, 0).to("cpu").numpy().astype(np.uint8)


def save_curve(history: Sequence[tuple[int, float]], path: Path, title: str) -> None:
    """Write the loss over the steps as a PNG, if there are at least two points."""
    if len(history) < 2:
        return
    figure: Any = Figure(figsize=(7, 4), layout="tight")
    axes = figure.add_subplot()
    axes.plot([step for step, _ in history], [loss for _, loss in history])
    axes.set(xlabel="step", ylabel="loss", title=title, yscale="log")
    axes.grid(alpha=0.3, which="both")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
