"""Stores: the directory engine, the engine over 0.4.x store pairs, and artifacts."""
