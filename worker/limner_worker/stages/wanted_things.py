"""What the evaluator is asked about a finished picture: each thing that it should show."""

from __future__ import annotations

from typing import NamedTuple

from limner_worker.generators.base import ImageTask, Picture


class WantedThing(NamedTuple):
    """A thing that a picture should show."""

    picture: Picture
    """Where it should be: the whole picture, or the thing of a scene alone on white."""
    said: str | None
    """The words of the prompt for it; None if it is a name that was drawn in place of the prompt."""
    name: str
    recoloured: bool = False


def wanted_things(task: ImageTask, picture: Picture) -> list[WantedThing]:
    """Return the things of a picture; none if those of its scene are unknown (from an earlier release's checkpoint)."""
    if task.scene is None and task.drawn_as is None:
        return [WantedThing(picture, task.spec.prompt, task.spec.prompt)]
    if task.scene is None:
        return [WantedThing(picture, None, task.drawn_as or "")]
    if task.scene.plain:
        only = task.scene.objects[0]
        return [WantedThing(picture, only.said, only.name)]
    if not task.things:
        return []
    drawn = zip(task.scene.objects, task.scene.drawings, strict=True)
    objects = [each for each, drawings in drawn for _ in range(drawings)]
    return [
        WantedThing(thing, each.said, each.name, recoloured=each.colour is not None)
        for thing, each in zip(task.things, objects, strict=True)
    ]
