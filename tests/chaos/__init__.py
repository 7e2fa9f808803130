"""Random faults against the real service, bounded and seeded: `make chaos`, or `python -m tests.chaos.run --help`.

servers: Redis and databases that can be broken · fault_injection: processes that die at a named point · world: the
service under test · faults, surroundings: what happens to it · traffic: the jobs sent meanwhile · oracle: what must be
true afterwards · run: the rounds.
"""
