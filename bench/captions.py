"""How often the words under a picture claim what is not in it: presentations and alt texts against the tasks' judge.

    python -m bench.captions [--quick] [--pictures 24] [--model limner-flow]

The prompts are those of `bench.tasks`, asked for in English as descriptions. The claim of a picture is what its
presentation and alt text say that it shows: the things, colours, number and places of its scene, or the name that it
was drawn as. What the presentation says is missing, or stands for something else, is no claim. A claim is true if the
judge (the image tower for things; measured colours, numbers and places) finds it; precision is the share of true
claims, printed beside that of true drawings, which is the judge's ceiling.
"""

from __future__ import annotations

import random
from typing import Any, Final

import click

from bench.common import conclude
from limner_training.data import cache_folder
from limner_training.runner import set_up
from limner_training.tasks import running
from limner_training.tasks.drawing import Artist
from limner_training.tasks.judging import TaskJudge
from limner_training.tasks.prompts import TASKS, prompts
from limner_training.tasks.scoring import Share
from limner_training.tasks.selection import true_sources
from limner_training.tasks.true_drawings import drawn
