"""The command `limner`, one module for each group of subcommands."""
