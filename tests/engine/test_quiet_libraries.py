"""diffusers and transformers quote prompts in their warnings, and no line of a log contains one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from tests.engine import odd_pipelines, pipelines
from tests.engine.pipeline_jobs import finish, job_of

from limner_shared.settings import Settings
from limner_worker.generators.registry import load


class Heard(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_a_prompt_that_is_longer_than_its_encoder_takes_is_in_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path)
    heard = Heard()
    for name in ("diffusers", "transformers"):
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "handlers", [heard])
        monkeypatch.setattr(logger, "level", logging.WARNING)
    generator: Any = load(card, Settings(device="cpu", cache_dir=tmp_path / "cache"))
    finish(generator, generator.start([job_of(card, "long", {"prompt": "my secret dog " * 9}).rows[0].task]))
    assert [line for line in heard.lines if "secret" in line] == []
