"""Sends random and hostile requests to real processes.

`make fuzz`, or `python -m tests.fuzz.run --help`. The native API: all phases of schemathesis, by the OpenAPI document
(`hooks`: how it serializes our bodies). `doors`: the APIs of other clients, agents' tools and the pages' forms.
"""
