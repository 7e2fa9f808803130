"""The built-in models as torch modules, and how their weights are stored; nothing else."""
