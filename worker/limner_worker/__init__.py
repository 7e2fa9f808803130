"""The worker: it claims jobs, makes their pictures and stores them.

runtime: the process, its claims, leases and threads; stages: what happens to a job before and after the engine;
engine: batches of steps; generators: the models; networks: the built-in models' networks. Each imports only what comes
after it.
"""
