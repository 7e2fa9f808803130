"""What receipts say about what the evaluator recognises."""

from __future__ import annotations

from limner_shared.domain.recognitions import Recognition, unclear_words


def test_a_recognition_is_stored_without_empty_fields_and_read_again():
    clear, unclear = Recognition(recognised=True), Recognition(recognised=False, unclear=("cat",), nearer=("lion",))
    assert clear.recorded() == {"recognised": True}
    assert unclear.recorded() == {"recognised": False, "unclear": ["cat"], "nearer": ["lion"]}
    assert [Recognition.read(each.recorded()) for each in (clear, unclear)] == [clear, unclear]


def test_a_recognition_of_another_release_or_a_damaged_one_is_not_shown():
    assert Recognition.read(None) is None
    assert Recognition.read({"unclear": ["cat"]}) is None
    assert Recognition.read("yes") is None
    assert Recognition.read({"recognised": True, "more": 1}) == Recognition(recognised=True)


def test_words_are_counted_by_picture_in_their_order():
    one, two = Recognition(recognised=False, unclear=("dog", "cat")), Recognition(recognised=False, unclear=("cat",))
    assert unclear_words([None, one, two]) == {"dog": 1, "cat": 2}
