"""Random faults against the real service, bounded and seeded: `make chaos`, or `python -m tests.chaos.run --help`.

servers: Redis and databases that can be hurt · faulty: processes that die at a named point · faults: what is done to
the service · load: what is asked of it meanwhile · oracle: what must be true afterwards · run: rounds of all that.
"""
