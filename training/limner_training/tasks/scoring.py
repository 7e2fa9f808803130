"""Scores of a model on the tasks, each beside the ceiling and the floor of its judge, with 95 % intervals."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from limner_training.tasks.judging import TaskJudge, Verdict
from limner_training.tasks.prompts import OTHER_LANGUAGES, TASKS, TaskPrompt, own_sentences, prompts
from limner_training.tasks.true_drawings import Sources, drawn

Pixels = NDArray[np.uint8]
Draw = Callable[[Sequence[TaskPrompt], int], list[Pixels]]
"""Maps prompts and a first seed to pictures."""
GOALS: Final = {
    "colour": 0.85,
    "counting": 0.70,
    "two objects": 0.70,
    "position": 0.60,
    "colour attribution": 0.50,
}
RELATIVE_GOALS: Final = {"seen": 0.95, "held out": 0.85}
"""Shares of the ceiling."""
IN_SENTENCES: Final = 0.9
"""The share of the score of the same nouns without a sentence."""
SHEET: Final = {"held out": 10} | dict.fromkeys(("in sentences", *GOALS), 9)
"""How many of the first prompts of each task the contact sheet shows: 64. Names of seen pairs are training captions."""
CHUNK: Final = 32


class Share(NamedTuple):
    """A number of right pictures among all."""

    right: int
    pictures: int

    @property
    def value(self) -> float:
        """The share, 0 without pictures."""
        return self.right / max(1, self.pictures)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of Wilson (1927)."""
        if not self.pictures:
            return 0.0, 1.0
        found = binomtest(self.right, self.pictures).proportion_ci(method="wilson")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.2f} ({low:.2f}-{high:.2f})"

    @property
    def figures(self) -> dict[str, Any]:
        """The share for JSON."""
        return {"score": round(self.value, 4), "interval": [round(end, 4) for end in self.interval], "n": self.pictures}


def share(verdicts: Sequence[Verdict], part: str = "right") -> Share:
    """Return the share of verdicts whose `part` is true."""
    return Share(sum(getattr(verdict, part) for verdict in verdicts), len(verdicts))


@dataclass
class TaskScore:
    """The verdicts of one task."""

    english: list[Verdict]
    languages: dict[str, list[Verdict]]
    ceiling: list[Verdict]
    """True drawings of the English prompts."""
    floor: list[Verdict]
    """The model's pictures, judged by prompts of other pictures."""

    @property
    def mean(self) -> Share:
        """The share over all languages but English, which have equally many pictures."""
        return share([verdict for verdicts in self.languages.values() for verdict in verdicts])


@dataclass
class TaskReport:
    """The scores of a model by task, and the pictures of the contact sheet."""

    model: str
    scores: dict[str, TaskScore] = field(default_factory=dict[str, TaskScore])
    shown: list[tuple[TaskPrompt, Pixels, Verdict]] = field(default_factory=list[tuple[TaskPrompt, Pixels, Verdict]])

    @property
    def shown_share(self) -> Share:
        """The share of the contact sheet's pictures that are right."""
        return share([verdict for _, _, verdict in self.shown])

    @property
    def goals(self) -> dict[str, float]:
        """The least score of each task."""
        relative = {task: part * share(self.scores[task].ceiling).value for task, part in RELATIVE_GOALS.items()}
        return relative | {"in sentences": IN_SENTENCES * share(self.scores["seen"].english).value} | GOALS

    @property
    def summary(self) -> dict[str, Any]:
        """The report as one JSON object."""
        goals = self.goals
        return {
            "name": f"tasks {self.model}",
            "figures": {task: self._figures(score) for task, score in self.scores.items()},
            "goal": {task: round(goals[task], 4) for task in self.scores},
            "met": {task: share(score.english).value >= goals[task] for task, score in self.scores.items()},
        }

    @property
    def markdown(self) -> str:
        """The table, with 95 % intervals."""
        lines = [
            "| task | goal | English | things recognised | mean of other languages | ceiling | floor | pictures |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for task, score in self.scores.items():
            cells = (
                task,
                f"{self.goals[task]:.2f}",
                str(share(score.english)),
                f"{share(score.english, 'recognised').value:.2f}",
                str(score.mean) if score.languages else "",
                str(share(score.ceiling)),
                str(share(score.floor)),
                f"{len(score.english)} + {score.mean.pictures}",
            )
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)

    @staticmethod
    def _figures(score: TaskScore) -> dict[str, Any]:
        by_language = {code: round(share(verdicts).value, 4) for code, verdicts in score.languages.items()}
        return {
            **share(score.english).figures,
            "recognised": round(share(score.english, "recognised").value, 4),
            "top-1": round(share(score.english, "top1").value, 4),
            **({"languages": score.mean.figures | {"by language": by_language}} if by_language else {}),
            "ceiling": share(score.ceiling).figures,
            "floor": share(score.floor).figures,
        }


def evaluate_tasks(
    report: TaskReport,
    draw: Draw,
    judge: TaskJudge,
    sources: Sources,
    pictures: int,
    others: int,
    seed: int = 0,
    on_progress: Callable[[str], None] = lambda _: None,
    sentences: Sequence[str] = (),
) -> None:
    """Add every task's score to a report: `pictures` in English, and `others` in each other language.

    With `sentences`, the English prompts of the task "in sentences" are of these.
    """
    for task in TASKS:
        on_progress(task)
        own = sentences if task == "in sentences" else ()
        asked = own_sentences(own, pictures, seed) if own else prompts(task, "en", pictures, seed)
        made = _drawn(draw, asked, seed)
        english = [judge.verdict(picture, prompt) for picture, prompt in zip(made, asked, strict=True)]
        report.shown += list(zip(asked, made, english, strict=True))[: SHEET.get(task, 0)]
        report.scores[task] = TaskScore(
            english,
            {code: _in_language(task, code, draw, judge, others, seed) for code in (OTHER_LANGUAGES if others else ())},
            _ceiling(asked, judge, sources, seed),
            [judge.verdict(picture, prompt) for picture, prompt in zip(made, shuffled(asked), strict=True)],
        )


def shuffled(asked: Sequence[TaskPrompt]) -> list[TaskPrompt]:
    """Return the prompts in another order: each at the place of one whose nouns are others, if there is one."""
    found: list[TaskPrompt] = []
    for at, prompt in enumerate(asked):
        own = {wanted.noun.concept for wanted in prompt.wanted}
        turned = [asked[(at + len(asked) // 2 + by) % len(asked)] for by in range(len(asked))]
        found.append(
            next((each for each in turned if not own & {wanted.noun.concept for wanted in each.wanted}), turned[0])
        )
    return found


def _in_language(task: str, code: str, draw: Draw, judge: TaskJudge, count: int, seed: int) -> list[Verdict]:
    asked = prompts(task, code, count, seed)
    made = _drawn(draw, asked, seed)
    return [judge.verdict(picture, prompt) for picture, prompt in zip(made, asked, strict=True)]


def _ceiling(asked: Sequence[TaskPrompt], judge: TaskJudge, sources: Sources, seed: int) -> list[Verdict]:
    choose = random.Random(seed)  # noqa: S311 - pictures that are the same everywhere
    return [judge.verdict(drawn(prompt, sources, choose), prompt) for prompt in asked]


def _drawn(draw: Draw, asked: Sequence[TaskPrompt], seed: int) -> list[Pixels]:
    """Draw in chunks; a task's prompts have consecutive seeds, so they use all styles by turns."""
    return [picture for at in range(0, len(asked), CHUNK) for picture in draw(asked[at : at + CHUNK], 1000 * seed + at)]
