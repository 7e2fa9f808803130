"""Words of asking are taken away where they only ask, and kept where they say what is to be seen."""

from __future__ import annotations

import pytest

from limner_worker.stages.interpretation.language.files import BY_CODE
from limner_worker.stages.interpretation.reading.address import without_address
from limner_worker.stages.interpretation.rules import interpret

SIZES = ((256, 256),)


@pytest.mark.parametrize(
    "text",
    [
        "a robot that can draw",
        "a sign saying please help me",
        "my dog and me on the beach",
        "thank you card",
        "I love you balloon",
        "a man giving a rose to a woman",
        "kids drawing with chalk",
        "a girl making a wish",
        "wish you were here postcard with a beach",
        "a great wall",
        "can of soup on a table",
        "see you later alligator with a hat",
        "love letter on a desk",
        "test tube with green liquid",
        "get well soon card with a bear",
        "will smith eating a pizza",
        "may flowers in a vase",
        "my grandmother's house, a garden and a cat",
        "our planet, seen from space",
        "a cat, a dog and you",
        "me at a desk",
        "I am a cat",
        "we are the champions trophy",
        "she is holding a balloon",
        "he has a red hat",
        "they are having a picnic",
        "a boy asking for help",
        "help desk with a robot",
        "a lovely, quiet village",
        "lovely, quiet village",
        "great, big elephant",
        "cool cat with a hat",
        "happy birthday to you",
        "a gift for her",
        "make-up on a face",
        "a woman you love holding a rose",
        "girl giving you a rose",
        "the day I met you, a rainy street",
        "you rock, a guitar",
        "a lion, I think",
        "it is raining, a man with an umbrella",
        "my son on a swing, a dog beside him",
        "our school, a big red building",
        "her cat sleeping, a lamp beside it",
        "thanks giving turkey on a plate",
        "a quick brown fox",
        "time machine in a garage",
        "day and night",
        "what a mess",
        "how a bee flies",
        "the way to a castle",
        "mein Hund und ich am Strand",
        "ich liebe dich Ballon",
        "ein Mann, der malt",
        "ein Kind, das um Hilfe bittet",
        "gute Nacht Schild mit einem Mond",
        "Haus am Meer, mein Boot davor",
        "eine schöne, ruhige Stadt",
        "du und ich",
        "unser Haus, ein Garten und eine Katze",
    ],
)
def test_a_prompt_that_asks_nothing_stays_as_it_is(text: str):
    assert interpret(text, ("3d",), (), SIZES).prompt == text


@pytest.mark.parametrize(
    ("code", "text", "rest"),
    [
        ("en", "my kid loves trains, any way to get a steam train?", "a steam train?"),
        ("en", "Not sure if you do this, but a lighthouse at dusk would make my day", "a lighthouse at dusk"),
        ("en", "for our school play we need a castle", "a castle"),
        ("en", "You can make images. Try a robot.", "a robot."),
        ("en", "a kettle, if that is alright", "a kettle,"),
        ("en", "a lot of people with a lot of hope", "a lot of people with a lot of hope"),
        ("en", "could you paint the portrait of a badger", "the portrait of a badger"),
        ("de", "Meine Tochter liebt Pferde, hättest du vielleicht ein Pferd für sie?", "ein Pferd?"),
        ("de", "schreib „bitte komm“ auf ein Schild", "schreib „bitte komm“ auf ein Schild"),
        ("en", "we are decorating the nursery and would love a moon", "a moon"),
        ("en", "send me four robots, tons of thanks", "four robots,"),
        ("en", "draw me a magic show", "a magic show"),
        ("fr", "J'aurais besoin d'un phare", "un phare"),
        ("pt", "faça vinte e uma variações de um cogumelo", "vinte e uma variações de um cogumelo"),
        ("ru", "чайник в форме слона сможешь?", "чайник в форме слона?"),
        ("en", "could you please", "could you please"),
        ("en", "", ""),
    ],
)
def test_the_words_of_asking_are_taken_away(code: str, text: str, rest: str):
    assert without_address(text, BY_CODE[code]) == rest
