"""The house of the runtime: composition, and everything that drives runs with it."""
