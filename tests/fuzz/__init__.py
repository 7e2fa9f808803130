"""Random requests made from the API's own description, by schemathesis with all its phases, against real processes.

`make fuzz`, or `python -m tests.fuzz.run --help`. hooks: what schemathesis must be told of our bodies.
"""
