"""Who acts: stable ids for people, agents and services."""

from __future__ import annotations

from abstractruntime.identity.fingerprint import ActorFingerprint

__all__ = ["ActorFingerprint"]
