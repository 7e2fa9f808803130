"""In which language a name is answered, with and without an article.

    python -m bench.languages

Of 416 names that the built-in model knows, in each language in Latin script that has them: how many are taken for
another language by the text alone, with the names that the model knows, and if the client prefers the language too.
"""

from __future__ import annotations

from typing import Final

import click

from bench.common import conclude
from limner_shared.domain.catalogue import Catalogue
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.weight_files import locate
from limner_worker.stages.interpretation.language.detection import NO_NAMES, language_of
from limner_worker.stages.interpretation.language.files import FALLBACK

NAMES: Final = 416
ARTICLES: Final = {"en": "a", "de": "ein", "fr": "un", "es": "un", "it": "un", "pt": "um"}
GOAL: Final = 0.02
"""The greatest share of names with an article that is answered in another language, if the client prefers theirs."""


@click.command()
def main() -> None:
    """Measure, and print the figures."""
    card = Catalogue.load([], "limner-flow").get(None)
    names = KnownNames(locate(card.text_encoder or card.source))
    said = {code: [name for name, _ in names.in_language(code)] for code in names.languages}
    named: dict[str, set[str]] = {}
    for code, some in said.items():
        for name in some:
            named.setdefault(name.lower(), set()).add(code)
    figures: dict[str, list[int]] = {}
    for code, article in ARTICLES.items():
        for before in ("", f"{article} "):
            texts = [f"{before}{name}" for name in said[code][:NAMES]]
            kinds = ((), NO_NAMES), ((), named), ((code,), named)
            wrong = [
                sum((language_of(text, likely, known) or FALLBACK) != code for text in texts) for likely, known in kinds
            ]
            figures[f"{before}{code}"] = wrong
            click.echo(
                f"{before or '-':4} {code}  by the text alone {wrong[0]}, with names {wrong[1]}, preferred {wrong[2]}"
            )
    met = all(figures[f"{article} {code}"][-1] <= GOAL * NAMES for code, article in ARTICLES.items())
    conclude(
        "languages", figures, "with an article, at most 2 of 100 in another language than the preferred one", met=met
    )


if __name__ == "__main__":
    main()
