"""The layout of a scene: the box of every instance of its things on the unit square. Pure; lengths are free units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final, NamedTuple

from limner_shared.domain.scenes import RelationKind, Scene

MARGIN: Final = 0.05
"""The least distance of a box to the canvas's border, as a share of its side."""
GAP: Final = 0.09
"""The distance between neighbours, where a thing is about 1 wide."""
SIZE: Final = 0.85
"""The side of the square with a thing's area; long things are at most 1 long."""
SMALLEST: Final = 0.92
"""Instances are up to this much smaller than the others, so that no two are alike."""
ROWS: Final[tuple[tuple[tuple[int, ...], ...], ...]] = (
    ((),),
    ((1,),),
    ((2,), (1, 1)),
    ((1, 2), (2, 1)),
    ((2, 2), (2, 2), (1, 2, 1)),
    ((2, 3), (3, 2), (2, 1, 2)),
    ((3, 3), (2, 2, 2), (1, 2, 3)),
    ((2, 3, 2),),
    ((3, 2, 3),),
    ((3, 3, 3),),
    ((3, 4, 3),),
    ((4, 3, 4),),
    ((4, 4, 4),),
)
"""By the number of things, how many may stand in each row; the seed chooses."""
LOOSEST: Final = 1.25
"""Rows may be this much longer than those that fit best."""
RAISED: Final = 0.3
"""By this much may a thing stand above its neighbour in half of the rows, if they do not stand on the ground."""
SHIFTED: Final = 0.3
"""By this much may a row be shifted to a side."""
SMALLER: Final = 0.86
"""A layout may be this much smaller than what fits the canvas,"""
OFF_CENTRE: Final = 0.35
"""and this share of the free space away from the middle."""
LONGEST_ROW: Final = 4
"""Among other things, up to this many of a kind stand in one row."""
TIGHTEST: Final[Mapping[RelationKind, int]] = {"wearing": 0, "on": 1, "inside": 1, "front": 2, "behind": 2}
"""In which order relations join things; those that are not here come last."""
EYES: Final = frozenset(("glasses", "sunglasses", "goggles"))
NECK: Final = frozenset(("scarf", "necktie"))
MIRRORED: Final[Mapping[RelationKind, RelationKind]] = {"right": "left", "below": "above", "behind": "front"}


class Head(NamedTuple):
    """Where a thing's head is, as shares of its box."""

    middle: float = 0.5
    width: float = 0.8


@dataclass(frozen=True)
class Box:
    """The place of an instance; boxes are painted in their order."""

    item: int
    """The instance's place among those of all objects, in the scene's order."""
    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The x of the right side."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The y of the lower side."""
        return self.y + self.height


@dataclass(frozen=True)
class _Unit:
    """Boxes that stay together; their common box begins at (0, 0)."""

    boxes: tuple[Box, ...]

    @property
    def width(self) -> float:
        return max(box.right for box in self.boxes)

    @property
    def height(self) -> float:
        return max(box.bottom for box in self.boxes)

    def at(self, x: float, y: float, scale: float = 1.0) -> tuple[Box, ...]:
        return tuple(
            replace(
                box,
                x=x + box.x * scale,
                y=y + box.y * scale,
                width=box.width * scale,
                height=box.height * scale,
            )
            for box in self.boxes
        )


def arranged(scene: Scene, aspects: Sequence[float], seed: int, heads: Mapping[int, Head] | None = None) -> list[Box]:
    """Return the boxes of all instances on the unit square, in the order in which they are painted.

    `aspects` is width divided by height of each instance. The same seed gives the same layout.
    """
    random = Random(seed)  # noqa: S311 - a layout, not a secret
    play = 0.0 if scene.background == "grass" else 1.0
    things = _things(scene, aspects, random, heads or {})
    several = sum(map(bool, things)) > 1 and any(len(each) > 1 for each in things)
    rows = [
        [_row(each, random)] if several and 0 < len(each) <= LONGEST_ROW else _rows(each, random, play)
        for each in things
    ]
    units = {place: _stacked(each, random, play) for place, each in enumerate(rows) if each}
    for relation in sorted(scene.relations, key=lambda each: TIGHTEST.get(each.kind, len(TIGHTEST))):
        if relation.kind == "wearing":
            continue
        there = units[relation.object]
        subjects = _distinct(units[place] for place in relation.subjects if units[place] is not there)
        if subjects:
            joined = _related(relation.kind, _row(subjects, random), there, random, play)
            units = {place: joined if unit is there or unit in subjects else unit for place, unit in units.items()}
    whole = _distinct(units.values())
    if scene.background == "grass":  # all stand on the ground
        return _on_canvas(_row(whole, random), random, grounded=True)
    if several and len(whole) == sum(map(bool, things)):  # no relations: each kind has rows of its own
        return _on_canvas(_stacked([row for each in rows for row in each], random), random)
    if len(whole) > 1 and random.choice((True, False)):  # said order is no place
        whole.reverse()
    return _on_canvas(_stacked(_rows(whole, random, play), random, play), random)


def _things(scene: Scene, aspects: Sequence[float], random: Random, heads: Mapping[int, Head]) -> list[list[_Unit]]:
    """Return the instances of each object, with what they wear; none of an object that is worn."""
    starts = [sum(each.count for each in scene.objects[:place]) for place in range(len(scene.objects))]
    worn = {place: each.object for each in scene.relations if each.kind == "wearing" for place in each.subjects}
    things: list[list[_Unit]] = []
    for place, each in enumerate(scene.objects):
        items = () if place in worn.values() else range(starts[place], starts[place] + each.count)
        singles = [_single(item, aspects[item], random) for item in items]
        if place in worn:
            first, name = starts[worn[place]], scene.objects[worn[place]].name
            singles = [
                _worn(single, item, aspects[item], name, heads.get(single.boxes[0].item, Head()))
                for item, single in enumerate(singles, first)
            ]
        things.append(singles)
    return things


def _single(item: int, aspect: float, random: Random) -> _Unit:
    height = min(SIZE / math.sqrt(aspect), 1.0, 1 / aspect) * random.uniform(SMALLEST, 1)
    return _Unit((Box(item, 0, 0, height * aspect, height),))


def _worn(wearer: _Unit, item: int, aspect: float, name: str, head: Head) -> _Unit:
    """Put something on a head, before the eyes, or around a neck."""
    (box,) = wearer.boxes
    across = head.width * box.width
    share, middle = (0.88, 0.42) if name in EYES else (0.6, 0.92) if name in NECK else (0.72, 0.0)
    width = min(across * share, 0.8 * aspect)
    height = width / aspect
    top = middle * box.height - height / 2 if middle else 0.16 * box.height - height
    thing = Box(item, head.middle * box.width - width / 2, top, width, height)
    return _aligned((box, thing))


def _row(units: Sequence[_Unit], random: Random, play: float = 0.0) -> _Unit:
    """Return units side by side on a common baseline; with `play`, perhaps some of them above it."""
    ground = max(unit.height for unit in units)
    raised = random.choice((RAISED, 0.0)) * play
    boxes: list[Box] = []
    x = 0.0
    for unit in units:
        boxes += unit.at(x, ground - unit.height - raised * random.random())
        x += unit.width + GAP * random.uniform(0.8, 1.2)
    return _aligned(boxes)


def _rows(units: Sequence[_Unit], random: Random, play: float) -> list[_Unit]:
    """Return units in as many rows as their number needs."""
    ways = [(sizes, _longest(units, sizes)) for sizes in ROWS[len(units)]]
    least = min(length for _, length in ways)
    sizes = random.choice([sizes for sizes, length in ways if length <= LOOSEST * least])
    left = list(units)
    return [_row([left.pop(0) for _ in range(size)], random, play if len(sizes) == 1 else 0.0) for size in sizes]


def _longest(units: Sequence[_Unit], sizes: Sequence[int]) -> float:
    """Return the longer side of units in rows of these sizes, without gaps."""
    left = iter(units)
    rows = [[next(left) for _ in range(size)] for size in sizes]
    broad = max((sum(unit.width for unit in row) for row in rows), default=0.0)
    return max(broad, sum(max(unit.height for unit in row) for row in rows))


def _stacked(rows: Sequence[_Unit], random: Random, play: float = 0.0) -> _Unit:
    """Return rows below each other, each in the middle or, with `play`, somewhat beside it."""
    broad = max(row.width for row in rows)
    boxes: list[Box] = []
    y = 0.0
    for row in rows:
        aside = SHIFTED * play * random.uniform(-1, 1) if len(rows) > 1 else 0.0
        boxes += row.at((broad - row.width) / 2 + aside, y)
        y += row.height + GAP
    return _aligned(boxes)


def _related(kind: RelationKind, subject: _Unit, there: _Unit, random: Random, play: float) -> _Unit:
    """Return both units in one: the subject has the relation `kind` to `there`."""
    if kind in MIRRORED:
        return _related(MIRRORED[kind], there, subject, random, play)
    a, b = _fitted(subject, 1), _fitted(there, 1)
    if kind == "left":
        return _row((a, b), random, 0.7 * play)
    if kind == "above":
        shift = (b.width - a.width) / 2 + random.uniform(-0.2, 0.2)
        return _aligned((*a.at(shift, 0), *b.at(0, a.height + GAP)))
    if kind == "on":
        small = min(0.8, 0.8 * b.width / a.width)
        middle = (b.width - small * a.width) / 2
        return _aligned((*b.at(0, small * a.height - 0.07 * b.height), *a.at(middle, 0, small)))
    if kind == "inside":
        small = 0.72 * min(1, b.width / a.width)
        middle = (b.width - small * a.width) / 2
        return _aligned((*a.at(middle, 0, small), *b.at(0, 0.66 * small * a.height)))
    small = 0.68
    side = random.choice((-0.25, 1.25 - small)) * b.width
    return _aligned((*b.at(0, 0), *a.at(side, b.height * 1.08 - small * a.height, small)))  # in front


def _fitted(unit: _Unit, size: float) -> _Unit:
    """Return a unit whose longer side is `size`, or shorter if it is one thing of its natural size."""
    longest = max(unit.width, unit.height)
    return _Unit(unit.at(0, 0, size / longest)) if longest > size else unit


def _aligned(boxes: Sequence[Box]) -> _Unit:
    """Return boxes as a unit: moved so that their common box begins at (0, 0)."""
    left, top = min(box.x for box in boxes), min(box.y for box in boxes)
    return _Unit(tuple(replace(box, x=box.x - left, y=box.y - top) for box in boxes))


def _on_canvas(unit: _Unit, random: Random, *, grounded: bool = False) -> list[Box]:
    """Return the boxes about as large as the unit square's margins allow: around its middle, or on the ground."""
    scale = (1 - 2 * MARGIN) / max(unit.width, unit.height) * random.uniform(SMALLER, 1)
    across, down = ((1 - scale * length) / 2 for length in (unit.width, unit.height))
    x = across + (across - MARGIN) * OFF_CENTRE * random.uniform(-1, 1)
    y = down + (down - MARGIN) * (1 if grounded else OFF_CENTRE * random.uniform(-1, 1))
    return list(unit.at(x, y, scale))


def _distinct(units: Iterable[_Unit]) -> list[_Unit]:
    return list({id(unit): unit for unit in units}.values())
