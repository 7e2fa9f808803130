"""The diffusers family: any pipeline, with the module calls of many images joined into batches."""
