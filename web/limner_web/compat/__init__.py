"""Other services' wire formats. They hold no rules: each builds the same jobs as the native API."""
