"""The web service: the HTTP APIs and the pages. It does not import torch."""
