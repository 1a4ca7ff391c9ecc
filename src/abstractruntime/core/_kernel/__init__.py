"""The kernel: how a run advances, as pure decisions over the ports.

`loop` drives one run, `transitions` decides what a status and an event make of it,
`effects` performs one effect with its attempts, `records` builds what is written.
Nothing here opens a file, reads a clock or starts a thread.
"""
