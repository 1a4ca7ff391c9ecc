"""The directory store: one append-only ledger and one checkpoint file per run."""
