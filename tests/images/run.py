"""Run the built images: `make images-test`. Web server, dispatcher and worker draw a picture, and backup saves it.

    python -m tests.images.run [--podman ARGUMENT]… [--previous TAG]

The images are those of `make images`; podman runs them, with a read-only root file system and without capabilities.
PostgreSQL and Valkey are the tests' own, on free ports of loopback. All of it is stopped and removed at the end.
With the tag of an earlier release's images, such an installation is then upgraded under load.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import click
import httpx
from PIL import Image

from limner_client.local.embedded_valkey import free_port
from tests.images.containers import PROCESSES, UID, Containers, beside_servers, configuration, owned, podman
from tests.images.upgrade import START_SECONDS, upgrade_under_load, wait_until_ready
from tests.processes import eventually

IMAGES: Final = ("web", "backup", "worker")
FOLDERS: Final = {"/": False, "/opt/limner": False, "/home/limner": False, "/tmp": True, "/data": True}  # noqa: S108 - the container's own
"""Folders, and whether a process may write there."""
ALONE: Final = ("--rm", "--read-only", "--network=none")
PROMPT: Final = "a red apple"


def done(what: str) -> None:
    click.echo(f"ok   {what}")


def check_configurations(arguments: tuple[str, ...]) -> None:
    """Each image names its user, its revision and its packages."""
    for name in IMAGES:
        found = configuration(name)
        labels, user = found["Config"]["Labels"], found["Config"]["User"]
        assert user == "limner", f"{name} runs as {user!r}"
        assert labels["org.opencontainers.image.revision"], f"{name} does not name its revision"
        packages = json.loads(podman("run", *ALONE, *arguments, found["Id"], "cat", "/opt/limner/sbom.json"))
        done(f"{name}: {found['Size'] / 1e6:.0f} MB, user {user}, {len(packages['components'])} packages in its SBOM")
        provenance = Path("dist") / f"{name}.provenance.json"
        [subject] = json.loads(provenance.read_text("utf-8"))["subject"]
        assert subject["annotations"]["imageId"] == f"sha256:{found['Id']}", f"{provenance} is of another build"


def check_process(containers: Containers, process: str) -> None:
    """A process is not root, and can write to its data and to /tmp only."""
    user = containers.inside(process, "id", "-u").stdout.strip()
    assert user == str(UID), f"{process} runs as {user}"
    for folder, is_writable in FOLDERS.items():
        tried = containers.inside(process, "sh", "-c", f"touch {folder}/tried && rm {folder}/tried")
        assert (tried.returncode == 0) == is_writable, f"{process}: {folder}: {tried.stderr}"
    done(f"{process}: user {user}, the root file system is read-only")


def draw(api: httpx.Client) -> None:
    """Draw one picture through the API, and look at it."""
    answer = api.post("/api/v1/jobs", json={"prompt": PROMPT, "seed": 7, "style": "flat"})
    assert answer.status_code == 202, answer.text

    def ended() -> dict[str, Any] | None:
        job: dict[str, Any] = api.get(f"/api/v1/jobs/{answer.json()['id']}?wait=20", timeout=40).json()
        return job if job["status"] not in ("queued", "running") else None

    job = eventually(ended, START_SECONDS)
    assert job["status"] == "succeeded", job
    data = api.get(job["images"][0]["url"]).content
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        assert picture.size == (256, 256)
        assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 10, "the picture is empty"
    done(f"{PROMPT!r} was drawn: {len(data)} bytes, sha256 {job['images'][0]['sha256'][:12]}…")


def serve(containers: Containers, port: int) -> None:
    """Migrate, start all processes, and wait until they are ready."""
    containers.run("web", "limner", "db", "upgrade")
    done("the database is migrated")
    for process in PROCESSES:
        containers.start(process, port=port)
    started = time.monotonic()
    wait_until_ready(containers, port)
    done(f"web server, dispatcher and worker are ready after {time.monotonic() - started:.0f} s")


def back_up(containers: Containers, folder: Path) -> None:
    """Write a backup by the image for it."""
    said = containers.run("backup", "limner", "backup", "/backups/first", "--json", mounts={folder: "/backups"})
    manifest = json.loads(said)
    assert (manifest["object_count"], manifest["lost"]) == (1, []), said
    done(f"a backup was written: {sum(file.stat().st_size for file in folder.rglob('*') if file.is_file())} bytes")


def check_images(stack: ExitStack, *arguments: str) -> None:
    """Run everything; `stack` stops it."""
    check_configurations(arguments)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="limner-images-")))
    containers, port = beside_servers(stack, folder, *arguments), free_port()
    try:
        serve(containers, port)
        for process in PROCESSES:
            check_process(containers, process)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as api:
            draw(api)
        back_up(containers, owned(folder / "backups"))
        codes = containers.stop()
    except BaseException:
        click.echo(containers.logs(), err=True)
        raise
    assert codes == dict.fromkeys(PROCESSES, 0), f"exit codes: {codes}"
    done("all processes ended with exit code 0")


@click.command(help=__doc__)
@click.option("--podman", "arguments", multiple=True, help="A further argument of `podman run`; may be repeated.")
@click.option("--previous", metavar="TAG", help="The tag of an earlier release's images, to upgrade from.")
def main(arguments: tuple[str, ...], previous: str | None) -> None:
    """Run the test."""
    if shutil.which("podman") is None:
        click.echo("podman is not installed", err=True)
        sys.exit(1)
    with ExitStack() as stack:
        check_images(stack, *arguments)
    if previous:
        with ExitStack() as stack:
            upgrade_under_load(stack, previous, *arguments)


if __name__ == "__main__":
    main()
