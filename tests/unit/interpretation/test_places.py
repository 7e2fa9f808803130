"""Places: a picture has one place, which another one takes the place of, and other words of where it is stay."""

from __future__ import annotations

import pytest
from tests.unit.interpretation.follow_ups import SEED, changed


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("a dog running in a forest", "put it on the moon", "a dog running on the moon"),
        ("a dog in the snow on a beach", "in a big city please", "a dog in the snow in a big city"),
        ("a cat on a sofa", "put it in a garden", "a cat on a sofa in a garden"),
        ("a fox in a forest at night", "put it on a beach", "a fox in a forest at night on a beach"),
        ("a house", "on a beach", "a house on a beach"),
        ("ein Junge mit einem Drachen im Park", "setz ihn an den Strand", "ein Junge mit einem Drachen an den Strand"),
        ("ein Hund im Wald", "lieber am Strand", "ein Hund am Strand"),
        ("un chien dans la forêt", "mets-le sur la plage", "un chien sur la plage"),
        ("un cerf-volant dans le parc", "plutôt à la plage", "un cerf-volant à la plage"),
        ("un perro en el parque", "ponlo en la playa", "un perro en la playa"),
        ("un cane nel parco", "mettilo in spiaggia", "un cane in spiaggia"),
        ("een hond in het bos", "zet hem maar op het strand", "een hond op het strand"),
        ("собака в лесу", "помести её на пляж", "собака на пляж"),
        ("собака в лесу", "лучше на пляже", "собака на пляже"),
        ("一只狐狸在森林里", "把它放在沙滩上", "一只狐狸在沙滩上"),
        ("一只狐狸在森林里", "在雪地里", "一只狐狸在森林里，在雪地里"),
        ("een ridder bij een kampvuur", "in de sneeuw", "een ridder bij een kampvuur in de sneeuw"),
        ("ein Igel im Wald", "und jetzt das Ganze am Strand", "ein Igel am Strand"),
        ("a hedgehog in a forest", "and now the whole thing on a beach", "a hedgehog on a beach"),
        ("um gato no jardim", "bota ele na cozinha", "um gato na cozinha"),
        ("a cat", "give it a boat on a lake", "a cat with a boat on a lake"),
        ("a cat", "I'd rather have a dog in a park", "a dog in a park"),
        ("a cat in a park", "put him in a hat", "a cat with a hat in a park"),
    ],
)
def test_another_place_is_instead_of_the_last_one(before: str, message: str, prompt: str):
    found = changed(before, message)
    assert (found.prompt, found.seed) == (prompt, SEED)


def test_a_picture_that_is_named_goes_to_another_place():
    found = changed("um barco no rio", "gostei da terceira, mas coloca ele no mar", pictures=4)
    assert (found.prompt, found.seed, found.n) == ("um barco no mar", SEED + 2, 1)
