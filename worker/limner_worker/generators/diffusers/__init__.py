"""Any diffusers pipeline, batched with others at each call of its modules."""
