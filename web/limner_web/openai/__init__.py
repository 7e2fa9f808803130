"""OpenAI's wire format, for its official clients unmodified."""
