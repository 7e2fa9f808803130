"""The worker: claims jobs, generates their pictures and stores them.

Layers, each of which imports only the following ones:
    runtime: the process, its claims, leases and threads
    stages: the stages of a job before and after the engine
    engine: batches of steps
    generators: the models
    networks: the neural networks of the built-in models

`codec`, beside the runtime, holds image compression.
"""
