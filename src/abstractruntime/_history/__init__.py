"""History bundles: one run with its ledgers as a single JSON document."""
