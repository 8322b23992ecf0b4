"""What `import laminar` costs beyond `import torch`, in seconds: the median and range of fresh interpreters.

.venv/bin/python benchmarks/imports.py [--repeats 9]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

CODE = "import time, torch; start = time.perf_counter(); import laminar; print(time.perf_counter() - start)"


def main() -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    command = [sys.executable, "-c", CODE]
    times = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(repeats)]
    print(f"import laminar, beyond torch: {statistics.median(times):.3f} s ({min(times):.3f} to {max(times):.3f})")


if __name__ == "__main__":
    main()
