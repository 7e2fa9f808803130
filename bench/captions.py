"""How often the words under a picture claim what is not in it: presentations and alt texts against the tasks' judge.

    python -m bench.captions [--quick] [--pictures 24] [--model limner-flow]

The prompts are those of `bench.tasks`, asked for in English as descriptions. The claim of a picture is what its
presentation and alt text say that it shows: the things, colours, number and places of its scene, or the name that it
was drawn as. What the presentation says is missing, or stands for something else, is no claim. A claim is true if the
judge (the image tower for things; measured colours, numbers and places) finds it; precision is the share of true
claims, printed beside that of true drawings, which is the judge's ceiling.
"""

from __future__ import annotations
