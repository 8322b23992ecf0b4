"""What a user waits for until the first epoch has ended: a fresh interpreter, everything imported, R5's network trained.

Both programs read 5,000 + 5,000 digits from one file, train for one epoch of 39 steps of 128, and validate. The other one is
the loop that PyTorch's tutorials teach. They take turns.

.venv/bin/python benchmarks/cold_start.py [--repeats 7] [--only laminar]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from laminar.data import digits

READ = """
import time; start = time.perf_counter(); marks = {}
def mark(name): marks[name] = time.perf_counter() - start
import sys, json, numpy as np
def data():
    with np.load(sys.argv[1]) as file:
        return [file[name] for name in ("x", "y", "x_test", "y_test")]
"""

PROGRAMS = {
    "laminar": READ
    + """
import laminar as lm; from laminar import layers as L; mark("import")
x, y, x_test, y_test = data(); mark("data")
model = lm.Sequential([L.Normalization("zerocenter"), L.Conv2D(20, 5), L.BatchNormalization(),
                       L.ELU("uniform", learnable=True), L.Flatten(), L.Dense(10), L.Softmax()])
optimizer = lm.optimizers.SGDM(0.01, momentum=0.9, weight_decay=1e-4)
model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, epochs=1, batch_size=128, drop_last=True, validation_data=(x_test, y_test)); mark("epoch")
print(json.dumps(marks))
""",
    "PyTorch by hand": READ
    + """
import torch; from torch import nn; from torch.utils.data import DataLoader, TensorDataset; mark("import")
x, y, x_test, y_test = map(torch.from_numpy, data()); mark("data")
class ELU(nn.Module):
    def __init__(self):
        super().__init__()
        self.alpha = nn.Parameter(torch.rand(20))
    def forward(self, x):
        return torch.where(x > 0, x, self.alpha[:, None, None] * torch.expm1(x.clamp(max=0)))
model = nn.Sequential(nn.Conv2d(1, 20, 5), nn.BatchNorm2d(20), ELU(), nn.Flatten(), nn.Linear(20 * 24 * 24, 10))
weights = [p for n, p in model.named_parameters() if p.dim() > 1]
others = [p for n, p in model.named_parameters() if p.dim() == 1]
optimizer = torch.optim.SGD([{"params": weights, "weight_decay": 1e-4}, {"params": others}], lr=0.01, momentum=0.9)
loss = nn.CrossEntropyLoss()
mean = x.mean(0)
for xb, yb in DataLoader(TensorDataset(x - mean, y), 128, shuffle=True, drop_last=True):
    optimizer.zero_grad()
    value = loss(model(xb), yb)
    value.backward()
    optimizer.step()
model.eval()
with torch.no_grad():
    right = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in DataLoader(TensorDataset(x_test - mean, y_test), 512))
print("accuracy", right / len(x_test)); mark("epoch")
print(json.dumps(marks))
""",
}


def main() -> None:
    """Measure and print one line a program, and the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", choices=list(PROGRAMS))
    options = parser.parse_args()
    chosen = [options.only] if options.only else list(PROGRAMS)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}  # to the end of the imports, of the epoch
    (x, y), (x_test, y_test) = digits()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.npz"
        np.savez(path, x=x, y=y, x_test=x_test, y_test=y_test)
        for _ in range(options.repeats):
            for name in chosen:
                start = time.perf_counter()
                command = [sys.executable, "-c", PROGRAMS[name], str(path)]
                shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
                marks = json.loads(shown)
                whole = time.perf_counter() - start
                assert marks["epoch"] <= whole
                times[name].append((marks["import"], marks["epoch"]))
    for name, found in times.items():
        imports, epochs = zip(*found, strict=True)
        print(
            f"{name:16s} first epoch ended after {statistics.median(epochs):.2f} s ({min(epochs):.2f} to {max(epochs):.2f}), "
            f"of which imports {statistics.median(imports):.2f} s"
        )
    if len(chosen) == 2:
        ratios = [theirs[1] / ours[1] for ours, theirs in zip(times["laminar"], times["PyTorch by hand"], strict=True)]
        print(f"PyTorch by hand / laminar: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
