"""OpenAI's wire formats. They hold no rules: each request becomes the same job as through the native API."""
