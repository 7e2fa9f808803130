"""The pages and their scripts."""
