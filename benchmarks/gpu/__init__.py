"""What Laminar does on a GPU: `make bench-gpu`. With `--miniature` each script runs on the CPU, to test it."""
