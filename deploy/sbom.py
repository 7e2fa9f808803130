"""Print the bill of materials (CycloneDX 1.6, JSON) of the packages that are installed for this Python.

The images run it when they are built, with what they contain only. It is reproducible: no time, no serial number.
"""  # noqa: INP001 - a script, in no package

from __future__ import annotations

import json
import sys
from importlib.metadata import Distribution, distributions
from typing import Any


def component(package: Distribution) -> dict[str, Any]:
    """A package with its name, version, address in the package index, and licence where it says one."""
    name, version = package.metadata["Name"], package.version
    found: dict[str, Any] = {"type": "library", "name": name, "version": version}
    normal = name.lower().replace("_", "-").replace(".", "-")
    found["purl"] = f"pkg:pypi/{normal}@{version}"
    if "License-Expression" in package.metadata:
        found["licenses"] = [{"expression": package.metadata["License-Expression"]}]
    elif "License" in package.metadata and (named := package.metadata["License"].strip()):
        found["licenses"] = [{"license": {"name": named.partition("\n")[0]}}]
    return found


def main() -> None:
    """Print the document."""
    components = sorted((component(each) for each in distributions()), key=lambda each: each["purl"])
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}
    json.dump(document, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
