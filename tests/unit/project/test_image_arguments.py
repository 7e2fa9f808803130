"""What can be chosen when an image is built, and what its labels say about the build."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from tests.unit.project.test_deploy import DOCKERFILES, ROOT, pins

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
BUILDS: dict[str, Any] = {name: each["build"] for name, each in COMPOSE["services"].items() if "build" in each}


def test_the_web_image_takes_the_classifier_of_images_that_workers_have() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    classifier, worker, web = (pins(ROOT / "deploy" / f"{name}.lock") for name in ("safety", "worker", "web"))
    assert {Requirement(each).name for each in extras["safety"]} <= classifier.keys()
    assert classifier.items() <= worker.items()
    # What both locks name has one version: the second one replaces nothing.
    assert {name: web[name] for name in classifier.keys() & web.keys()}.items() <= classifier.items()
    text = (ROOT / "deploy" / "web.Dockerfile").read_text()
    assert re.search(r'ARG MODERATE_IMAGES=""\nRUN \[ -z "\$MODERATE_IMAGES" \] \|\| .* -r safety\.lock\n', text)
    assert BUILDS["web"]["args"]["MODERATE_IMAGES"] == "${MODERATE_IMAGES:-}"


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_labels_name_the_base_and_the_time_of_the_revision(file: Path) -> None:
    last = re.split(r"^FROM .+ AS (?:web|worker)$", file.read_text(), flags=re.MULTILINE)[1]
    assert 'image.base.name="${BASE_IMAGE}"' in last
    assert 'image.created="${CREATED}"' in last
    # An argument of before the first stage has a value in a stage that names it again.
    assert {"BASE_IMAGE", 'REVISION=""', 'CREATED=""'} <= set(re.findall(r"^ARG (.+)$", last, re.MULTILINE))
    assert all(build["args"]["CREATED"] == "${CREATED:-}" for build in BUILDS.values())
