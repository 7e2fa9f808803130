"""What the compatible APIs take: other names of models, and what an unknown name or size leads to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.inputs import Task
from limner_shared.errors import ConfigurationError, InvalidRequest, ModelNotFound
from limner_shared.settings import Settings

INPUT_TASKS: Final[dict[str, Task]] = {"image": "image-to-image", "mask": "inpainting"}
"""What a model must be able to do for each input picture."""


class Resolved(NamedTuple):
    """The card that a name leads to, and a warning for the client if it was not what the name asked for."""

    card: ModelCard
    warning: str | None = None


class ModelNames:
    """The names that a compatible API accepts: the cards' own and the aliases."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        """Raises ConfigurationError for an alias of a model that does not exist."""
        self._catalogue = catalogue
        self._uses_default = settings.unknown_models == "default"
        self._unknown_sizes = settings.unknown_sizes
        self.aliases: Mapping[str, ModelCard] = {
            name: _target(catalogue, name, model)
            for name, model in settings.model_aliases.items()
            if name not in catalogue.cards
        }

    @property
    def names(self) -> dict[str, ModelCard]:
        """Every accepted name and its card, the cards' own names first."""
        return {**self._catalogue.cards, **self.aliases}

    def fits_sizes(self, *, built_in: bool) -> bool:
        """Whether a picture is scaled to a size that its model lacks.

        `built_in` says that the client sends a size of its own, without a choice among those of the models here.
        """
        return built_in if self._unknown_sizes is None else self._unknown_sizes == "fit"

    def is_foreign(self, name: str | None) -> bool:
        """Whether a name is that of a model elsewhere: an alias, or unknown."""
        return bool(name) and name not in self._catalogue.cards

    def with_able_models(self, error: InvalidRequest) -> InvalidRequest:
        """The error for a task that a model lacks, with the models that have it; any other error as it is."""
        field, allowed = error.details.get("field"), error.details.get("allowed", ())
        if field not in INPUT_TASKS or "text-to-image" not in allowed:
            return error
        task = INPUT_TASKS[field]
        able = ", ".join(name for name, card in self.names.items() if task in card.tasks and card.control is None)
        return InvalidRequest(f"{error.message} Models with {task}: {able or 'none here'}.", **error.details)

    def resolve(self, name: str | None) -> Resolved:
        """Return the card of a name, or of the default model for None. Raises ModelNotFound."""
        if not name:
            return Resolved(self._catalogue.get(None))
        card = self.names.get(name)
        if card is not None:
            return Resolved(card)
        if not self._uses_default:
            known = ", ".join(sorted(self.names))
            raise ModelNotFound(f"model: there is no model {name[:80]!r} here; there are: {known}.", field="model")
        default = self._catalogue.get(None)
        return Resolved(default, f"model {name[:80]!a} is unknown here; {default.name} was used")


def _target(catalogue: Catalogue, name: str, model: str) -> ModelCard:
    card = catalogue.cards.get(model or catalogue.default)
    if card is None:
        known = ", ".join(sorted(catalogue.cards))
        raise ConfigurationError(f"LIMNER_MODEL_ALIASES: {name}={model}: there is no model {model!r}; known: {known}.")
    return card
