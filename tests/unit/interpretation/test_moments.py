"""Times of day, seasons and weather: another one takes the place of one of its kind."""

from __future__ import annotations

import pytest

from limner_worker.stages.interpretation.language.files import BY_CODE, LANGUAGES
from limner_worker.stages.interpretation.refining.moments import is_moment, parted, same_moments

from .follow_ups import wished


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("a barn on a cold winter night", "better {place:at dawn}", "a barn at dawn"),
        ("a barn in the rain", "same thing {place:at night}", "a barn in the rain at night"),
        (
            "a man under a bridge in the rain",
            "{place:snow} instead of the {old:rain}",
            "a man under a bridge in the snow",
        ),
        ("a fox on a summer meadow", "{place:in winter} please", "a fox on a summer meadow in winter"),
        ("ein Haus an einem regnerischen Abend", "lieber {place:bei Sonnenschein}", "ein Haus bei Sonnenschein"),
        (
            "um homem na esquina numa tarde de sol",
            "e {place:numa noite chuvosa}?",
            "um homem na esquina numa noite chuvosa",
        ),
        ("un chat sous la pluie", "plutôt {place:dans la nuit étoilée}", "un chat dans la nuit étoilée"),
        ("un cane in una giornata di sole", "{place:sotto la pioggia} dai", "un cane sotto la pioggia"),
        (
            "un barco en el puerto al amanecer",
            "lo prefiero {place:con niebla}",
            "un barco en el puerto al amanecer con niebla",
        ),
        ("een boot op een zonnige middag", "{place:op een mistige ochtend}", "een boot op een mistige ochtend"),
        ("корзина на крыльце осенью", "а {place:летом} можно?", "корзина на крыльце летом"),
        ("дом под снегом ночью", "лучше {place:на рассвете}", "дом под снегом на рассвете"),
        ("街头歌手在弹吉他", "要是{place:下雪天}就好了", "街头歌手在弹吉他\uff0c下雪天"),
        ("雨の中の駅", "{place:晴れた日}がいい", "晴れた日の駅"),
        ("맑은 날 바닷가", "{place:비 내리는 날}로", "비 내리는 날 바닷가"),
    ],
)
def test_a_moment_takes_the_place_of_one_of_its_kind(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt


def test_a_moment_at_the_end_of_a_place_is_told_apart() -> None:
    english = BY_CODE["en"]
    assert parted("in the garden at night", english) == ("in the garden", "at night")
    assert parted("on a rainy evening", english) == ("", "on a rainy evening")
    assert parted("on a snowy mountain", english) == ("on a snowy mountain", "")


def test_a_place_that_has_a_word_for_weather_is_no_moment() -> None:
    assert not is_moment("en la montaña nevada", BY_CODE["es"])
    assert same_moments("una casa en la montaña nevada", "con niebla", BY_CODE["es"]) == []


def test_each_language_knows_moments_of_each_kind() -> None:
    for language in LANGUAGES:
        some = language.moments
        assert all((some.hours, some.seasons, some.weathers)), language.code


def test_what_a_denial_names_is_not_left_out_if_another_moment_comes() -> None:
    found = wished("die Skyline am Mittag", "nicht am Mittag, {place:in der Abenddämmerung}")
    assert (found.prompt, found.negative_prompt) == ("die Skyline in der Abenddämmerung", "")


def test_a_time_beside_what_goes_is_not_left_out() -> None:
    found = wished("un mercado con fruta y toldos rojos", "sin {gone:toldos} y {place:de noche}")
    assert (found.prompt, found.negative_prompt) == ("un mercado con fruta de noche", "toldos")


def test_russian_weather_keeps_its_case() -> None:
    found = wished("домик среди яблонь", "покажи то же самое {place:зимой в метель}")
    assert found.prompt == "домик среди яблонь зимой в метель"
