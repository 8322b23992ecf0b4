"""What a module declares that it does on purpose."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from laminar.layers.base import Layer
from laminar.names import Registry

__all__ = ["TRAITS", "declared_by", "traits_of"]

TRAITS = Registry(
    "declaration",
    {
        "random": "draws numbers in training",
        "always random": "draws numbers in training and in inference",
        "batch": "in training, an observation's output depends on the others",
        "always batch": "in training and in inference, an observation's output depends on the others",
        "state": "keeps something from call to call in training",
        "always state": "keeps something from call to call in training and in inference",
        "modes": "training differs from inference",
        "surrogate": "its gradient is not that of its function",
        "nan": "takes NaN out",
    },
)
"""What a layer may declare -> what that means."""

_FOLLOWS = {
    "random": {"modes"},
    "always random": {"modes"},
    "batch": {"modes"},
    "always batch": {"batch", "modes"},
    "always state": {"state"},
}
"""What comes with a declaration. Two runs of what draws differ in any case, in two modes as well."""


def traits_of(module: nn.Module, declared: Iterable[str] = ()) -> frozenset[str]:
    """Return what `declared_by` does, and what follows from it.

    Raises:
        UnknownNameError: if a declaration is not one of `TRAITS`.

    >>> sorted(traits_of(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))))
    ['batch', 'modes']
    """
    said = declared_by(module, declared)
    return said.union(*(_FOLLOWS.get(name, set()) for name in said))


def declared_by(module: nn.Module, declared: Iterable[str] = ()) -> frozenset[str]:
    """Return what `module` and everything inside it declares, with what is `declared` for it from outside.

    A buffer that changes in training declares "state" as well, but only a run can tell which one changes: `Subject.traits`
    adds that.

    Raises:
        UnknownNameError: if a declaration is not one of `TRAITS`.

    >>> sorted(declared_by(nn.Dropout(0.5), ["state"]))
    ['random', 'state']
    """
    said = _names(declared)
    for sub in module.modules():
        said |= _names(getattr(sub, "declares", ())) | _of_torch(sub)
        if isinstance(sub, Layer) and sub._overrides_predict:
            said.add("modes")
    return frozenset(said)


def _names(declared: str | Iterable[str]) -> set[str]:
    return {TRAITS.name_of(name) for name in ([declared] if isinstance(declared, str) else declared)}


def _of_torch(module: nn.Module) -> set[str]:
    """Return what the modules of torch itself do on purpose, as its documentation says."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return {"batch"} if module.track_running_stats else {"always batch"}
    if isinstance(module, _NormBase):  # instance normalization
        return {"modes"} if module.track_running_stats else set()
    if isinstance(module, nn.FractionalMaxPool2d | nn.FractionalMaxPool3d):
        return {"always random"} if module._random_samples is None else set()
    if isinstance(module, _DropoutNd):
        return {"random"} if module.p else set()
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):  # the padding's row gets no gradient
        return {"surrogate"} if module.padding_idx is not None else set()
    hooked = any(isinstance(hook, SpectralNorm) for hook in module._forward_pre_hooks.values())
    if hooked or isinstance(module, _SpectralNorm):  # its norm is found a step further at each call, and taken as a constant
        return {"modes", "surrogate"} if hooked or module.n_power_iterations else set()
    draws = isinstance(module, nn.RReLU) or (isinstance(module, nn.RNNBase | nn.MultiheadAttention) and bool(module.dropout))
    return {"random"} if draws else set()
