"""The memory of the device, for metrics. Does not import torch: without it there is no device but the host."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def memory_bytes() -> dict[tuple[str, str], float]:
    """Return sizes in bytes by device and kind: `total`, `free`, and this process's `allocated` and `reserved`.

    On a CPU `allocated` is the process's resident memory, and there is no `reserved`.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return _host()
    found: dict[tuple[str, str], float] = {}
    for number in range(torch.cuda.device_count()):
        device = f"cuda:{number}"
        free, total = torch.cuda.mem_get_info(number)
        found[device, "free"], found[device, "total"] = free, total
        found[device, "allocated"] = torch.cuda.memory_allocated(number)
        found[device, "reserved"] = torch.cuda.memory_reserved(number)
    return found


def _host() -> dict[tuple[str, str], float]:
    page = os.sysconf("SC_PAGE_SIZE")
    found: dict[tuple[str, str], float] = {("cpu", "total"): float(page * os.sysconf("SC_PHYS_PAGES"))}
    try:
        found["cpu", "free"] = float(page * os.sysconf("SC_AVPHYS_PAGES"))
        resident = Path("/proc/self/statm").read_text("ascii").split()[1]
        found["cpu", "allocated"] = float(page * int(resident))
    except (OSError, ValueError):  # not Linux
        return found
    return found
