"""Sends random requests to real processes, generated from the OpenAPI document by all phases of schemathesis.

`make fuzz`, or `python -m tests.fuzz.run --help`. hooks: how schemathesis serializes our bodies.
"""
