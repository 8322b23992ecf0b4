"""What a first use must not load: torch's compiler takes a second and a half, and only those who compile need it."""

from __future__ import annotations

import subprocess
import sys

import pytest

RUN = "import sys, torch, laminar as lm; from laminar import layers as L; from laminar.shapes import trace; "
SEEN = "print('torch._dynamo' in sys.modules)"


@pytest.mark.parametrize(
    "code",
    [
        "L.Dense(3)(torch.zeros(2, 4)); ",
        "trace(torch.nn.Linear(4, 3), (4,)); ",
        "lm.Sequential([L.Conv2D(2, 3), L.Flatten(), L.Dense(3)]).build((1, 5, 5)).summary(show=False); ",
    ],
    ids=["a layer", "shapes", "a network"],
)
def test_the_compiler_is_not_loaded(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", RUN + code + SEEN], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
