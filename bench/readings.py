"""What is read of the tasks' prompts, without drawing: the share whose things, colours, numbers and places are right.

    python -m bench.readings [--prompts 64] [--wrong]

The prompts are those of `bench.tasks`, in each language. A prompt that is no scene counts by the name that is drawn for
it. A right reading is no right picture yet; this says in seconds which language and task lose words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import click
import torch

from bench.common import conclude
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.scenes import Scene
from limner_training.tasks.prompts import TASKS, TaskPrompt, prompts
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.builtin.scenes.reading import SceneReader
from limner_worker.generators.text_encoding.sentence_encoder import TextEncoder
from limner_worker.generators.weight_files import locate
from limner_worker.languages import emoji
from limner_worker.stages.interpretation.language.files import BY_CODE

QUICK: Final = 12
"""The most prompts of each task in each language for a quick run."""
GOAL: Final = 0.95
SINGLE: Final = {"seen", "held out", "in sentences"}
"""The thing may have other things around it."""
MIRRORED: Final = {"right": "left", "below": "above"}


class Readings:
    """Reads prompts as the worker of a built-in model does."""

    def __init__(self, card: ModelCard) -> None:
        folder = locate(card.text_encoder or card.source)
        self._card, self._names, self._encode = card, KnownNames(folder), TextEncoder(folder).encode
        self._reader = SceneReader(self._names, self._encode)

    def read(self, text: str) -> Scene | str | None:
        """Return the scene of a prompt, or the one name that is drawn for it; None if the text is drawn as it is."""
        text = emoji.spelled(text)
        scene = self._reader.read(text, self._card.scenes) if self._card.scenes else None
        if scene is not None or self._card.nearest_name is None:
            return scene
        found = self._names.find(text, self._encode([text])[0], self._card.nearest_name)
        return None if found is None else found.name

    def is_right(self, prompt: TaskPrompt) -> bool:
        """Return whether a reading has what a task asks for; a text that is drawn as it is must be the name."""
        read = self.read(prompt.text)
        if isinstance(read, Scene) and prompt.task in SINGLE:
            return prompt.wanted[0].noun.name in {each.name for each in read.objects}
        if isinstance(read, Scene):
            return _shows(read, prompt)
        single = prompt.number == 1 and len(prompt.wanted) == 1 and prompt.wanted[0].colour is None
        nearest = read or self._names.nearest(self._encode([prompt.text])[0])[0]
        return single and nearest == prompt.wanted[0].noun.name


def told(read: Scene | str | None) -> str:
    """Return a reading in short."""
    if not isinstance(read, Scene):
        return read or "as it is"
    places = " ".join(f"{each.kind} {each.subjects[0]}-{each.object}" for each in read.relations)
    return f"{read.caption} | {places} | {read.background} | without {', '.join(read.left_out)}"


def _shows(scene: Scene, prompt: TaskPrompt) -> bool:
    wanted = {(each.noun.name, each.colour) for each in prompt.wanted}
    found = {(each.name, each.colour) for each in scene.objects}
    if not wanted <= found or len(scene.objects) > len(wanted):
        return False
    if prompt.task == "counting" and scene.objects[0].count != prompt.number:
        return False
    return prompt.relation is None or _standing(prompt) in _places(scene)


def _standing(prompt: TaskPrompt) -> tuple[str, str, str]:
    first, second = (each.noun.name for each in prompt.wanted)
    kind = prompt.relation or ""
    return (MIRRORED[kind], second, first) if kind in MIRRORED else (kind, first, second)


def _places(scene: Scene) -> set[tuple[str, str, str]]:
    found: set[tuple[str, str, str]] = set()
    for each in scene.relations:
        first, second = scene.objects[each.subjects[0]].name, scene.objects[each.object].name
        kind = "above" if each.kind == "on" else each.kind
        found.add((MIRRORED[kind], second, first) if kind in MIRRORED else (kind, first, second))
    return found


def measure(readings: Readings, count: int, languages: Sequence[str], *, wrong: bool) -> dict[str, dict[str, float]]:
    """Return the share of right readings by task and language, and print each row."""
    found: dict[str, dict[str, float]] = {}
    for task in TASKS:
        right: Counter[str] = Counter()
        for code in languages:
            for prompt in prompts(task, code, count):
                if readings.is_right(prompt):
                    right[code] += 1
                elif wrong:
                    print(f"{task} {code} {prompt.text!r}\n    {told(readings.read(prompt.text))}")
        found[task] = {code: round(right[code] / count, 3) for code in languages}
        print(f"{task:18}", "  ".join(f"{code} {share:.2f}" for code, share in found[task].items()), flush=True)
    return found


@click.command()
@click.option("--prompts", "count", default=64, show_default=True, help="Of each task in each language.")
@click.option("--quick", is_flag=True, help="Twelve prompts of each only.")
@click.option("--language", "languages", multiple=True, help="Only these; all by default.")
@click.option("--wrong", is_flag=True, help="Print what is read wrongly.")
def main(count: int, quick: bool, languages: tuple[str, ...], wrong: bool) -> None:
    """Print the table, and write it to results/."""
    torch.set_num_threads(1)
    readings = Readings(Catalogue.load([], "limner-flow").get("limner-flow"))
    count = min(count, QUICK) if quick else count
    figures: dict[str, Any] = measure(readings, count, languages or tuple(BY_CODE), wrong=wrong)
    means = {task: sum(shares.values()) / len(shares) for task, shares in figures.items()}
    print({task: round(mean, 3) for task, mean in means.items()})
    conclude("readings", figures, f"{GOAL} of each task, mean of languages", met=min(means.values()) >= GOAL)


if __name__ == "__main__":
    main()
