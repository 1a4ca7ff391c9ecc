"""Fixtures of the contract tests."""

from awkward_hosts import make

__all__ = ["make"]
