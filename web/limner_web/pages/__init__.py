"""The pages, with their templates and static files."""
