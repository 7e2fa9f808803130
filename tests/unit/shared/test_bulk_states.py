"""The transition table of bulk states."""

from __future__ import annotations

from limner_shared.domain.bulks import BULK_TRANSITIONS, BulkState, bulk_sources


def test_every_state_but_the_first_has_a_state_before_it():
    assert set(BULK_TRANSITIONS) == set(BulkState)
    assert [state for state in BulkState if not bulk_sources(state)] == [BulkState.LOADING]


def test_only_a_loading_bulk_can_be_dropped():
    assert bulk_sources(BulkState.DROPPING) == (BulkState.LOADING,)


def test_a_canceled_or_dropped_bulk_never_opens_again():
    seen, left = set[BulkState](), [BulkState.CANCELING, BulkState.DROPPING]
    while left:
        state = left.pop()
        seen.add(state)
        left += BULK_TRANSITIONS[state]
    assert seen == {BulkState.CANCELING, BulkState.CANCELED, BulkState.DROPPING}
