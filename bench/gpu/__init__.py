"""The GPU suite: checks and figures of the engine on a device, with pipelines of true size and random weights."""
