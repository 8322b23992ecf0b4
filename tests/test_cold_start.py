"""What a first use must not load: torch's compiler takes a second and a half, and only those who compile need it."""

from __future__ import annotations

import subprocess
import sys


def test_building_a_layer_does_not_load_the_compiler() -> None:
    """torch loads it itself for some shapes on `meta` and with its first optimizer; a layer alone needs neither."""
    code = (
        "import sys, torch; from laminar import layers as L; "
        "L.Dense(3)(torch.zeros(2, 4)); print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
