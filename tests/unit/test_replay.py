"""What makes bytes again, and what is said when they differ."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from limner_shared.domain.jobs import JobRequest
from limner_shared.domain.replay import differences, replay_spec, run_lengths
from limner_shared.domain.views import ReceiptView


@given(st.lists(st.sampled_from([1, 2, 4, 8])))
def test_a_receipt_s_sizes_are_replayed_one_by_one(catalogue, buckets):
    spec = catalogue.resolve(JobRequest(prompt="a red apple"))[1]
    again = replay_spec(spec, [{"buckets": run_lengths(buckets)}])
    assert again.replay == (tuple(buckets),)
    assert again.model_copy(update={"replay": ()}) == spec


def receipt(sha256: str, **about: object) -> ReceiptView:
    return ReceiptView(image="img_1", sha256=sha256, receipt=about)


def test_the_same_bytes_differ_in_nothing_whatever_made_them():
    assert differences(receipt("a", torch="2.13"), receipt("a", torch="2.14")) == []


def test_other_bytes_are_explained_by_what_made_them():
    found = differences(receipt("a", torch="2.13", device="cpu"), receipt("b", torch="2.14", device="cpu", dtype="x"))
    assert found == ["sha256: a then, b now", "dtype: not recorded then, x now", "torch: 2.13 then, 2.14 now"]


def test_other_bytes_by_the_same_means_are_said_to_be_that():
    assert "no difference in the receipts" in differences(receipt("a", torch="2"), receipt("b", torch="2"))
