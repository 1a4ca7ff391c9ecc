"""The version, alone in its module so that `art --version` imports nothing else."""

__version__ = "0.5.0.dev0"
