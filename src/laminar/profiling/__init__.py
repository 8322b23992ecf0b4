"""Where the time and the memory of a training step go: measured, held against what the machine can do, with what to try."""
