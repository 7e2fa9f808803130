"""Build the images with buildah, and write the provenance of each to dist/: `make images`.

    python3 deploy/images.py [--base IMAGE] [--image web --image backup] [--key FILE] [further arguments of buildah bud]

The provenance is a statement of in-toto (https://in-toto.io/Statement/v1) with SLSA's predicate
(https://slsa.dev/spec/v1.0/provenance), as plain JSON. provenance.py signs it with the private key of --key or of the
variable PROVENANCE_KEY; without a key it stays unsigned, and Python alone is needed, no package.
"""  # noqa: INP001 - a script, in no package

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
VERSION: Final[str] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
IMAGES: Final = {"web": "web", "backup": "web", "worker": "worker"}
"""Each image's Dockerfile; the image is the target of this name in it."""
BASE: Final = "python:3.11-slim"
BUILD_TYPE: Final = "urn:limner:build:buildah:1"
"""`externalParameters` are what `buildah bud` gets; docs/guides/production.md explains the others."""
BUILDER: Final = "urn:limner:builder:make-images"
"""The person who runs this script: the statement says what was built from what, not that the machine can be trusted."""
COPIED: Final = re.compile(r"^COPY (?!--from)(.+) \S+$", re.MULTILINE)


@dataclass(frozen=True)
class Build:
    """One finished build."""

    image: str
    digest: str
    """SHA-256 of the image's manifest in the local store."""
    image_id: str
    """SHA-256 of its configuration: pushing, which compresses layers, does not change it."""
    base: str
    base_digest: str
    revision: str
    changed: Sequence[str]
    """Files that differ from the revision."""
    arguments: Sequence[str]
    buildah: str
    started: datetime
    finished: datetime


def dockerfile_of(image: str) -> Path:
    """The Dockerfile of an image."""
    return ROOT / "deploy" / f"{IMAGES[image]}.Dockerfile"


def materials(image: str) -> list[Path]:
    """The files that pin what an image is made of: its Dockerfile, and the lock files that this copies."""
    file = dockerfile_of(image)
    names = [name for line in COPIED.findall(file.read_text("utf-8")) for name in line.split()]
    return [file, *(ROOT / name for name in dict.fromkeys(names) if name.endswith(".lock"))]


def statement(build: Build) -> dict[str, Any]:
    """The provenance of a build."""
    files = [_file(path) for path in materials(build.image)]
    sources = {
        "name": "source",
        "digest": {"gitCommit": build.revision},
        "annotations": {"changedFiles": list(build.changed)},
    }
    base = {"name": "base image", "uri": build.base, "digest": {"sha256": build.base_digest}}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {
                "name": f"limner-{build.image}:{VERSION}",
                "digest": {"sha256": build.digest},
                "annotations": {"imageId": f"sha256:{build.image_id}"},
            }
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "dockerfile": str(dockerfile_of(build.image).relative_to(ROOT)),
                    "target": build.image,
                    "baseImage": build.base,
                    "arguments": list(build.arguments),
                },
                "resolvedDependencies": [sources, base, *files],
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"buildah": build.buildah}},
                "metadata": {"startedOn": _time(build.started), "finishedOn": _time(build.finished)},
            },
        },
    }


def changed_files(status: str) -> list[str]:
    """The files in what `git status --porcelain` writes."""
    return [line[3:] for line in status.splitlines()]


def build_image(image: str, base: str, more: Sequence[str]) -> Build:
    """Build an image. Raises CalledProcessError."""
    started, revision = datetime.now(UTC), _output("git", "rev-parse", "HEAD")
    values = {"BASE_IMAGE": base, "REVISION": revision, "CREATED": _output("git", "log", "-1", "--format=%cI")}
    given = [part for name, value in values.items() for part in ("--build-arg", f"{name}={value}")]
    tag = f"limner-{image}:{VERSION}"
    command = ["buildah", "bud", "--isolation", "chroot", "--layers", "--target", image, *given, *more]
    _run(*command, "--file", str(dockerfile_of(image)), "--tag", tag, ".")
    found, of_base = _inspect(tag), _inspect(base)
    return Build(
        image=image,
        digest=_digest(found),
        image_id=found["FromImageID"],
        base=of_base["FromImage"],
        base_digest=_digest(of_base),
        revision=revision,
        changed=changed_files(_output("git", "status", "--porcelain")),
        arguments=list(more),
        buildah=_output("buildah", "--version").split()[2],
        started=started,
        finished=datetime.now(UTC),
    )


def main() -> int:
    """Build each image, and write its provenance."""
    described = "Build Limner's images with buildah, and write their provenance."
    parser = argparse.ArgumentParser(description=described, allow_abbrev=False)
    parser.add_argument("--base", default=BASE, help="another base image; for production, one with a digest")
    parser.add_argument("--image", action="append", choices=IMAGES, help="only this one; may be repeated")
    parser.add_argument("--key", default=os.environ.get("PROVENANCE_KEY"), help="private key, to sign the provenance")
    known, more = parser.parse_known_args()
    if known.key and (code := sign(known.key)):
        return code
    folder = ROOT / "dist"
    folder.mkdir(exist_ok=True)
    for image in known.image or IMAGES:
        try:
            build = build_image(image, known.base or BASE, more)
        except subprocess.CalledProcessError as error:
            return error.returncode or 1
        if code := write_provenance(build, folder, known.key):
            return code
    return 0


def write_provenance(build: Build, folder: Path, key: str | None) -> int:
    """Write the provenance of a build, and sign it if there is a key; the exit code."""
    file = folder / f"{build.image}.provenance.json"
    file.write_text(json.dumps(statement(build), indent=2) + "\n", "utf-8")
    # The envelope of an earlier build is not left beside this one's statement.
    file.with_suffix(".intoto.jsonl").unlink(missing_ok=True)
    what = "" if key else ", which is not signed: there is no key"
    sys.stdout.write(f"Built limner-{build.image}:{VERSION}, and wrote {folder.name}/{file.name}{what}\n")
    sys.stdout.flush()
    return sign(key, file) if key else 0


def sign(key: str, *statements: Path) -> int:
    """Sign statements, or only try the key, before anything is built; the exit code."""
    command = [sys.executable, ROOT / "deploy" / "provenance.py", "sign", "--key", key, *statements]
    return subprocess.run(command, check=False).returncode  # noqa: S603


def _file(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"name": str(path.relative_to(ROOT)), "digest": {"sha256": digest}}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _digest(inspected: Mapping[str, Any]) -> str:
    return inspected["FromImageDigest"].removeprefix("sha256:")


def _inspect(image: str) -> dict[str, Any]:
    return json.loads(_output("buildah", "inspect", "--type", "image", image))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=ROOT)  # noqa: S603


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout.rstrip()  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
