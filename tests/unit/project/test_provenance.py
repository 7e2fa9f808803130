"""The provenance of a built image names what it was made of."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.project.test_deploy import ROOT

SPEC = importlib.util.spec_from_file_location("deploy_images", ROOT / "deploy" / "images.py")
assert SPEC is not None
assert SPEC.loader is not None
images: Any = importlib.util.module_from_spec(SPEC)
sys.modules["deploy_images"] = images
SPEC.loader.exec_module(images)


def build_of(image: str) -> Any:
    at = datetime(2026, 11, 29, 9, 5, tzinfo=UTC)
    return images.Build(
        image=image,
        digest="a" * 64,
        image_id="b" * 64,
        base="python:3.11-slim",
        base_digest="c" * 64,
        revision="d" * 40,
        changed=["README.md"],
        arguments=["--build-arg", "MODERATE_IMAGES=true"],
        buildah="1.28.2",
        started=at,
        finished=at,
    )


def statement(image: str) -> dict[str, Any]:
    return images.statement(build_of(image))


@pytest.mark.parametrize(
    ("image", "locks"),
    [
        ("web", {"build", "web", "safety", "sbom", "postgresql"}),
        ("backup", {"build", "web", "safety", "sbom", "postgresql"}),
        ("worker", {"build", "torch", "worker", "sbom"}),
    ],
)
def test_a_statement_has_the_digests_of_the_image_its_base_its_source_and_its_lock_files(
    image: str, locks: set[str]
) -> None:
    made = statement(image)
    assert made["subject"][0]["digest"] == {"sha256": "a" * 64}
    definition = made["predicate"]["buildDefinition"]
    source, base, *files = definition["resolvedDependencies"]
    assert (source["digest"], source["annotations"]) == ({"gitCommit": "d" * 40}, {"changedFiles": ["README.md"]})
    assert (base["uri"], base["digest"]) == ("python:3.11-slim", {"sha256": "c" * 64})
    named = {each["name"]: each["digest"]["sha256"] for each in files}
    folder = {lock: "" if lock == "torch" else "deploy/" for lock in locks}
    dockerfile = definition["externalParameters"]["dockerfile"]
    assert named.keys() == {dockerfile, *(f"{folder[lock]}{lock}.lock" for lock in locks)}
    for name, digest in named.items():
        assert hashlib.sha256((ROOT / name).read_bytes()).hexdigest() == digest


def test_a_statement_is_one_of_in_toto_with_slsas_predicate() -> None:
    made = statement("web")
    assert (made["_type"], made["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    details = made["predicate"]["runDetails"]
    assert details["metadata"] == {"startedOn": "2026-11-29T09:05:00Z", "finishedOn": "2026-11-29T09:05:00Z"}
    assert details["builder"]["id"]
    assert made["predicate"]["buildDefinition"]["externalParameters"]["arguments"][1] == "MODERATE_IMAGES=true"


def test_files_that_differ_from_the_revision_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "ROOT", tmp_path)
    (tmp_path / ".first").touch()
    for command in (["init", "-q"], ["add", ".first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    user = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(["git", *user, "commit", "-qm", "x"], cwd=tmp_path, check=True)
    (tmp_path / ".first").write_text("changed")
    (tmp_path / "new").touch()
    assert images.changed_files(images._output("git", "status", "--porcelain")) == [".first", "new"]


def test_every_image_of_the_dockerfiles_is_built() -> None:
    for image in images.IMAGES:
        assert f" AS {image}\n" in images.dockerfile_of(image).read_text("utf-8")
