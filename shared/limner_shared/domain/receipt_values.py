"""What a receipt records as an object of its own. No I/O."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError


class ReceiptValue(BaseModel):
    """A part of a receipt, which may be of another release."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    def read(cls, recorded: object) -> Self | None:
        """Return what a receipt records; None if it records nothing, or something of another version."""
        try:
            return None if recorded is None else cls.model_validate(recorded)
        except ValidationError:
            return None

    def recorded(self) -> dict[str, Any]:
        """Return this for a receipt, without default values."""
        return self.model_dump(mode="json", exclude_defaults=True)
