"""All benchmarks on a GPU, one after the other: `make bench-gpu`, which writes the tables to gpu-benchmarks.md."""

from __future__ import annotations

import sys
from pathlib import Path

from gpu import cifar94, digits, inference, resnet20, steps

ALL = (steps, digits, inference, cifar94, resnet20)  # the longest last


def main() -> None:
    """Run them; what each has found is written at once, should a later one fail."""
    target = Path("gpu-benchmarks.md")
    target.write_text("# Benchmarks on a GPU\n")
    for benchmark in ALL:
        found = benchmark.main(sys.argv[1:])
        print(found, flush=True)
        with target.open("a") as file:
            file.write(f"\n{found}")
    print(f"Written to {target}.")


if __name__ == "__main__":
    main()
