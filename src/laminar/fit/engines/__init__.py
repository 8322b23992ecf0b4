"""What a training step is computed by: operation by operation, by torch's compiler, or as one CUDA graph.

Each engine takes the same way as the first within rounding; one that cannot says why, and leaves the step to the first.
"""
