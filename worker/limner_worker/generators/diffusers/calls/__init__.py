"""Calls of a pipeline's modules. call_batching, call_pattern: which may be joined · call_joining, layered_tensors,
joined_caches: how they are · encoded_prompts, text_outputs: texts that need no call, and what is kept of one ·
host_times: schedules without a wait for the device.
"""
