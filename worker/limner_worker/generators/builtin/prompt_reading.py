"""What a built-in model draws of a prompt: a scene, a known name in its place, or the prompt itself."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from torch import Tensor

from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.scenes import NearestName, Scene, SceneRule
from limner_worker.generators.builtin.known_names import KnownNames, NameMatch
from limner_worker.generators.builtin.scenes.nouns import Encode
from limner_worker.generators.builtin.scenes.reading import NEVER, SceneReader
from limner_worker.languages import emoji

KEPT_READINGS: Final = 512
"""All images of a job have one prompt, and the jobs that start together wait for each other's."""


MOST_WORDS: Final = 10
"""The most words of a prompt for which a fuller one is looked for,"""
MOST_DROPPED: Final = 2
"""and the most words that it leaves out: each way to do so is read."""


class Reading(NamedTuple):
    """What is drawn of a prompt."""

    drawn_as: str | None = None
    """The name that is drawn, if that is not all of the prompt."""
    scene: Scene | None = None
    """What the picture is put together from, unless the prompt is drawn as a whole."""


class PromptReader:
    """Reads prompts with the names that a model was trained with. The results depend on one prompt only.

    Emoji are read as their names.
    """

    def __init__(self, names: KnownNames, encode: Encode) -> None:
        """`encode` returns the embeddings, float32 [n, 384], of texts."""
        self._names = names
        self._encode = encode
        self._kept_fuller = lru_cache(KEPT_READINGS)(self._fuller)
        self._reader = SceneReader(names, encode)
        self._kept_scene = lru_cache(KEPT_READINGS)(self._reader.read)

    def read(self, spec: JobSpec, most: int) -> Reading:
        """Return what is drawn of a spec's prompt by a model that draws at most `most` rows at once."""
        scene = self.scene(spec, most)
        if scene is not None:
            return Reading(scene=scene)
        prompt = emoji.spelled(spec.prompt)
        [embedding] = self._encode([prompt])
        found = self.name(prompt, embedding, spec.nearest_name)
        return Reading(drawn_as=None if found is None or found.exact else found.name)

    def scene(self, spec: JobSpec, most: int) -> Scene | None:
        """Return the scene that a prompt asks for, of at most `most` rows; None if it is drawn as a whole.

        A replay has the scene of its receipts, whatever is read of the prompt today.
        """
        if spec.scenes is None or spec.scene is not None:
            return None if spec.scenes is None else spec.scene
        prompt = emoji.spelled(spec.prompt)
        rule = spec.scenes.model_copy(update={"most": min(most, spec.scenes.most)})
        scene = self._read_scene(prompt, rule)
        if scene is None:
            return None
        return None if scene.plain and self._is_whole(prompt, spec.nearest_name, scene.objects[0].name) else scene

    def _read_scene(self, prompt: str, rule: SceneRule) -> Scene | None:
        return self._kept_scene(prompt, rule)  # pyright: ignore[reportArgumentType] - a frozen model is hashable

    def _is_whole(self, prompt: str, rule: NearestName | None, name: str) -> bool:
        """Return whether a prompt that is drawn as a whole is drawn as this name."""
        [embedding] = self._encode([prompt])
        return self._names.drawn(prompt, embedding, rule) == name

    def fuller(self, spec: JobSpec) -> str | None:
        """Return a spec's prompt with fewer words, as a list of things that are all drawn and are more than now.

        None if there is none, or if nothing is left out of the prompt as it is.
        """
        return None if spec.scenes is None else self._kept_fuller(spec.prompt, spec.scenes)  # pyright: ignore[reportArgumentType] - a frozen model is hashable

    def _fuller(self, prompt: str, rule: SceneRule) -> str | None:
        now, words = self._read_scene(prompt, rule), prompt.split()
        if (now is not None and not now.left_out) or len(words) > MOST_WORDS:
            return None
        shown = 1 if now is None else len(now.objects)
        # All things of a fuller prompt are known by their names, so that no other word needs to be encoded.
        sure = rule.model_copy(update={"least": NEVER})
        for dropped in range(1, MOST_DROPPED + 1):
            for at in range(1, len(words) - dropped):
                told = f"{' '.join(words[:at])}, {' '.join(words[at + dropped :])}"
                scene = self._reader.read(told, sure)
                if scene is not None and scene.faithful and len(scene.objects) > shown:
                    return told
        return None

    def name(self, prompt: str, embedding: Tensor, rule: NearestName | None) -> NameMatch | None:
        """Return the name to draw in place of a prompt with this embedding [384]; None to draw the prompt itself."""
        found = None if rule is None else self._names.find(prompt, embedding, rule)
        if found is None or found.exact:
            return found
        return found._replace(exact=self._says_only(prompt, found.name))

    def _says_only(self, prompt: str, name: str) -> bool:
        """Return whether a prompt says the name in other words and nothing more: "ein Geist" for "ghost"."""
        scene = self._read_scene(prompt, SceneRule())
        return scene is not None and scene.plain and scene.faithful and scene.objects[0].name == name
