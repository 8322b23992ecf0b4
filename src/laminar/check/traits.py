"""What a module declares that it does on purpose."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from laminar.layers.base import Layer
from laminar.names import Registry

__all__ = ["TRAITS", "traits_of"]

TRAITS = Registry(
    "declaration",
    {
        "random": "draws numbers in training",
        "always random": "draws numbers in training and in inference",
        "batch": "in training, an observation's output depends on the others",
        "state": "keeps something from call to call",
        "modes": "training differs from inference",
        "surrogate": "its gradient is not that of its function",
        "nan": "takes NaN out",
    },
)
"""What a layer may declare -> what that means."""


def traits_of(module: nn.Module, declared: Iterable[str] = ()) -> frozenset[str]:
    """Return what `module` and everything inside it declares, with what is `declared` for it from outside.

    Raises:
        UnknownNameError: if a declaration is not one of `TRAITS`.

    >>> sorted(traits_of(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))))
    ['batch', 'modes', 'state']
    """
    own = {TRAITS.name_of(name) for name in declared}
    for sub in module.modules():
        own.update(TRAITS.name_of(name) for name in getattr(sub, "declares", ()))
        own.update(_of_torch(sub))
        if isinstance(sub, Layer) and sub._overrides_predict:
            own.add("modes")
    if next(module.buffers(), None) is not None:
        own.add("state")  # a buffer says that something is kept; whether it may change in inference is another question
    if own & {"random", "always random"}:
        own.add("modes")
    return frozenset(own)


def _of_torch(module: nn.Module) -> set[str]:
    """Return what the modules of torch itself do on purpose, as its documentation says."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return {"batch", "modes", "state"} if module.track_running_stats else {"batch"}
    if isinstance(module, _NormBase):  # instance normalization
        return {"modes", "state"} if module.track_running_stats else set()
    if isinstance(module, nn.FractionalMaxPool2d | nn.FractionalMaxPool3d):
        return {"always random"} if module._random_samples is None else set()
    if isinstance(module, _DropoutNd):
        return {"random"} if module.p else set()
    draws = isinstance(module, nn.RReLU) or (isinstance(module, nn.RNNBase | nn.MultiheadAttention) and bool(module.dropout))
    return {"random"} if draws else set()
