"""A1111's API under `/sdapi/v1`, for the many tools that know the Stable Diffusion web UI."""
