"""A server of the Model Context Protocol, through which agents use a Limner service as one of its clients."""
