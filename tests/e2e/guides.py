"""Runs the Python examples of a guide, as a reader would copy them, against a test's service."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def run_examples(name: str, origin: str, default_port: int = 8700) -> dict[str, Any]:
    """Run all Python blocks of a guide in order, with the service's address in place of the default one.

    Returns the names that they define.
    """
    text = (GUIDES / name).read_text("utf-8")
    blocks = [textwrap.dedent(code) for _, code in BLOCK.findall(text)]
    assert blocks, name
    code = "\n".join(blocks)
    port = origin.rpartition(":")[2]
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(code.replace(str(default_port), port), name, "exec"), names)  # noqa: S102 - the guide's own examples
    return names
