"""Replay: the spec that reproduces an image, and the explanation if its bytes differ."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.domain.replay import differences, replay_spec, run_lengths
from limner_shared.domain.views import ReceiptView


@given(st.lists(st.sampled_from([1, 2, 4, 8])))
def test_a_replay_uses_the_batch_sizes_of_the_receipt(catalogue: Catalogue, buckets: list[Any]):
    spec = catalogue.resolve(JobRequest(prompt="a red apple"))[1]
    again = replay_spec(spec, [{"buckets": run_lengths(buckets), "style": "3d", "scene": {}}])
    assert again.replay == (tuple(buckets),)
    assert again.model_copy(update={"replay": ()}) == spec


def test_a_replay_keeps_the_styles_that_the_seeds_chose_and_an_old_one_has_the_style_of_its_time(catalogue: Catalogue):
    spec = catalogue.resolve(JobRequest(prompt="a red apple", n=2, seed=2))[1]
    again = replay_spec(spec, [{"buckets": [[1, 2]], "style": "3d"}] * 2)
    assert [again.style_for(again.image_seed(index)) for index in range(2)] == ["flat", "3d"]
    by_an_earlier_release = replay_spec(spec, [{"buckets": [[1, 2]]}] * 2)
    assert by_an_earlier_release.style_for(0) is None
    stored = spec.model_dump(mode="json", exclude={"styles"}) | {"version": 1}
    for style in ("3d", None):
        old = JobSpec.model_validate(stored | {"style": style})
        assert {replay_spec(old, []).style_for(seed) for seed in range(4)} == {style}


def test_a_replay_draws_a_scene_only_if_the_receipts_record_one(catalogue: Catalogue):
    spec = catalogue.resolve(JobRequest(prompt="two apples"))[1]
    assert spec.scenes is not None
    made = {"buckets": [[2, 9]], "style": "3d"}
    assert replay_spec(spec, [made | {"scene": {"objects": []}}]).scenes == spec.scenes
    assert replay_spec(spec, [made]).scenes is None  # drawn by the previous release
    stored = spec.model_dump(mode="json", exclude={"scenes"})
    assert JobSpec.model_validate(stored).scenes is None


def receipt(sha256: str, **about: Any) -> ReceiptView:
    return ReceiptView(image="img_1", sha256=sha256, receipt=about)


def test_equal_bytes_have_no_differences():
    assert differences(receipt("a", torch="2.13"), receipt("a", torch="2.14")) == []


def test_signed_files_are_compared_without_their_signatures():
    signed = [receipt(digest, c2pa={"unsigned_sha256": "u"}) for digest in ("a", "b")]
    assert differences(*signed) == differences(receipt("u"), signed[0]) == []
    other = receipt("c", c2pa={"unsigned_sha256": "v"})
    assert differences(signed[0], other)[0] == "sha256: a then, c now"


def test_different_bytes_are_explained_by_the_receipts():
    found = differences(receipt("a", torch="2.13", device="cpu"), receipt("b", torch="2.14", device="cpu", dtype="x"))
    assert found == ["sha256: a then, b now", "dtype: not recorded then, x now", "torch: 2.13 then, 2.14 now"]


def test_what_the_evaluator_says_of_a_picture_is_no_reason_for_its_bytes():
    then, now = receipt("a", recognition={"recognised": True}), receipt("b", recognition={"recognised": False})
    assert differences(then, now) == ["sha256: a then, b now", "no difference in the receipts"]


def test_different_bytes_with_equal_receipts_are_reported_as_unexplained():
    assert "no difference in the receipts" in differences(receipt("a", torch="2"), receipt("b", torch="2"))


def test_a_replay_draws_the_recorded_scene_even_if_the_prompt_is_read_differently_today(catalogue: Catalogue):
    [_, spec] = catalogue.resolve(JobRequest(prompt="a cat in the snow", seed=1))
    made = {"buckets": [[1, 1]], "style": "3d", "scene": {"objects": [{"said": "cat", "name": "cat", "count": 2}]}}
    scene = replay_spec(spec, [made]).scene
    assert scene is not None
    assert scene.objects[0].count == 2
    assert spec.scene is None
