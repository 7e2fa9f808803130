"""The `limner` command, one module for each group of subcommands."""
