"""Language models: the port that clients implement, and the effect handler that uses it."""

from __future__ import annotations

from abstractruntime.llm.handler import LLMHandler
from abstractruntime.llm.port import LLMCallFailed, LLMClient, LLMReply, LLMRequest, SchemaRefused

__all__ = ["LLMCallFailed", "LLMClient", "LLMHandler", "LLMReply", "LLMRequest", "SchemaRefused"]
