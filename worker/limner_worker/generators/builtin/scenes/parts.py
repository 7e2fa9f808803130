"""Parts of a prompt that are read as things, and how they are joined to a scene. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from limner_shared.domain.scenes import Colour, RelationKind, SceneObject, SceneRelation
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.builtin.scenes.nouns import Noun

WORN: Final = frozenset(
    [
        "crown",
        "top hat",
        "woman's hat",
        "billed cap",
        "graduation cap",
        "rescue worker's helmet",
        "military helmet",
        "glasses",
        "sunglasses",
        "goggles",
        "scarf",
        "necktie",
        "ribbon",
    ]
)
"""Names of what can be worn."""
WEARERS: Final = frozenset(
    [
        "ghost",
        "robot",
        "alien",
        "snowman",
        "snowman without snow",
        "penguin",
        "bear",
        "panda",
        "frog",
        "lion",
        "fox",
        "wolf",
        "koala",
        "polar bear",
        "owl",
        "unicorn",
        "hamster",
        "chicken",
        "baby chick",
        "duck",
        "octopus",
        "santa claus",
        "man",
        "woman",
        "boy",
        "girl",
        "baby",
        "person",
        "old man",
        "old woman",
        "child",
        "skull",
        "jack-o-lantern",
        "hedgehog",
        "raccoon",
        "elephant",
        "fish",
        "bird",
        "sheep",
        "ewe",
        "goat",
        "teddy bear",
        "bee",
        "honeybee",
        "clown",
        "vampire",
    ]
)
"""Names of what can wear something, beside those that have a face of their own."""

SCENERY: Final = frozenset(
    [
        "cloud with snow",
        "cloud with rain",
        "cloud with lightning",
        "cloud with lightning and rain",
        "umbrella with rain drops",
        "snowflake",
        "fog",
        "wind face",
        "national park",
        "camping",
        "beach with umbrella",
        "desert",
        "desert island",
        "cityscape",
        "cityscape at dusk",
        "sunset",
        "sunrise",
        "night with stars",
        "water wave",
    ]
)
"""Names of weather and places. A thing in them is not inside their drawing."""

NOT_EXACT: Final = 0.5
"""How uncertain a thing is whose name is only near to what was said."""
PLACE: Final = 0.6
"""How uncertain a part is of which a place is left out, beside the letters of the place."""
PLACE_LETTER: Final = 0.04


@dataclass(frozen=True)
class PromptPart:
    """What was read of a part of a text. Relations name objects by their place in the part."""

    objects: tuple[SceneObject, ...]
    relations: tuple[SceneRelation, ...] = ()
    left_out: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    """Places that are not understood, and are left out too."""
    cost: float = 0.0

    def then(self, other: PromptPart) -> PromptPart:
        """Return both parts, one after the other."""
        by = len(self.objects)
        moved = tuple(
            SceneRelation(
                kind=relation.kind,
                subjects=tuple(place + by for place in relation.subjects),
                object=relation.object + by,
            )
            for relation in other.relations
        )
        return PromptPart(
            (*self.objects, *other.objects),
            (*self.relations, *moved),
            (*self.left_out, *other.left_out),
            (*self.places, *other.places),
            self.cost + other.cost,
        )

    def related(self, relation: SceneRelation) -> PromptPart:
        """Return the part with one relation more."""
        return replace(self, relations=(*self.relations, relation))


def thing_of(noun: Noun, colour: Colour | None, count: int, others: str) -> PromptPart:
    """Return the part that is one thing; `others` are the words about it that are left out."""
    left_out = (others,) if others else ()
    thing = SceneObject(said=noun.said, name=noun.name, exact=noun.exact, colour=colour, count=count)
    words = len(others.split())
    return PromptPart((thing,), left_out=left_out, cost=words + noun.doubt + (0 if noun.exact else NOT_EXACT))


def elsewhere(part: PromptPart, place: str) -> PromptPart:
    """Return a part without the place where it is, which is not understood."""
    return replace(part, places=(*part.places, place), cost=part.cost + PLACE + PLACE_LETTER * len(place))


def related(kind: RelationKind, left: PromptPart, right: PromptPart, names: KnownNames) -> PromptPart | None:
    """Return both parts in one: the things of the first have the relation `kind` to the first thing of the second."""
    joined = left.then(right)
    there = len(left.objects)
    last, worn = left.objects[-1], right.objects[0]
    if kind == "inside" and len(right.objects) == 1 and (worn.name in SCENERY or not worn.exact):
        return replace(left, left_out=(*joined.left_out, worn.said), cost=joined.cost + 1)
    if kind == "on" and last.name in WORN and _wears(worn, names):
        kind, last, worn = "wearing", worn, last  # "a hat on a cat"
    if kind in ("inside", "wearing") and worn.name in WORN and _wears(last, names):
        return _worn(joined, last, worn, names)
    if kind == "wearing":
        return None
    wearers = {relation.object for relation in left.relations if relation.kind == "wearing"}
    subjects = tuple(place for place in range(there) if place not in wearers)
    return joined.related(SceneRelation(kind=kind, subjects=subjects, object=there))


def beside(left: PromptPart, right: PromptPart, names: KnownNames, *, may_wear: bool) -> PromptPart:
    """Return both parts side by side; with `may_wear`, as in "a cat with a hat", as a thing and what it wears."""
    joined = left.then(right)
    wearer, worn = left.objects[-1], right.objects[0]
    if may_wear and worn.name in WORN and _wears(wearer, names):
        return _worn(joined, wearer, worn, names) or joined
    return joined


def _worn(part: PromptPart, wearer: SceneObject, worn: SceneObject, names: KnownNames) -> PromptPart | None:
    """Return a part in which an object wears another one; a wearer shows its face if it has a drawing of it."""
    objects = list(part.objects)
    place, what = objects.index(wearer), objects.index(worn)
    face = f"{wearer.name} face"
    if worn.count not in (1, wearer.count) or place == what:
        return None
    objects[place] = wearer.model_copy(update={"name": face}) if face in names else wearer
    objects[what] = worn.model_copy(update={"count": wearer.count})
    relation = SceneRelation(kind="wearing", subjects=(place,), object=what)
    return replace(part, objects=tuple(objects)).related(relation)


def _wears(thing: SceneObject, names: KnownNames) -> bool:
    return thing.name in WEARERS or f"{thing.name} face" in names or thing.name.endswith(" face")
