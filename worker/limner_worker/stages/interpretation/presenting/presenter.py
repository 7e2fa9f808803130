"""The presentation of finished pictures in a few sentences, with what the evaluator says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.recognitions import Recognition
from limner_shared.domain.scenes import Scene
from limner_shared.errors import CardError
from limner_shared.telemetry import get_logger
from limner_worker.generators.base import Picture
from limner_worker.generators.weight_files import locate
from limner_worker.stages.interpretation.chat_client import ChatClient, LanguageError
from limner_worker.stages.interpretation.presenting import presentation
from limner_worker.stages.recognising import PictureEvaluator

log = get_logger(__name__)


class ImageRecognizer(PictureEvaluator, Protocol):
    """Names what the pictures of a model look like."""

    def names_of(self, picture: Picture) -> Sequence[tuple[str, float]]:
        """Return the names that a picture resembles, with their scores, best first."""
        ...

    def known_names(self) -> Mapping[str, Sequence[str]]:
        """Return the names that the model was trained with, by language."""
        ...

    def read(self, spec: JobSpec, most: int) -> tuple[str | None, Scene | None]:
        """Return the name that is drawn of a spec's prompt, if that is not all of it, and its scene of at most `most`
        rows, if it is not drawn as a whole.
        """
        ...


def recognizers_of(cards: Mapping[str, ModelCard]) -> dict[str, ImageRecognizer]:
    """Return the recognizers of the built-in models whose text encoder's folder contains the evaluator.

    Raises CardError for a card that offers candidates for its pictures, and has none that could choose.
    """
    folders = {name: locate(card.text_encoder) for name, card in cards.items() if card.text_encoder is not None}
    if not folders:
        return {}
    from limner_worker.stages.interpretation.presenting.image_recognition import TOWER, EvaluatorRecognizer  # noqa: PLC0415 - torch, which not every worker needs

    shared = {folder: EvaluatorRecognizer(folder) for folder in set(folders.values()) if (folder / TOWER).is_file()}
    if blind := [name for name, folder in folders.items() if folder not in shared and cards[name].candidates > 1]:
        raise CardError(f"{blind[0]}: candidates: no evaluator could choose, as the text encoder has no {TOWER}")
    return {name: shared[folder] for name, folder in folders.items() if folder in shared}


def language_of_answer(spec: JobSpec, recognizer: ImageRecognizer | None) -> str:
    """Return the code of the language in which a job is answered, also by the names that its model knows."""
    return presentation.language_for(spec) if recognizer is None else recognizer.language_for(spec)


class Presenter:
    """Writes the presentations of the pictures of described jobs. For the publisher's threads."""

    def __init__(
        self, server: ChatClient | None = None, recognizers: Mapping[str, ImageRecognizer] | None = None
    ) -> None:
        """`recognizers` name what the pictures of some models look like, by the model's name."""
        self._server = server
        self._recognizers = recognizers or {}

    def asks(self, spec: JobSpec) -> bool:
        """Return whether a language model server is asked, which may take a while."""
        return self._server is not None and spec.description is not None

    def __call__(
        self,
        spec: JobSpec,
        drawn_as: str | None = None,
        scene: Scene | None = None,
        recognitions: Sequence[Recognition | None] = (),
        read_chars: int | None = None,
    ) -> str | None:
        """Return a few sentences for a described job; None for a plain prompt. Never raises.

        `drawn_as` is the name that was drawn in place of the whole prompt, `scene` what the pictures were put together
        from, `recognitions` what the evaluator says of each of them, `read_chars` how much of the prompt was read.
        """
        if spec.description is None:
            return None
        language = language_of_answer(spec, self._recognizers.get(spec.model))
        named = None if drawn_as is None else self._translated(spec, drawn_as, language)
        told = None if scene is None else self._in_language(spec, scene, language)
        shown = presentation.Shown(named, told, tuple(each for each in recognitions if each is not None), read_chars)
        if self._server is not None:
            try:
                return presentation.by_server(self._server, spec, shown)
            except LanguageError as error:
                log.info("presented by rules", reason=str(error))
            except Exception:
                log.exception("request to the language model's server failed unexpectedly")
        return presentation.by_rules(spec, shown, language)

    def _in_language(self, spec: JobSpec, scene: Scene, language: str) -> Scene:
        """Return the scene with names in another language."""
        recognizer = self._recognizers.get(spec.model)
        return scene if recognizer is None else presentation.in_language(scene, language, recognizer.translated)

    def _translated(self, spec: JobSpec, name: str, language: str) -> str:
        recognizer = self._recognizers.get(spec.model)
        return name if recognizer is None else recognizer.translated(name, language)
