"""What a first use must not load: torch's compiler takes longer than the epoch, and only those who compile need it."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch._dynamo", "torch._inductor", "sympy", "matplotlib", "scipy", "optuna", "rich", "jinja2", "pandas", "sqlalchemy")
LATER = ("laminar.check", "laminar.comparison", "laminar.plots", "laminar.tuning", "laminar.rates", "laminar.studies")


def run(code: str) -> str:
    """Return what a fresh interpreter prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


FIT = """
import gc, sys, numpy as np, laminar as lm
print([name for name in {later} if name in sys.modules], gc.isenabled())
from laminar import layers as L
L.Dense(3)(lm.model.torch.zeros(2, 4))
print([name for name in {heavy} if name in sys.modules])
x, y = np.zeros((20, 1, 12, 12), "float32"), np.arange(20) % 3
body = [L.Normalization("zerocenter"), L.Conv2D(8, 3, padding="same"), L.BatchNormalization(), L.ReLU(), L.MaxPooling2D(),
        L.Residual([L.Conv2D(8, 3, padding="same")]), L.ELU("uniform", learnable=True), L.Dropout(0.5), L.Flatten(),
        L.Dense(5, activation="tanh"), L.LayerNormalization(), L.Dense(3), L.Softmax()]
for optimizer in ("sgdm", "adam"):
    model = lm.Sequential(body)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=2, batch_size=8, validation_split=0.2, verbose=0)
    body = [L.Flatten(), L.Dense(3)]
model.predict(x), model.evaluate(x, y), model.summary(show=False)
inputs = lm.Input((4,))
model = lm.Model(inputs, [L.Dense(2)(inputs), L.Dense(1)(inputs)])
model.compile("sgdm", "mse")
model.fit(np.zeros((6, 4), "float32"), [np.zeros((6, 2)), np.zeros((6, 1))], verbose=0)
print([name for name in {heavy} if name in sys.modules])
"""


def test_a_training_loads_nothing_that_it_does_without() -> None:
    """Nor does a layer alone. Garbage is looked for again after the import.

    Conv, normalization, dropout, dense; SGD and Adam; one output and several; fit, evaluate, predict, summary.
    """
    assert run(FIT.format(heavy=HEAVY, later=LATER)).splitlines() == ["[] True", "[]", "[]"]


def test_what_is_loaded_later_is_there_when_asked_for() -> None:
    """Names and modules of the front page are the ones of their own files, and listed."""
    code = (
        "import gc; gc.disable(); import laminar as lm; from laminar import tune, plots; from laminar.check.run import check_layer as own; "
        "print(lm.check_layer is own, lm.plots is plots, callable(lm.compare), lm.rates.range_test is lm.range_test, "
        "callable(lm.layer_outputs), set(lm.__all__) <= set(dir(lm)), hasattr(lm, 'nonsense'), gc.isenabled())"
    )
    assert run(code) == "True True True True True True False False"  # who wants no garbage collected gets none


COMPILES = """
import sys, torch, numpy as np, laminar as lm
from laminar import layers as L
model = lm.Sequential([L.Dense(4, activation="relu"), L.Dense(1)])
model.compile("sgdm", "mse")
model.fit(np.zeros((8, 3), "float32"), np.zeros((8, 1)), verbose=0)
assert "torch._dynamo" not in sys.modules
assert not hasattr(torch.optim.Optimizer.add_param_group.__wrapped__, "__dynamo_disable")
compiled = torch.compile(model, backend="eager")
x = torch.randn(5, 3)
assert torch.allclose(compiled(x), model(x))
torch.optim.SGD(model.parameters())
assert hasattr(torch.optim.Optimizer.add_param_group.__wrapped__, "__dynamo_disable")
import sympy
assert isinstance(sympy.Symbol("n"), sympy.Basic)
print("compiled")
"""


def test_who_compiles_afterwards_gets_the_compiler() -> None:
    """The whole of it: the real one is loaded, and is told what to leave alone."""
    assert run(COMPILES) == "compiled"
