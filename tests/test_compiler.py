"""The answers given in place of torch's compiler are those that it would give, and whoever asks more gets the compiler."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from typing import Any

import pytest
import torch
from torch.fx.experimental import symbolic_shapes

from laminar import compiler

SIZES: list[Any] = [0, 1, 3, (), (1, 2), [1, 2], torch.Size([1, 2]), (2, 1), (1, 2, 3)]


@pytest.mark.filterwarnings("ignore:guard_size_oblivious:FutureWarning")
@pytest.mark.parametrize("name", compiler._OF_TRUTH)
@pytest.mark.parametrize("value", [True, False])
def test_truth_is_what_it_is(name: str, value: bool) -> None:
    """Of a plain bool the answer is the real one."""
    assert compiler._ANSWERS[name](value) is getattr(symbolic_shapes, name)(value)


@pytest.mark.parametrize("name", ["is_nested_int", "is_symbolic", "has_guarding_hint", "guarding_hint_or_throw"])
@pytest.mark.parametrize("value", [0, 1, 7])
def test_whole_numbers_are_no_symbols(name: str, value: int) -> None:
    """Of a plain number, too."""
    assert compiler._ANSWERS[name](value) == getattr(symbolic_shapes, name)(value)


def test_sizes_are_compared_and_joined_as_there() -> None:
    """`sym_eq` on numbers and sizes, `sym_and` and `sym_or` on bools."""
    for a, b in itertools.product(SIZES, repeat=2):
        if isinstance(a, int) == isinstance(b, int):
            assert compiler._ANSWERS["sym_eq"](a, b) is symbolic_shapes.sym_eq(a, b), (a, b)
    for n in (1, 2, 3):
        for values in itertools.product([True, False], repeat=n):
            assert compiler._ANSWERS["sym_and"](*values) is symbolic_shapes.sym_and(*values)
            assert compiler._ANSWERS["sym_or"](*values) is symbolic_shapes.sym_or(*values)


def test_symbols_are_handed_on() -> None:
    """An answer that was kept by somebody serves symbols as well."""
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

    env = ShapeEnv()
    expression = env.create_symbol(5, source=torch._dynamo.source.ConstantSource("n"), dynamic_dim=DimDynamic.DYNAMIC)
    n = env.create_symintnode(expression, hint=5)
    assert compiler._ANSWERS["guard_or_false"](n == 5) is True
    assert compiler._ANSWERS["expect_true"](n > 1) is True
    assert compiler._ANSWERS["is_nested_int"](n) is False
    assert compiler._ANSWERS["guarding_hint_or_throw"](n) == 5
    assert compiler._ANSWERS["sym_eq"]((n, 2), (5, 2))


ASKS_MORE = """
import importlib.util, sys
from laminar.compiler import without_compiler
with without_compiler():
    import sympy as early  # kept by whoever imports in here
    basic = early.Basic
    assert not isinstance(3, basic)
    assert not hasattr(sys.modules["torch._dynamo"], "__file__")
    assert importlib.util.find_spec("sympy").origin.endswith("__init__.py")
    {ask}
assert {proof}
assert isinstance(early.Symbol("n"), basic) and early.Basic is __import__("sympy").Basic

class Own(basic):
    pass

assert issubclass(Own, early.Basic)
print("there")
"""


@pytest.mark.parametrize(
    ("ask", "proof"),
    [
        ("from torch._dynamo import config", "config.__name__ == 'torch._dynamo.config'"),
        pytest.param(
            "import torch._dynamo.config as config", "config.__name__ == 'torch._dynamo.config'", marks=pytest.mark.slow
        ),
        pytest.param(
            "from torch.fx.experimental.symbolic_shapes import ShapeEnv",
            "ShapeEnv().__class__ is ShapeEnv",
            marks=pytest.mark.slow,
        ),
        pytest.param("import sympy.core as core", "core.Basic is early.Basic", marks=pytest.mark.slow),
    ],
)
def test_who_asks_for_more_gets_it(ask: str, proof: str) -> None:
    """Inside, the real modules come as soon as one asks for something that is not an answer."""
    command = [sys.executable, "-c", ASKS_MORE.format(ask=ask, proof=proof)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "there", done.stderr


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the stand-ins nor their marks, whatever happens inside; nor do two threads come in each other's way."""
    names = ("torch._dynamo", "torch.fx.experimental.symbolic_shapes", "sympy")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr(torch, "_dynamo", raising=False)
    raw = torch.optim.Optimizer.add_param_group.__wrapped__  # type: ignore[attr-defined]  # where torch keeps the function
    kept = raw.__dict__.pop("__dynamo_disable", None)
    inside, left = threading.Event(), threading.Event()

    def other() -> None:
        with compiler.without_compiler():
            inside.set()
            left.wait(10)

    thread = threading.Thread(target=other)
    with pytest.raises(ZeroDivisionError), compiler.without_compiler():
        thread.start()
        inside.wait(10)
        torch.optim.SGD([torch.zeros(1, requires_grad=True)])
        raise ZeroDivisionError
    left.set()
    thread.join()
    found = [name for name in names if name in sys.modules]
    marked = hasattr(raw, "__dynamo_disable")
    if kept is not None:
        raw.__dict__["__dynamo_disable"] = kept
    assert (found, marked) == ([], False)
