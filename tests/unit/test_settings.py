"""Settings come from the environment; variables that were renamed still work, with a warning."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from limner_shared.settings import RENAMED, Settings

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
