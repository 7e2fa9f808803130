"""The OpenAI-compatible API. It only translates formats: a request makes the same job as through the native API."""
