"""The kernel: how a run advances, as pure decisions over the ports.

`loop` drives one run, on top of `waits` and `control`; `transitions` decides what a status
and an event make of it, `changes` commits that; `effects` performs one effect with its
attempts, `doubt` settles one whose outcome is unknown; `records` builds what is written.
Nothing here opens a file, reads a clock or starts a thread.
"""
