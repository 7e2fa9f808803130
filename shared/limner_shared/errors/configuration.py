"""What an operator has to correct."""

from __future__ import annotations

from limner_shared.errors.base import LimnerError


class CardError(LimnerError):
    """The model card is not valid."""

    code, title, status = "bad_model_card", "Bad model card", 500


class ConfigurationError(LimnerError):
    """The configuration is not valid."""

    code, title, status = "bad_configuration", "Bad configuration", 500
