"""Random faults against the real service, bounded and seeded: `make chaos`, or `python -m tests.chaos.run --help`.

servers: Redis and databases that can be broken · fault_injection, web_fault_injection, freezing: processes that die or
stop at a named point · world: the service under test · processes: those that faults are aimed at, and those that end by
themselves · faults, process_faults, surroundings, poison: what happens to it · traffic: the jobs sent meanwhile ·
listeners: clients that wait for their ends · oracle, rest: what must be true afterwards · run: the rounds.
"""
