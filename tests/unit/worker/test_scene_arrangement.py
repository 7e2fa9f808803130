"""The layout of scenes: nothing leaves the canvas, things stand as they should, and neighbours do not overlap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner_shared.domain.scenes import RelationKind, Scene, SceneObject, SceneRelation
from limner_worker.generators.builtin.scenes.arrangement import Box, arranged

ASPECTS = st.floats(0.3, 3.0)
SEEDS = st.integers(0, 2**32 - 1)


def scene(*counts: int, kind: RelationKind | None = None, name: str = "cat") -> Scene:
    objects = tuple(SceneObject(said=name, name=name, count=count) for count in counts)
    relations = () if kind is None else (SceneRelation(kind=kind, subjects=(0,), object=1),)
    return Scene(objects=objects, relations=relations)


def overlap(a: Box, b: Box) -> bool:
    return min(a.right, b.right) - max(a.x, b.x) > 1e-9 and min(a.bottom, b.bottom) - max(a.y, b.y) > 1e-9


def inside(box: Box) -> bool:
    return box.x >= 0 and box.y >= 0 and box.right <= 1 and box.bottom <= 1 and box.width > 0 and box.height > 0


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.lists(ASPECTS, min_size=12, max_size=12), SEEDS)
def test_things_side_by_side_are_all_there_inside_the_canvas_and_apart(
    counts: list[int], aspects: list[float], seed: int
) -> None:
    boxes = arranged(scene(*counts), aspects, seed)
    assert sorted(box.item for box in boxes) == list(range(sum(counts)))
    assert all(inside(box) for box in boxes)
    assert not any(overlap(a, b) for a in boxes for b in boxes if a.item < b.item)
    assert all(abs(box.width / box.height - aspects[box.item]) < 1e-6 for box in boxes)
    assert boxes == arranged(scene(*counts), aspects, seed)


@pytest.mark.parametrize("kind", ["left", "right", "above", "below"])
@given(counts=st.tuples(st.integers(1, 3), st.integers(1, 3)), aspects=st.lists(ASPECTS, min_size=6), seed=SEEDS)
def test_directions_hold_for_every_instance(
    kind: RelationKind, counts: tuple[int, int], aspects: list[float], seed: int
) -> None:
    boxes = {box.item: box for box in arranged(scene(*counts, kind=kind), aspects, seed)}
    subjects = [boxes[item] for item in range(counts[0])]
    others = [boxes[item] for item in range(counts[0], sum(counts))]
    for a in subjects:
        for b in others:
            first, second = (a, b) if kind in ("left", "above") else (b, a)
            assert first.right <= second.x if kind in ("left", "right") else first.bottom <= second.y


@given(st.tuples(ASPECTS, ASPECTS), SEEDS)
def test_a_thing_on_another_touches_it_and_one_in_front_is_painted_later(
    aspects: tuple[float, float], seed: int
) -> None:
    below, above = sorted(arranged(scene(1, 1, kind="on"), aspects, seed), key=lambda box: -box.item)
    assert above.y < below.y < above.bottom < below.bottom
    assert [box.item for box in arranged(scene(1, 1, kind="front"), aspects, seed)] == [1, 0]
    assert [box.item for box in arranged(scene(1, 1, kind="behind"), aspects, seed)] == [0, 1]
    assert [box.item for box in arranged(scene(1, 1, kind="inside"), aspects, seed)] == [0, 1]


@given(st.integers(1, 4), ASPECTS, ASPECTS, SEEDS)
def test_each_wearer_has_one_thing_on_its_head(count: int, wearer: float, hat: float, seed: int) -> None:
    boxes = {box.item: box for box in arranged(scene(count, count, kind="wearing"), [wearer, hat] * count, seed)}
    assert all(inside(box) for box in boxes.values())
    for item in range(count):
        head, worn = boxes[item], boxes[count + item]
        assert worn.y < head.y + 0.2 * head.height
        assert head.x <= worn.x + worn.width / 2 <= head.right


def test_seeds_arrange_two_things_side_by_side_and_above_each_other_in_both_orders() -> None:
    ways: set[tuple[bool, bool]] = set()
    for seed in range(40):
        first, second = sorted(arranged(scene(1, 1), [1.0, 1.0], seed), key=lambda box: box.item)
        stacked = first.bottom <= second.y or second.bottom <= first.y
        ways.add((stacked, (first.y < second.y) if stacked else (first.x < second.x)))
    assert ways == {(True, True), (True, False), (False, True), (False, False)}


@pytest.mark.parametrize("aspect", [0.4, 2.5])
def test_two_long_things_are_put_where_they_are_largest(aspect: float) -> None:
    for seed in range(20):
        first, second = arranged(scene(1, 1), [aspect, aspect], seed)
        stacked = first.bottom <= second.y or second.bottom <= first.y
        assert stacked == (aspect > 1)


@given(SEEDS, ASPECTS, ASPECTS)
def test_on_grass_all_things_stand_on_the_ground(seed: int, first: float, second: float) -> None:
    meadow = scene(1, 1).model_copy(update={"background": "grass"})
    bottoms = [box.bottom for box in arranged(meadow, [first, second], seed)]
    assert max(bottoms) - min(bottoms) < 1e-9
    assert abs(max(bottoms) - 0.95) < 1e-9
