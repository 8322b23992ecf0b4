"""Between two rows of the table no number is asked for by the host: on a GPU each would be a wait. Counted here on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from engines.ten import NETWORKS
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import laminar as lm
from laminar import layers as L
from laminar.optimizers import SGD, Adam, AdamW, Muon, RMSprop
from laminar.schedules import CosineDecay, OneCycle

# what waits for the device: numbers for the host (item, float, bool, int, if), comparisons for it, and shapes that depend on numbers
_WAITING = {"_local_scalar_dense", "equal", "is_nonzero", "nonzero", "masked_select", "_unique2", "unique_dim"}


class Asked(TorchDispatchMode):
    """Notes the operations whose answer the host waits for, but for those on tensors that are on the host everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.on_host: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        masked = name in ("index", "index_put_") and any(t is not None and t.dtype == torch.bool for t in args[1])
        if masked or (name in _WAITING and args[0].data_ptr() not in self.on_host):
            self.names.append(name)
        return func(*args, **(kwargs or {}))


@contextmanager
def asked(on_host: tuple[Tensor, ...] = ()) -> Iterator[list[str]]:
    """Return a list that fills with what the host asks for inside; tolist and numpy are no operations, and noted as well."""
    found: list[str] = []
    originals = {name: getattr(Tensor, name) for name in ("tolist", "numpy", "__array__")}

    def noting(name: str) -> Any:
        def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
            found.append(name)
            return originals[name](self, *args, **kwargs)

        return method

    try:
        for name in originals:
            setattr(Tensor, name, noting(name))
        with Asked() as mode:
            mode.names, mode.on_host = found, {t.data_ptr() for t in on_host}
            yield found
    finally:
        for name, original in originals.items():
            setattr(Tensor, name, original)


class Between(lm.Callback):
    """Listens from the second iteration to the one before the last."""

    def __init__(self, last: int) -> None:
        self.last, self.found = last, ["nothing has been heard"]

    def on_batch_end(self, model: Any, state: Any) -> None:
        if state.iteration == 2:
            kept = model._learner._pace.optimizer.state.values()  # torch's counts of steps stay on the host on a GPU, too
            counts = tuple(t for of_one in kept for t in of_one.values() if isinstance(t, Tensor) and not t.dim())
            self.context = asked(counts)
            self.found = self.context.__enter__()
        elif state.iteration == self.last:
            self.context.__exit__(None, None, None)


def heard(model: lm.Model, x: Tensor, y: Tensor, optimizer: Any, **settings: Any) -> list[str]:
    fit = {name: settings.pop(name) for name in ("sample_weight", "class_weight") if name in settings}
    metrics = settings.pop("metrics", ["accuracy"])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics, device="cpu", **settings)
    between = Between(len(x) // 8 - 1)
    model.fit(x, y, batch_size=8, log_every=1000, seed=0, callbacks=between, verbose=0, **fit)
    return between.found


def images(n: int = 64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 1, 20, 20, generator=generator), torch.randint(4, (n,), generator=generator)


def test_the_listening_hears() -> None:
    t = torch.arange(3.0)
    for ask in (
        lambda: t[0].item(),
        lambda: float(t[0]),
        lambda: bool(t[0]),
        lambda: t.tolist(),
        lambda: t.numpy(),
        lambda: int(t[0]),
        lambda: t[t > 1],
        lambda: torch.equal(t, t),
        lambda: 1 if t[0] > 1 else 0,
    ):
        with asked() as found:
            t.sum()
            assert found == []
            ask()
        assert found != []


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("network", NETWORKS)
def test_networks(network: str, precision: str) -> None:
    assert heard(NETWORKS[network](), *images(), SGD(0.01, momentum=0.9, weight_decay=1e-4), precision=precision) == []


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(CosineDecay(0.1, 100), global_clipnorm=1.0),
        SGD(OneCycle(0.1, 100), momentum=0.9, nesterov=True, clipvalue=0.1),
        Adam(1e-3, clipnorm=1.0, use_ema=True),
        Adam(1e-3, use_ema=True, ema_overwrite_frequency=2, decay=0.1),
        AdamW(lambda n: 1e-3 / (1 + n)),
        SGD(0.1, gradient_accumulation_steps=3),
        RMSprop(1e-3, momentum=0.9, centered=True),
        Muon(1e-3),
        "adagrad",
        "adadelta",
        "adamax",
        "nadam",
    ],
    ids=repr,
)
def test_optimizers(optimizer: Any) -> None:
    layers = [L.Flatten(), L.Dense(6, "relu"), L.BatchNormalization(), L.Dropout(0.1), L.Dense(4, "softmax")]
    assert heard(lm.Sequential(layers), *images(), optimizer) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"metrics": ["accuracy", "top_2_accuracy", "f1", "precision"]},
        {"metrics": []},
        {"sample_weight": torch.rand(64)},
        {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5, 3: 1.0}},
        {"engine": "eager"},
    ],
    ids=lambda settings: ", ".join(settings),
)
def test_settings(settings: dict[str, Any]) -> None:
    layers = [L.Flatten(), L.Dense(6, "relu"), L.Dense(4, "softmax")]
    assert heard(lm.Sequential(layers), *images(), "sgdm", **settings) == []


@pytest.mark.parametrize(
    "layer", [L.LSTM(5), L.GRU(5), L.SimpleRNN(5), L.Bidirectional(L.LSTM(3))], ids=lambda layer: layer.name
)
def test_recurrent_networks(layer: nn.Module) -> None:
    x, y = images()
    assert heard(lm.Sequential([layer, L.LayerNormalization(), L.Dense(4, "softmax")]), x[:, 0, :6], y, "adam") == []
