"""The training commands work together, from drawings to weights and scores, and report missing input."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from limner_training import captions as words
from limner_training import evaluation
from limner_training.cli import evaluate, train
from limner_training.data import STYLES, Drawing, cache_folder, load_dataset
from limner_training.tagging import training as tagger_training
from limner_training.tasks import running
from limner_training.tasks.prompts import TASKS
from limner_training.tasks.vocabulary import nouns
from limner_worker.generators.text_encoding.sentence_encoder import SentenceEncoder

STAGES = ("text", "vae", "draft", "flow", "gan", "gan-log", "gan-relativistic", "upscaler")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIMNER_CACHE_DIR", str(tmp_path / "cache"))
    return cache_folder()


def write_drawings(folder: Path) -> None:
    """Write eight drawings of two concepts as `limner train data` would."""
    large = np.full((8, 256, 256, 3), 255, np.uint8)
    for row, picture in enumerate(large):
        picture[64:192, 64:192] = (30 * row, 200 - 20 * row, 100)
    small = large.reshape(8, 64, 4, 64, 4, 3).mean((2, 4)).astype(np.uint8)
    names = ("red apple", "rocket")
    drawings = [Drawing(name, style, name, ("thing",), "Objects") for name in names for style in STYLES]
    folder.mkdir(parents=True)
    np.save(folder / "drawings-256.npy", large)
    np.save(folder / "drawings-64.npy", small)
    (folder / "drawings.json").write_text(json.dumps([asdict(drawing) for drawing in drawings]))


def run(*arguments: str) -> str:
    result = CliRunner().invoke(train, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.long
def test_the_stages_train_and_export_all_weights(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_drawings(cache)
    foreign = {"zh": {"rocket": ("火箭", ("飞船",))}}
    table = words.caption_table(
        load_dataset(cache).drawings, foreign, SentenceEncoder().encode, np.random.default_rng(0)
    )
    table.save(cache / "captions.safetensors")
    for stage in STAGES:
        output = run(stage, "--minutes", "0.0001", "--batch", "2", "--threads", "1")
        assert "saved at step 1" in output
    assert "saved at step 2" in run("upscaler", "--minutes", "0.0001", "--batch", "2", "--threads", "1")
    monkeypatch.setattr(tagger_training, "JUDGED", 1)
    for texts in ("descriptions", "follow-ups"):
        assert "epoch 1" in run("tagger", "--of", texts, "--each", "1", "--epochs", "1")
    weights = tmp_path / "weights"
    assert "limner-vae/autoencoder: 7.6 MB" in run("export", "--to", str(weights))


@pytest.mark.parametrize("model", evaluation.MODELS)
def test_an_evaluation_prints_its_figures_and_goals_and_writes_a_sheet(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    write_drawings(cache)
    words.caption_table(load_dataset(cache).drawings, {}, SentenceEncoder().encode, np.random.default_rng(0)).save(
        cache / "captions.safetensors"
    )
    monkeypatch.setattr(evaluation, "QUICK", evaluation.Sizes(pairs=2, a_language=2, timed=1))
    sheet, prompts = tmp_path / "sheet.png", tmp_path / "prompts.txt"
    prompts.write_text("rocket\n\n火箭\n", encoding="utf-8")
    arguments = [model, "--quick", "--threads", "1", "--sheet", str(sheet), "--prompts", str(prompts)]
    arguments += ["--steps", "1", "--guidance", "2"]
    result = CliRunner().invoke(evaluate, arguments, catch_exceptions=False)
    summary = json.loads(result.output.splitlines()[-1])
    assert summary["name"] == f"evaluate {model}"
    assert summary.get("sampler") == ({"steps": 1, "guidance": 2.0} if model == "limner-flow" else None)
    assert summary["goal"].keys() == summary["met"].keys()
    assert {"true drawings, seen", "true drawings, held out", "random drawings"} <= summary["figures"].keys()
    assert sheet.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_without_data_names_the_command_that_creates_it(cache: Path, stage: str) -> None:
    result = CliRunner().invoke(train, [stage])
    assert result.exit_code == 1
    assert "limner train data" in result.output
    assert not cache.exists()


def test_a_stage_without_its_predecessor_names_the_missing_weights(cache: Path) -> None:
    write_drawings(cache)
    result = CliRunner().invoke(train, ["upscaler"])
    assert result.exit_code == 1
    assert "there are no weights at" in result.output


@pytest.mark.parametrize(
    ("content", "sheet", "reason"),
    [
        (b"\n \n", ["--sheet", "x.png"], "has no prompts"),
        (b"\xff\xfe", ["--sheet", "x.png"], "not text in UTF-8"),
        (b"rocket\n", [], "name its file with --sheet"),
    ],
)
def test_a_file_of_prompts_that_cannot_be_used_is_refused(
    tmp_path: Path, content: bytes, sheet: list[str], reason: str
) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes(content)
    result = CliRunner().invoke(evaluate, ["limner-flow", "--prompts", str(file), *sheet])
    assert result.exit_code == 2
    assert reason in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["limner-flow", "--pictures", "3"], "--pictures and --sentence are for --tasks"),
        (["limner-flow", "--sentence", "a {name} at sea"], "--pictures and --sentence are for --tasks"),
        (["limner-flow", "--tasks", "--sentence", "a cat at sea"], "each has {name} where"),
        (["limner-vae", "--tasks"], "which limner-flow and limner-gan draw"),
        (["limner-flow", "--tasks", "--sheet", "x.png", "--prompt", "a cat"], "has its own prompts"),
        (["limner-flow", "--tasks", "--pictures", "0"], "0 is not in the range"),
    ],
)
def test_options_of_the_tasks_that_do_not_fit_are_refused(arguments: list[str], reason: str) -> None:
    result = CliRunner().invoke(evaluate, arguments)
    assert result.exit_code == 2
    assert reason in " ".join(result.output.split())


@pytest.mark.parametrize("model", ["limner-flow", pytest.param("limner-gan", marks=pytest.mark.long)])
def test_the_tasks_print_a_table_and_figures_and_write_a_sheet(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    disc = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="15" fill="teal"/></svg>'
    )
    sources = {(noun.concept, style): disc for noun in nouns() for style in (*noun.styles, *noun.held_out)}

    def true_sources(_: object) -> tuple[dict[str, str], dict[tuple[str, str], str], set[str]]:
        return {}, sources, set()

    monkeypatch.setattr(running, "true_sources", true_sources)
    sheet = tmp_path / "sheet.png"
    arguments = [model, "--tasks", "--pictures", "1", "--steps", "1", "--threads", "1", "--sheet", str(sheet)]
    arguments += ["--sentence", "a {name} by the sea"]
    result = CliRunner().invoke(evaluate, arguments, catch_exceptions=False)
    summary = json.loads(result.output.splitlines()[-1])
    assert summary["name"] == f"tasks {model}"
    assert summary["figures"].keys() == summary["goal"].keys() == summary["met"].keys() == TASKS.keys()
    assert all(figures["n"] == figures["ceiling"]["n"] == 1 for figures in summary["figures"].values())
    assert "| colour attribution | 0.50 |" in result.output
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_every_command_has_help() -> None:
    output = run("--help")
    for command in (*STAGES, "data", "drawings", "export", "all"):
        assert f"  {command} " in output
        assert "Usage" in run(command, "--help")


def test_all_trains_each_stage_and_both_taggers_before_the_export(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def noted(name: str) -> Callable[..., None]:
        def note(texts: str = name, **_: object) -> None:
            ran.append(texts)

        return note

    for name, command in train.commands.items():
        if name != "all":
            monkeypatch.setattr(command, "callback", noted(name))
    run("all")
    stages = [stage for stage in STAGES if stage not in ("gan-log", "gan-relativistic")]
    assert ran == ["data", *stages, "descriptions", "follow-ups", "export", "drawings"]
