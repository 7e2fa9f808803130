"""Settings come from the environment and from files; variables that were renamed still work, with a warning."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from limner_shared.errors import ConfigurationError
from limner_shared.settings import Settings
from limner_shared.settings.sources import RENAMED

VALUES = {"language": "rules", "server": "http://127.0.0.1:1"}


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_variable_sets_the_renamed_field_and_warns(monkeypatch: pytest.MonkeyPatch, old: Any, new: Any):
    monkeypatch.setenv(f"LIMNER_{old.upper()}", VALUES.get(old, "7"))
    with pytest.warns(FutureWarning, match=f"LIMNER_{new.upper()}"):
        settings = Settings()
    assert str(getattr(settings, new)).removesuffix(".0") == VALUES.get(old, "7")


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_the_new_variable_has_precedence(monkeypatch: pytest.MonkeyPatch, old: Any, new: Any):
    monkeypatch.setenv(f"LIMNER_{old.upper()}", "1")
    monkeypatch.setenv(f"LIMNER_{new.upper()}", VALUES.get(old, "9"))
    with warnings.catch_warnings(action="error"):
        settings = Settings()
    assert str(getattr(settings, new)).removesuffix(".0") == VALUES.get(old, "9")


def test_an_old_variable_is_validated_like_the_new_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIMNER_WINDOW", "none")
    with pytest.warns(FutureWarning), pytest.raises(ValueError, match="release_window"):
        Settings()


def test_the_local_interpreter_of_earlier_versions_is_read_as_rules_with_a_warning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIMNER_INTERPRETER", "local")
    with pytest.warns(FutureWarning, match="LIMNER_INTERPRETER=local is now rules"):
        settings = Settings()
    assert settings.interpreter == "rules"
    assert settings.variables["LIMNER_INTERPRETER"] == "rules"


def test_every_setting_has_a_description():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_settings_are_read_from_files_of_the_secrets_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "limner_database_url").write_text("postgresql://limner:secret@db/limner\n")
    (tmp_path / "limner_webhook_internal_targets").write_text("hooks.internal,10.1.0.0/16")
    (tmp_path / "postgres_password").write_text("no setting")
    monkeypatch.setenv("LIMNER_SECRETS_DIR", str(tmp_path))
    settings = Settings()
    assert settings.database_url == "postgresql://limner:secret@db/limner"
    assert settings.webhook_internal_targets == ("hooks.internal", "10.1.0.0/16")


def test_a_variable_has_precedence_over_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "limner_redis_url").write_text("redis://file")
    monkeypatch.setenv("LIMNER_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("LIMNER_REDIS_URL", "redis://variable")
    assert Settings().redis_url == "redis://variable"


def test_a_secrets_folder_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("LIMNER_SECRETS_DIR", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="does not point to a directory"):
        Settings()


def test_a_secret_that_is_not_text_is_refused_by_the_name_of_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "limner_llm_key").write_bytes(b"\xff\xfe\x00")
    monkeypatch.setenv("LIMNER_SECRETS_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match="LIMNER_SECRETS_DIR"):
        Settings()


def test_the_value_in_a_file_is_validated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "limner_port").write_text("many")
    monkeypatch.setenv("LIMNER_SECRETS_DIR", str(tmp_path))
    with pytest.raises(ValueError, match="port"):
        Settings()
