"""The demo is a service of its own, whatever the user's environment names."""

from __future__ import annotations

from pathlib import Path

import pytest

from limner_client.local.demo import OF_THE_MACHINE, remove_other_settings, run_demo
from limner_shared.errors import ConfigurationError
from limner_shared.settings import Settings


def test_the_demo_inherits_no_setting_that_may_lead_to_a_service_of_the_user() -> None:
    variables = {f"LIMNER_{name.upper()}": "x" for name in Settings.model_fields} | {
        "PATH": "/bin",
        "LIMNER_WINDOW": "1",
    }
    remove_other_settings(variables)
    assert set(variables) == {"PATH", *(f"LIMNER_{name}" for name in OF_THE_MACHINE)}
    assert not [name for name in OF_THE_MACHINE if "URL" in name]


def test_the_demo_takes_no_folder_of_the_user(tmp_path: Path):
    mine = [tmp_path / "single-malt.png", tmp_path / "bulk-order.png", tmp_path / "logs" / "mine.txt"]
    for file in mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    with pytest.raises(ConfigurationError, match="is not empty, and not of an earlier demo"):
        run_demo(tmp_path, workers=1)
    assert sorted(file for file in tmp_path.rglob("*") if file.is_file()) == sorted(mine)
