"""Care for a directory store: diagnosis, repair, garbage collection, snapshots of runs."""
