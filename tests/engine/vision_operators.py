"""Lets torchvision be imported beside a torch of another build, for `make matrix`.

The package index has it for CUDA only. Its compiled library then does not load, and its import fails, because two
operators are missing. The processors of pictures use neither: what they do is written in Python.
"""

from __future__ import annotations

from typing import Any, Final, cast

import torch

OPERATORS: Final = ("nms", "qnms")
LIBRARY: Final[Any] = cast("Any", torch).library.Library("torchvision", "FRAGMENT")


def _declare() -> None:
    for name in OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_declare()
