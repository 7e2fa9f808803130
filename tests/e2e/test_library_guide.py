"""Every command and example of the guide about finding, marking and deleting images works as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from typing import Final

import pytest
from click.testing import CliRunner

from limner_client import Client
from limner_client.cli.main import cli
from tests.distributed.guide_operator import GUIDES, commands
from tests.e2e.guides import BLOCK
from tests.processes import eventually

JOB: Final = "job_01m8av83q74b699dta3m9gmtqa"
IMAGE: Final = "img_01m8av84g0gcnnvphz94denatd"
DELETES: Final = re.compile("limner delete|-X DELETE .*(?:jobs|images)/[^/]*$")
SMALL: Final = {"prompt": "a red apple", "model": "limner-gan", "style": "flat", "width": 64, "height": 64}


def drawn(door: str, text: str, **request: int) -> str:
    """The text of the guide with a picture of this service, and its job, in the place of its own."""
    with Client(door) as client:
        *_, job = client.wait(client.submit(SMALL | request).id)
    [image] = job.images
    return text.replace(JOB, job.id).replace(IMAGE, image.id).replace("http://127.0.0.1:8700", door)


def first_event(words: Sequence[str]) -> bytes:
    """The first line of data that a stream sends."""
    with subprocess.Popen(["curl", "--silent", *words], stdout=subprocess.PIPE) as streaming:
        assert streaming.stdout is not None
        try:
            return next(line for line in streaming.stdout if line.startswith(b"data: "))
        finally:
            streaming.terminate()


@pytest.mark.long
def test_every_command_of_the_guide_works(door: str):
    kept = drawn(door, "\n".join(commands("library"))).splitlines()
    assert len(kept) > 8
    for written, command in zip(commands("library"), kept, strict=True):
        line = drawn(door, written) if DELETES.search(written) else command  # the others need their picture
        program, *words = shlex.split(line)
        if program == "limner":
            entered = CliRunner(env={"LIMNER_SERVER_URL": door}).invoke(cli, words)
            assert entered.exit_code == 0, f"{line}\n{entered.output}"
        else:
            assert program == "curl"
            if "-N" in words:  # a stream, which ends with its client
                assert b"data: {" in first_event(words)
                continue
            done = subprocess.run(["curl", "--fail-with-body", "--silent", *words], capture_output=True, check=False)
            assert done.returncode == 0, f"{line}\n{done.stdout.decode()}"


@pytest.mark.long
def test_the_guides_example_lists_similar_images(door: str, capsys: pytest.CaptureFixture[str]):
    other = drawn(door, IMAGE, seed=7)
    [(_, code)] = BLOCK.findall((GUIDES / "library.md").read_text("utf-8"))
    example = compile(drawn(door, code, seed=7), "library.md", "exec")

    def lists_other() -> bool:
        exec(example, {})  # noqa: S102 - the guide's own example
        return other in capsys.readouterr().out

    eventually(lists_other)  # a new image is found after a second
