"""Devices of modules that never move, so that diffusers need not search for them.

At each use of a pipeline's, a text encoder's or a denoiser's device, diffusers looks for offloading hooks in every
submodule: 15 ms for each image of SDXL on the engine's thread.
"""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from diffusers.hooks import group_offloading
from torch import nn

_known: WeakKeyDictionary[nn.Module, torch.device] = WeakKeyDictionary()
_SEARCH: Final = "_get_group_onload_device"
"""The function of diffusers that looks for a module's device; it has no public name."""
_search: Any = getattr(group_offloading, _SEARCH)


def remember_devices(pipeline: Any) -> None:
    """Remember the devices of the pipeline's modules, which must have no hooks and must not move from now on."""
    for module in pipeline.components.values():
        first = next(module.parameters(), None) if isinstance(module, nn.Module) else None
        if first is not None:
            _known[module] = first.device


def _device(module: nn.Module) -> torch.device:
    """Return a module's device if it is remembered, otherwise that of its hook; raises ValueError without one."""
    known = _known.get(module)
    return _search(module) if known is None else known


setattr(group_offloading, _SEARCH, _device)
