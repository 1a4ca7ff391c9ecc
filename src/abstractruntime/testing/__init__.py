"""Helpers for tests of flows, handlers and stores: a scripted model, a clock and ids without surprises."""

from __future__ import annotations

from abstractruntime.testing.clocks import FakeClock, SequentialIds
from abstractruntime.testing.stub_llm import StubAnswer, StubLLM

__all__ = ["FakeClock", "SequentialIds", "StubAnswer", "StubLLM"]
