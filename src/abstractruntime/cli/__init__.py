"""The command line: a thin shell over the library.

Every command is a plain function of a `Session` that returns an exit code; values are
computed by pure functions, and nothing outside this package imports it.
"""
