"""Laminar's own CPU kernels, for what takes torch several passes over memory, or is far below what the processor can do.

`source/` is C, which `library` compiles on the user's machine, in the `parts` that a network needs, and `trust` compares with
torch before it is used; the files `calls` call it on tensors, `functions`, `channels_last`, `perceptron`, `lstm` and `dropout`
give autograd the derivatives, and `switch` says where kernels are used. Without a compiler everything runs as well, by torch's
operations.
"""
