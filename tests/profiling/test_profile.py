"""What a profile says of a network is what the network does, and the network is left as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import laminar as lm
from laminar import layers as L
from laminar.errors import LabelError, NotCompiledError
from laminar.kernels.library import library
from laminar.profiling.hints import Facts, hints
from laminar.profiling.machine import Machine, measured
from laminar.profiling.result import Profile, ProfileRow
from laminar.seeding import generator_states

X, Y = torch.randn(32, 3, 24, 24), torch.arange(32) % 10


def network(**how: Any) -> lm.Sequential:
    model = lm.Sequential(
        [L.Conv2D(8, 3, use_bias=False), L.BatchNormalization(), L.ELU(), L.Dropout(0.2), L.Flatten(), L.Dense(10), L.Softmax()]
    )
    model.compile("adam", "sparse_categorical_crossentropy", **how)
    return model


def rows_of(found: Profile) -> dict[str, ProfileRow]:
    return {row.path: row for row in found.rows}


def test_every_layer_has_a_row_and_the_rows_add_up() -> None:
    """Layers in their order, then loss, update and the rest; shares make one; a kernel's two layers are one row."""
    found = network().profile(X, Y, repeats=3, show=False)
    both = ["batch_normalization + elu"] if library(torch.float32) else ["batch_normalization", "elu"]
    layers = ["conv2d", *both, "dropout", "flatten", "dense", "softmax"]
    assert [r.path for r in found.rows] == [*layers, "(loss)", "(update)", "(everything else)"]
    assert sum(r.share for r in found.rows) == pytest.approx(1)
    assert found.total == pytest.approx(sum(r.forward + r.backward for r in found.rows))
    rows = rows_of(found)
    assert all(r.time > 0 for r in found.rows[:-1])
    assert all(rows[name].backward > 0 for name in ("conv2d", both[-1], "dropout", "dense"))
    assert found.step > 0


def test_operations_are_those_of_the_formulas() -> None:
    """Two for each multiplication: forward, for the weights' gradient, and for the input's where it is asked for."""
    rows = rows_of(network().profile(X, Y, repeats=1, show=False))
    convolution = 2 * 32 * 8 * 22 * 22 * 3 * 3 * 3
    assert rows["conv2d"].flops == 2 * convolution  # no gradient for the data
    assert rows["dense"].flops == 3 * 2 * 32 * (8 * 22 * 22) * 10
    image, made, weights = 4 * 32 * 3 * 24 * 24, 4 * 32 * 8 * 22 * 22, 4 * 8 * 27
    assert rows["conv2d"].moved == (image + weights + made) + (made + image + weights)
    assert rows["conv2d"].output == made
    assert rows["flatten"].moved == rows["flatten"].output == 0
    assert rows["flatten"].floor is None
    model = network()
    model.build((3, 24, 24))
    model.layers[0].trainable = False  # type: ignore[assignment]  # which a layer has
    assert rows_of(model.profile(X, Y, repeats=1, show=False))["conv2d"].flops == convolution


def test_memory_is_what_autograd_saves() -> None:
    """All rows together keep what torch's own hooks count by hand, and each what its formula needs."""
    model = network(engine="eager").build((3, 24, 24), seed=0)
    found = model.profile(X, Y, repeats=1, show=False)
    known = {t.untyped_storage()._cdata for t in [*model.parameters(), *model.buffers(), X]}
    kept: dict[int, torch.Tensor] = {}
    model.train()
    body = nn.Sequential(*model.layers[:-1])  # without the softmax, which the loss does
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.setdefault(t.untyped_storage()._cdata, t.detach()) if t.untyped_storage()._cdata not in known else t,
        lambda t: t,
    ):
        body(X)
    assert found.kept == sum(t.untyped_storage().nbytes() for t in kept.values())
    rows = rows_of(found)
    assert rows["batch_normalization"].kept == rows["conv2d"].output + 2 * 4 * 8  # its input, mean and deviation


def test_the_network_is_left_as_it_was() -> None:
    """Parameters, buffers, modes, optimizer, what comes next in training, and all random numbers, bit for bit."""
    models = [network().build((3, 24, 24), seed=0) for _ in range(2)]
    for model in models:
        model.fit(X, Y, epochs=1, batch_size=16, seed=0, verbose=0)
    model, other = models
    before, mode = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    states = generator_states()
    loader = torch.utils.data.DataLoader(list(zip(X, Y, strict=True)), 8, shuffle=True, generator=torch.Generator())
    of_loader = loader.generator.get_state()
    model.profile(X, Y, repeats=1, show=False)
    model.profile(loader, repeats=1, show=False)
    assert torch.equal(loader.generator.get_state(), of_loader)
    assert generator_states() == states
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert [m.training for m in model.modules()] == mode
    assert not any("forward" in m.__dict__ for m in model.modules())
    histories = [m.fit(X, Y, epochs=1, batch_size=16, seed=1, verbose=0).history for m in models]
    assert histories[0] == histories[1]
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_blocks_have_rows_of_their_own_operations() -> None:
    """A residual block's sum; a network of one's own, made from inputs, with two outputs; not built before."""
    block = L.Residual([L.Conv2D(3, 3, padding="same")], activation="relu")
    model = lm.Sequential([block, L.GlobalAveragePooling2D(), L.Dense(10)])
    model.compile("sgdm", "sparse_categorical_crossentropy")
    rows = rows_of(model.profile(X, Y, repeats=1, show=False))
    assert [p for p in rows if "residual" in p] == ["residual", "residual/main/conv2d"]
    assert rows["residual"].flops is None
    assert rows["residual"].backward > 0
    inputs = lm.Input((4,))
    hidden = L.Dense(3, activation="tanh")(inputs)
    two = lm.Model(inputs, [L.Dense(1)(hidden), L.Dense(2)(hidden)])
    two.compile("sgdm", "mse")
    found = two.profile(torch.zeros(8, 4), [torch.zeros(8, 1), torch.zeros(8, 2)], repeats=1, show=False)
    assert [r.path for r in found.rows[:3]] == ["dense", "dense_1", "dense_2"]


@pytest.mark.slow
def test_layers_are_told_apart_under_a_compiled_step() -> None:
    """They are watched operation by operation; the step of `fit` is the compiled one."""
    found = network(engine="compiled").profile(X, Y, repeats=2, show=False)
    rows = rows_of(found)
    assert rows["conv2d"].backward > 0
    assert rows["(everything else)"].share < 0.5


def test_it_complains_as_fit_does() -> None:
    """Of a network that was not compiled, and of data that do not fit; and the network is whole afterwards."""
    with pytest.raises(NotCompiledError, match=r"^Sequential.profile: expected a compiled network"):
        lm.Sequential([L.Dense(1)]).profile(X, Y)
    model = network()
    with pytest.raises(LabelError):
        model.profile(X, Y + 100)
    with pytest.raises(lm.LaminarError, match="repeats"):
        model.profile(X, Y, repeats=0)


def row(path: str, share: float = 0.1, **others: Any) -> ProfileRow:
    return ProfileRow(path, "Conv2D", share / 2, share / 2, share, **others)


def test_it_is_printed_and_written_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """The text has the title, a line for each row, the total and the hints."""
    rows = (row("conv", 0.75, kept=2000, output=1000, flops=3_000_000, moved=4000, floor=0.3), row("(loss)", 0.25))
    found = Profile("Net, batch of 8", rows, 0.5, Machine(1e9, 1e9), ("less",))
    assert str(found) == (
        "Net, batch of 8\n"
        "path    layer   forward  backward  share  kept  output  MFLOP  MB moved  of floor\n"
        "---------------------------------------------------------------------------------\n"
        "conv    Conv2D   375 ms    375 ms    75%  2 kB    1 kB    3.0       0.0       40%\n"
        "(loss)  Conv2D   125 ms    125 ms    25%\n"
        "---------------------------------------------------------------------------------\n"
        "total            500 ms    500 ms   100%  2 kB\n"
        "A step of fit takes 500 ms. This machine: 1 GFLOP/s in matrix products, 1.0 GB/s in copies.\n"
        "Try: less"
    )
    assert "| conv | Conv2D | 375 ms | 375 ms | 75% | 2 kB | 1 kB | 3.0 | 0.0 | 40% |" in found.to_markdown()
    assert repr(found) == "<Profile: 2 rows, 500 ms a step>"
    assert capsys.readouterr().out == ""
    network().profile(X, Y, repeats=1)
    assert capsys.readouterr().out.startswith("Sequential, batch of 32, cpu, float32, engine='auto'\n")


SLOW = (row("conv", 0.6, flops=10, moved=10, floor=0.06), row("rest", 0.4, floor=0.39))
ALL: dict[str, tuple[tuple[ProfileRow, ...], dict[str, Any], str]] = {
    "overhead": ((), {"half": 0.9}, "a larger batch_size: half of 32 takes 90 % of the time, so most of a step is overhead"),
    "eager": (
        (),
        {"kernels": True, "engine": "eager"},
        'compile(engine="auto"): engine="eager" leaves Laminar\'s own kernels aside, which are there',
    ),
    "hooks": ((), {"kernels": True, "hooked": ("a/b",)}, "removing the hooks of 'a/b': kernels leave layers with hooks aside"),
    "threads": (
        (),
        {"threads_wait": False, "load": 2.5},
        "OMP_WAIT_POLICY=PASSIVE, set before Python starts: 2.5 processes want each core, and torch's idle threads spin",
    ),
    "precision": (
        SLOW,
        {"faster_bfloat16": True},
        "compile(precision=\"bfloat16\"): 'conv' (Conv2D) takes 60 % of the step, at 10 % of its floor",
    ),
    "slow": (
        SLOW,
        {},
        "another layer in its place, or a smaller one: 'conv' (Conv2D) takes 60 % of the step, at 10 % of its floor",
    ),
    "update": (
        (row("(update)", 0.4),),
        {"fused_update": False},
        "an optimizer with fused=True: the update takes 40 % of the step",
    ),
    "memory": (
        (row("conv", kept=2 * 10**8), row("bn + elu", kept=10**8)),
        {},
        "recompute = True on it or on the block around it, if memory is short: 'conv' keeps 200 MB of 300 MB for the backward pass",
    ),
}
NONE: list[tuple[tuple[ProfileRow, ...], dict[str, Any]]] = [
    ((), {"half": 0.6}),
    ((), {"engine": "eager"}),
    ((), {"kernels": True}),
    ((), {"hooked": ("a",)}),
    ((), {"threads_wait": False, "load": 0.5}),
    ((), {"threads_wait": True, "load": 5.0}),
    ((row("conv", 0.6, flops=10, floor=0.5), row("other", 0.2, flops=10, floor=0.01)), {"faster_bfloat16": True}),
    ((row("(update)", 0.4),), {}),
    ((row("(update)", 0.1),), {"fused_update": False}),
    ((row("conv", kept=10**7),), {}),
]


@pytest.mark.parametrize("name", ALL)
def test_a_hint_is_given_where_it_holds(name: str) -> None:
    """Each alone, in these words."""
    rows, facts, text = ALL[name]
    assert hints(rows, Facts(32, **facts)) == (text,)


@pytest.mark.parametrize(("rows", "facts"), NONE)
def test_no_hint_is_given_where_none_holds(rows: tuple[ProfileRow, ...], facts: dict[str, Any]) -> None:
    """Just below the line, or with the other half of the reason missing."""
    assert hints(rows, Facts(32, **facts)) == ()


def test_overhead_is_not_blamed_on_a_layer() -> None:
    """Where half the batch takes as long, another layer would, too."""
    assert len(hints(SLOW, Facts(32, half=0.9))) == 1
    assert len(hints(SLOW, Facts(32, half=0.9, faster_bfloat16=True))) == 2


def test_hints_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine that leaves kernels aside, and hooks, are seen in the network itself."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    with_kernels = library(torch.float32) is not None
    found = network(engine="eager").profile(X, Y, repeats=1, show=False).hints
    assert any('engine="auto"' in text for text in found) is with_kernels
    model = network().build((3, 24, 24))
    assert not any("hooks" in text or "engine" in text for text in model.profile(X, Y, repeats=1, show=False).hints)
    model.layers[1].register_forward_hook(lambda *_: None)
    found = model.profile(X, Y, repeats=1, show=False).hints
    assert any("hooks of 'batch_normalization'" in text for text in found) is with_kernels


def test_the_machine_is_measured_once() -> None:
    """And both rates are rates."""
    device = torch.device("cpu")
    assert measured(device) is measured(device)
    assert measured(device).flops > 1e8
    assert measured(device).bandwidth > 1e7
