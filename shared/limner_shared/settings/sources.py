"""Where settings come from beside variables by their present names: variables by old names, and files of secrets."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsError

from limner_shared.errors import ConfigurationError

RENAMED: Final = {
    "hang_seconds": "step_timeout_seconds",
    "input_days": "input_retention_days",
    "language": "interpreter",
    "llm_seconds": "llm_timeout_seconds",
    "max_window": "max_release_window",
    "model_bytes": "model_memory_bytes",
    "server": "server_url",
    "solo_losses": "max_solo_losses",
    "window": "release_window",
}
"""Old names of settings; their variables still work in this version, with a warning."""


class RenamedVariables(PydanticBaseSettingsSource):
    """Reads variables by their old names where the new ones are not set."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of a field's old variable, or None."""
        for old, new in RENAMED.items():
            value = os.environ.get(f"LIMNER_{old.upper()}")
            if new == field_name and value and not os.environ.get(f"LIMNER_{new.upper()}"):
                message = f"LIMNER_{old.upper()} is now called LIMNER_{new.upper()}; the old name will be removed."
                warnings.warn(message, FutureWarning, stacklevel=2)
                return value, field_name, False
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the fields whose old variables are set."""
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class SecretFiles(SecretsSettingsSource):
    """Reads settings from the files of `LIMNER_SECRETS_DIR`, which are named like variables in lower case."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        folder = os.environ.get("LIMNER_SECRETS_DIR", "")
        # A folder that does not exist is reported by the validation of the setting itself.
        super().__init__(settings_cls, secrets_dir=folder if folder and Path(folder).is_dir() else None)

    def __call__(self) -> dict[str, Any]:
        """Return the fields that have a file. Raises ConfigurationError for a file that cannot be read."""
        try:
            return super().__call__()
        except SettingsError as error:
            raise ConfigurationError(f"LIMNER_SECRETS_DIR: {error}: {error.__cause__}") from error
