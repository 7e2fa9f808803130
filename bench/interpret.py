"""Descriptions through each available backend: precision, recall and F1 of every condition, by language.

    python -m bench.interpret [--part held-out] [--wrong] [--url http://localhost:11434/v1 --model NAME]

The descriptions and their expected conditions are in tests/data/requests.jsonl. Rules are written by looking at the
part `development`, and judged by `held-out`; `further` was written later, with other phrases. The parts `fresh` to
`fresh-14` were each scored once before anything was mended by them (docs/decisions/0108, 0114, 0126, 0131, 0139, 0146,
and 0147); with `fresh-7`, `fresh-10`, `fresh-13b` and `fresh-14b` nothing was mended after, but the totals of
`fresh-10`, `fresh-13b` and `fresh-14b` were seen while weights were chosen. `fresh-15` and later ones have follow-ups
too, in tests/data/followups.jsonl; by `fresh-17` nothing was mended, nor by `fresh-21` (66 and 44). `fresh-18` (110 and
55), `fresh-19` (66 and 44), `fresh-20` (88 and 55) and `fresh-22` (132 and 66) were each scored once before they were
mended by (0190, 0193, 0194). By the descriptions of `fresh-23` (110) nothing was mended; of its follow-ups (44) and of
those of `fresh-22` (66) and `fresh-24` (88, no descriptions), `fresh-22` in the file has the 169 that are read as meant
after mending by them.
The first scores of `fresh-25` (88 and 352, by four authors) are in 0196. `fresh-26` (132 and 110) was scored once
before it was mended by; of `fresh-27` (176 and 176, by two authors) the failures were not looked at (0197).
`fresh-28` (176 and 176), `fresh-29` (220 follow-ups), `fresh-30` (110 and 220) and `fresh-31` (176 and 176), each by
two authors, and `fresh-32` (110 and 110), by one, were scored once before they were mended by (0199). So were
`fresh-33` (198 descriptions and 330 follow-ups, by three authors), `fresh-34` and `fresh-35` (132 and 220 each, by
two). `fresh-36` (176 and 220, by two) was scored before it was looked at (0200), and so was `fresh-37` (the same). The
tagger of messages is trained with the messages of `fresh-25` to `fresh-37`; nothing was mended by `fresh-38` (176 and
220, by two), whose failures were not looked at (0201). All fourteen are judged as a whole, with the tagger of messages.
In the last three, a reader judged the answers that differ from the author's, and `also` has those that are right too.
Backends: rules alone, and with the tagger (docs/decisions/0116); a server if its URL is given.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from pydantic import ValidationError

from bench.common import conclude, summary
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Conditions, Interpretation, Turn
from limner_shared.domain.jobs import JobRequest
from limner_worker.stages.interpretation.chat_client import ChatClient
from limner_worker.stages.interpretation.interpreter import Interpreter, Request
from limner_worker.stages.interpretation.language.texts import WIDE
from limner_worker.stages.interpretation.tagging.tagger import Tagger

FILE: Final = Path(__file__).parent.parent / "tests" / "data" / "requests.jsonl"
FOLLOW_UPS: Final = FILE.with_name("followups.jsonl")
MENDED: Final = ("development", "held-out", "further", "fresh", "fresh-2", "fresh-3", "fresh-4", "fresh-5", "fresh-6")
SCORED: Final = (*MENDED, "fresh-7")
"""The last was scored, and the rules were not mended until it reaches the goal of what is left over."""
UNSEEN: Final = ("fresh-17", "fresh-21", "fresh-23")
"""The failures of their descriptions were not looked at."""
_FURTHER: Final = (8, 9, 10, 11, 12, "13a", "13b", "14a", "14b", 15, 16, 18, 19, 20, 22)
FOUND: Final = tuple(f"fresh-{number}" for number in range(25, 39))
"""Most follow-ups need the tagger of messages."""
PARTS: Final = (*SCORED, *(f"fresh-{each}" for each in _FURTHER), *UNSEEN, *FOUND)
"""The rules alone do not reach all goals with the last two dozen, but for `fresh-20` to `fresh-22`."""
FIELDS: Final = ("n", "size", "style", "negative")
SIZES: Final = ((256, 256), (64, 64), (384, 256), (256, 384))
GOAL_SUBJECT, GOAL_F1, GOAL_CLEAN, GOAL_CHANGES = 0.99, 0.9, 0.85, 0.9
BATCH: Final = 8
SEED: Final = 7
"""That of the picture before a follow-up."""
_ARTICLE: Final = re.compile(r"^(an?|the|eine?[nmrs]?|une?|una|um|uma|uno|un'|l'|een|de|het)\b\s*", re.IGNORECASE)
_LEFTOVER: Final = "的を의이가은는로 .,:;!?\u3002\uff0c\u3001"
"""Particles and punctuation that do not count as left over."""


@dataclass
class Count:
    """How often a field was right, found wrongly, and missed."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 1 if there was nothing to find, and nothing was found."""
        total = 2 * self.right + self.wrong + self.missed
        return 2 * self.right / total if total else 1.0

    def shares(self) -> dict[str, float]:
        """Return precision, recall and F1."""
        precision = self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0
        recall = self.right / (self.right + self.missed) if self.right + self.missed else 1.0
        return {"precision": round(precision, 3), "recall": round(recall, 3), "f1": round(self.f1, 3)}


def items(row: dict[str, Any]) -> set[tuple[str, object]]:
    """Return the expected conditions as pairs of field and value; each thing to leave out is one."""
    found: set[tuple[str, object]] = {(name, row[name]) for name in ("n", "style") if name in row}
    if "size" in row:
        found.add(("size", tuple(row["size"])))
    return found | {("negative", thing.lower()) for thing in row.get("negative", ())}


def items_of(found: Conditions) -> set[tuple[str, object]]:
    """Return the conditions that were found in the same form."""
    pairs: set[tuple[str, object]] = set()
    if found.n is not None:
        pairs.add(("n", found.n))
    if found.style is not None:
        pairs.add(("style", found.style))
    if found.width is not None:
        pairs.add(("size", (found.width, found.height)))
    return pairs | {("negative", thing.strip().lower()) for thing in found.negative_prompt.split(",") if thing.strip()}


def keeps_subject(row: dict[str, Any], prompt: str) -> bool:
    """Return whether the prompt contains the expected subject, or each of its pieces."""
    pieces = [row["subject"]] if isinstance(row["subject"], str) else row["subject"]
    return all(piece.lower() in prompt.lower() for piece in pieces)


def is_clean(row: dict[str, Any], prompt: str) -> bool:
    """Return whether nothing but the subject, its article and particles is in the prompt.

    If a row names what must be `gone`, it is whether the prompt has no word, or no pair of characters, of this alone.
    """
    if "gone" in row:
        rest = row["text"].lower()
        for piece in sorted(map(str.lower, row["gone"]), key=len, reverse=True):
            whole = rf"(?<!\w){re.escape(piece)}(?!\w)"  # "no", but not that of "snow"
            rest = re.sub(whole, "\n", rest, count=1) if re.search(whole, rest) else rest.replace(piece, "\n", 1)
        return not (_parts(row["text"]) - _parts(rest)) & _parts(prompt)
    rest = _ARTICLE.sub("", prompt.strip()).lower()
    return rest.replace(_ARTICLE.sub("", row["subject"]).lower(), "", 1).strip(_LEFTOVER) == ""


def _parts(text: str) -> set[str]:
    """Return the words of a text in small letters, and the pairs of characters of words that have no spaces between."""
    words = re.findall(r"\w+", text.lower())
    wide = [word for word in words if word[0] >= WIDE]
    return set(words) - set(wide) | {word[at : at + 2] for word in wide for at in range(max(1, len(word) - 1))}


def is_valid(card: ModelCard, request: Request, found: Conditions) -> bool:
    """Return whether the conditions match their schema, and the fitted request the model's limits."""
    try:
        fitted = card.fit(request.spec, Conditions.model_validate(found.model_dump()))
    except ValidationError:
        return False
    in_limits = 1 <= fitted.n <= card.max_images and len(fitted.prompt) <= card.max_prompt_chars
    return in_limits and (fitted.width, fitted.height) in card.sizes and fitted.style in (None, *card.styles)


def scored(rows: Sequence[dict[str, Any]], found: Sequence[Conditions]) -> dict[str, Any]:
    """Return the scores of some rows: the subject kept, nothing left over, and each field's precision, recall, F1."""
    counts = {name: Count() for name in FIELDS}
    for row, each in zip(rows, found, strict=True):
        wanted, got = items(row), items_of(each)
        for name, _ in wanted & got:
            counts[name].right += 1
        for name, _ in got - wanted:
            counts[name].wrong += 1
        for name, _ in wanted - got:
            counts[name].missed += 1
    kept = [keeps_subject(row, each.prompt) for row, each in zip(rows, found, strict=True)]
    clean = [is_clean(row, each.prompt) for row, each in zip(rows, found, strict=True)]
    shares: dict[str, Any] = {"subject": round(sum(kept) / len(kept), 3), "clean": round(sum(clean) / len(clean), 3)}
    return shares | {name: counts[name].shares() for name in FIELDS}


def by_language(rows: Sequence[dict[str, Any]], found: Sequence[Conditions]) -> dict[str, dict[str, Any]]:
    """Return the scores of each language, and of all."""
    pairs = list(zip(rows, found, strict=True))
    scores = {"all": scored(rows, found)}
    for code in dict.fromkeys(row["language"] for row in rows):
        some = [pair for pair in pairs if pair[0]["language"] == code]
        scores[code] = scored([row for row, _ in some], [each for _, each in some])
    return scores


def interpreted(interpreter: Interpreter, requests: Sequence[Request]) -> tuple[list[Interpretation], list[float]]:
    """Return the interpretations in batches of eight, and the seconds per description."""
    found: list[Interpretation] = []
    seconds: list[float] = []
    for start in range(0, len(requests), BATCH):
        started = time.perf_counter()
        some = interpreter(requests[start : start + BATCH])
        seconds.append((time.perf_counter() - started) / len(some))
        found += some
    return found, seconds


def measure(interpreter: Interpreter, rows: Sequence[dict[str, Any]], *, wrong: bool) -> dict[str, Any]:
    """Return the scores by language, and print them; print what is wrong on request."""
    card = Catalogue.load([], "limner-flow").get(None).model_copy(update={"sizes": SIZES})
    requests = [Request(card.resolve(JobRequest(description=row["text"])), card) for row in rows]
    answers, seconds = interpreted(interpreter, requests)
    found = [each.conditions for each in answers]
    valid = [is_valid(card, request, each) for request, each in zip(requests, found, strict=True)]
    scores = by_language(rows, found)
    for code, each in scores.items():
        fields = "  ".join(f"{name} {each[name]['f1']:.2f}" for name in FIELDS)
        click.echo(f"{code:4} subject {each['subject']:.2f}  clean {each['clean']:.2f}  F1: {fields}")
    for row, each in zip(rows, found, strict=True) if wrong else ():
        if items(row) != items_of(each) or not keeps_subject(row, each.prompt) or not is_clean(row, each.prompt):
            click.echo(f"{row['language']} {row['text']!r}\n   {each.prompt!r} {sorted(map(str, items_of(each)))}")
    fallbacks = sum(each.fallback is not None for each in answers)
    return {"scores": scores, "valid": sum(valid) / len(valid), "fallbacks": fallbacks, "seconds": summary(seconds)}


def after(row: dict[str, Any], card: ModelCard) -> Request:
    """Return the request of a follow-up, after the message that made the picture."""
    before = Conditions(prompt=row["before"], n=row["pictures"], seed=SEED)
    spec = card.resolve(JobRequest(description=row["message"]))
    return Request(spec.model_copy(update={"history": (Turn(text=row["before"], conditions=before),)}), card)


def is_changed(row: dict[str, Any], found: Conditions) -> bool:
    """Return whether conditions are the ones that a follow-up asks for."""
    seeds = {"": found.seed, "new": None, "kept": SEED}
    asked = row.get("seed", "")
    seed = seeds[asked] if asked in seeds else SEED + int(asked)
    told = (found.prompt, found.style, found.negative_prompt, found.seed)
    wanted = (row["prompt"], row.get("style"), row.get("negative", ""), seed)
    return told == wanted and row.get("n") in (None, found.n)


def is_accepted(row: dict[str, Any], found: Conditions) -> bool:
    """Return whether conditions are those that a follow-up asks for, or others that a reader took for right too.

    The reader judged answers, and the wanted and unchanged conditions among them, without knowing which was which.
    """
    return is_changed(row, found) or any(is_changed({**row, **other}, found) for other in row.get("also", ()))


def measure_changes(interpreter: Interpreter, rows: Sequence[dict[str, Any]], *, wrong: bool) -> dict[str, Any]:
    """Return how many follow-ups are right, and print those that are not on request."""
    card = Catalogue.load([], "limner-flow").get(None).model_copy(update={"sizes": SIZES})
    found = [each.conditions for each in interpreted(interpreter, [after(row, card) for row in rows])[0]]
    missed = [(row, each) for row, each in zip(rows, found, strict=True) if not is_changed(row, each)]
    accepted = sum(is_accepted(row, each) for row, each in zip(rows, found, strict=True))
    for row, each in missed if wrong else ():
        told = each.model_dump(exclude_none=True)
        click.echo(f"{row['before']!r}, {row['message']!r}: {row['prompt']!r}\n   {told}")
    click.echo(f"follow-ups {len(rows) - len(missed)} of {len(rows)} as written down, {accepted} as meant")
    return {"right": len(rows) - len(missed), "accepted": accepted, "of": len(rows)}


def rows_of(file: Path, part: str) -> list[dict[str, Any]]:
    """Return the rows of a part."""
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    return [row for row in rows if row["part"] == part]


@click.command()
@click.option("--part", type=click.Choice(PARTS), default="held-out", help="Which descriptions.")
@click.option("--quick", is_flag=True, help="Every sixth description only.")
@click.option("--wrong", is_flag=True, help="Print what is wrong.")
@click.option("--url", help="Also measure this OpenAI-compatible server.")
@click.option("--model", default="", help="The server's model.")
def main(part: str, quick: bool, wrong: bool, url: str | None, model: str) -> None:
    """Measure, and print the figures."""
    rows, changes = (rows_of(file, part)[:: 6 if quick else 1] for file in (FILE, FOLLOW_UPS))
    tagger = Tagger()
    tagged = Interpreter(tagger=tagger, finder=tagger.parts)
    backends = {"rules": Interpreter(), "rules and tagger": tagged}
    if url:
        backends["server"] = Interpreter(ChatClient(url, model, seconds=60))
    figures = {name: measure(interpreter, rows, wrong=wrong) for name, interpreter in backends.items()}
    for name, interpreter in backends.items() if changes else ():
        figures[name]["changes"] = measure_changes(interpreter, changes, wrong=wrong)
    judged = figures["rules and tagger"]
    total = judged["scores"]["all"]
    met = judged["valid"] == 1 and total["subject"] >= GOAL_SUBJECT and total["clean"] >= GOAL_CLEAN
    met = met and all(total[name]["f1"] >= GOAL_F1 for name in FIELDS)
    met = met and (not changes or judged["changes"]["accepted"] >= GOAL_CHANGES * len(changes))
    goal = "rules and tagger: subject 0.99, each condition's F1 0.9, nothing left over 0.85, follow-ups as meant 0.9"
    conclude("interpret", figures, goal, met=met)


if __name__ == "__main__":
    main()
