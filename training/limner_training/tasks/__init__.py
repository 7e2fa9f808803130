"""Tasks in the manner of GenEval (Ghosh et al. 2023): does a picture show the things, colours and places asked for?

`prompts` makes the lists, `localising`, `colours` and `judging` judge pictures, `true_drawings` makes the pictures that
set each judge's ceiling, and `scoring` runs a model and makes the table.
"""
