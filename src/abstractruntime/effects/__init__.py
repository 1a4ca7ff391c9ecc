"""The built-in effect handlers, one module per family."""
