"""Evidence: what tools saw of the outside, kept as artifacts that a run refers to."""

from abstractruntime.evidence.recorder import DEFAULT_EVIDENCE_TOOL_NAMES, EvidenceRecorder

__all__ = ["DEFAULT_EVIDENCE_TOOL_NAMES", "EvidenceRecorder"]
