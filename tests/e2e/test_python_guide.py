"""The examples of the guide to the Python client run as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.guides import run_examples


def test_the_guides_examples_run(
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    run_examples("python.md", door)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["apple-7.png", "apple-8.png"]
    drawn, refused, edited, found, *cars = capsys.readouterr().out.splitlines()
    assert drawn.startswith("succeeded ['a red apple (")
    assert refused.startswith("invalid_request size")
    assert edited == "succeeded True"
    assert "'a red boat'" in found  # other tests draw boats as well
    assert [car.partition(" car ")[0] for car in cars] == ["a red", "a blue"]
