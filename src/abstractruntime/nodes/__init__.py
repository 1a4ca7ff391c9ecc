"""The node types of flows: one class per type, in one registry, grouped by family."""
