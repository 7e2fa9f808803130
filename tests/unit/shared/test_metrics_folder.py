"""The folder in which web processes count together is deleted once none of them lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from limner_shared.metrics.shared_folder import make_folder

PROGRAM = """
import os, signal
from limner_shared.metrics.shared_folder import make_folder
folder = make_folder()
if os.fork():
    print(folder, flush=True)
signal.pause()
"""


def test_the_folder_of_killed_processes_is_deleted_and_that_of_living_ones_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    foreign = tmp_path / "limner-metrics-of-an-earlier-release"
    foreign.mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        own = make_folder()
        assert folder.is_dir()
        owner.kill()  # the process that was forked from it still counts
        owner.wait()
        second = make_folder()
        assert folder.is_dir()
        os.killpg(owner.pid, signal.SIGKILL)
        owner.stdout.read()  # until the other has ended as well
    third = make_folder()
    assert {*tmp_path.iterdir()} == {foreign, own, second, third}
