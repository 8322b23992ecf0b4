"""Convolutions that do the work of the normalization behind them, while a network predicts.

With the statistics of the running means a batch normalization is a factor and an offset for each channel: multiplied into the
kernels of the convolution before it, they cost nothing. The convolution's fresh output is then also the place where a ReLU can
be computed without another tensor.
"""

from __future__ import annotations

import itertools
import logging
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._pytree import tree_leaves, tree_map_only

from laminar.fit.forward import EAGER, Execution, forward
from laminar.fit.rows import rows_at_once
from laminar.graph import Graph
from laminar.kernels.calls import Kind
from laminar.kernels.library import library
from laminar.kernels.parts import Part
from laminar.layers.activation import ActivatedLayer
from laminar.layers.base import Layer
from laminar.layers.batchnorm import BatchNormalization
from laminar.layers.chain import in_order, kind_of, runs_in_order
from laminar.layers.conv import Conv1D, Conv2D, Conv3D
from laminar.layers.core import Dense
from laminar.layers.hooks import has_hooks
from laminar.layers.separable import DepthwiseConv2D
from laminar.layers.transpose import Conv2DTranspose
from laminar.seeding import preserved

__all__ = ["Run", "folded"]

Run: TypeAlias = Callable[[Any], Any]
"""Takes the inputs of a batch; returns the network's output."""

_OURS = (Conv1D, Conv2D, Conv3D, DepthwiseConv2D, Conv2DTranspose, Dense)
_TORCHS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_TRANSPOSED = (Conv2DTranspose, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMALIZATIONS = (BatchNormalization, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_LEAST = 256  # observations, measured: what a ResNet-20 and a VGG save on so many is what folding their weights takes
_COMPARED = 8  # observations that the fold is checked on
_log = logging.getLogger("laminar.fold")
_right: weakref.WeakKeyDictionary[nn.Module, frozenset[tuple[int, int]]] = weakref.WeakKeyDictionary()


class _Fold(NamedTuple):
    """A convolution (or dense layer), the normalization of its output, and the ReLU of that, if there is one."""

    linear: nn.Module
    normalization: nn.Module
    relu: nn.Module | None


@contextmanager
def folded(model: nn.Module, execution: Execution, observations: int | None = None) -> Iterator[Run]:
    """Give the function that computes `model`, in inference mode, with normalizations folded into what is before them.

    The first time a network is folded in a process, its outputs for a few observations are compared with those without; where
    they differ by more than rounding, the network is computed as it stands, and the reason logged. Afterwards everything is
    as it was: the weights of the fold are nowhere in the network.

    Args:
        model: the network, in inference mode.
        execution: how it is computed; under engine="eager" nothing is folded.
        observations: how many there are, if that is known: for few, folding takes longer than it saves. Nor is anything folded
            where one kernel computes the whole network.

    >>> from laminar import layers as L
    >>> model = nn.Sequential(L.Conv2D(4, 3), L.BatchNormalization(), L.ReLU()).eval()
    >>> x = torch.rand(2, 3, 8, 8)
    >>> with torch.no_grad(), folded(model, Execution("auto")) as run:
    ...     torch.allclose(run(x), model(x))
    True
    """

    def as_it_stands(x: Any) -> Any:
        return forward(model, x, execution)

    few = observations is not None and observations < _LEAST
    folds = [] if few or execution.engine == "eager" or rows_at_once(model, execution) > 1 else _folds(model)
    if not folds:
        yield as_it_stands
        return
    key = frozenset((id(f.linear), id(f.normalization)) for f in folds)
    agreed = _right.get(model) == key
    inside = _Replaced(folds)

    def run(x: Any) -> Any:
        nonlocal agreed
        if not agreed and inside.folds:
            difference = inside.difference(model, x)
            agreed = difference is None
            if difference is None:
                _right[model] = key
            else:
                _log.info("Normalizations are not folded into convolutions: %s.", difference)
                inside.folds = []
        with inside.put():
            return as_it_stands(x)

    yield run


class _Replaced:
    """The forwards that layers have while the network is folded."""

    def __init__(self, folds: Sequence[_Fold]) -> None:
        self.folds = list(folds)
        self._forwards = [forward for fold in folds for forward in _forwards(fold)]

    @contextmanager
    def put(self) -> Iterator[None]:
        """Let the layers have them inside."""
        chosen = self._forwards if self.folds else []
        try:
            for module, replaced in chosen:
                module.__dict__["forward"] = replaced
            yield
        finally:
            for module, _ in chosen:
                module.__dict__.pop("forward", None)

    def difference(self, model: nn.Module, x: Any) -> str | None:
        """Return how the folded network differs on the first observations of x; None if by rounding alone."""
        few = tree_map_only(Tensor, lambda t: t[:_COMPARED], x)
        with preserved():
            expected = tree_leaves(forward(model, few, EAGER))
        with preserved(), self.put():
            found = tree_leaves(forward(model, few, EAGER))
        for a, b in zip(found, expected, strict=True):
            if not isinstance(b, Tensor) or not b.is_floating_point() or not b.numel():
                continue
            off, most = float((a - b).abs().max()), float(b.abs().max())
            if not off <= torch.finfo(b.dtype).eps ** 0.5 * most:
                return f"outputs of up to {most:.3g} would differ by {off:.3g}"
        return None


def _forwards(fold: _Fold) -> list[tuple[nn.Module, Callable[..., Any]]]:
    linear: Any = fold.linear
    n: Any = fold.normalization
    epsilon = n.epsilon if isinstance(n, BatchNormalization) else n.eps
    statistics, transposed = (n.running_mean, n.running_var), type(linear) in _TRANSPOSED
    with torch.no_grad():
        weight, bias = fuse_conv_bn_weights(linear.weight, linear.bias, *statistics, epsilon, n.weight, n.bias, transposed)
    twin = object.__new__(type(linear))  # the same layer, with other numbers
    twin.__dict__.update(linear.__dict__)
    twin.__dict__["_parameters"] = {**linear._parameters, "weight": weight, "bias": bias}
    twin.__dict__.pop("bias", None)  # where it says that there is none
    replaced: list[tuple[nn.Module, Callable[..., Any]]] = [(linear, twin.forward)]
    if fold.relu is None:
        return [*replaced, (n, _same)]
    return [*replaced, (n, torch.relu_), (fold.relu, _same)]


def _same(x: Any) -> Any:
    return x


def _folds(model: nn.Module) -> list[_Fold]:
    """Return what is to be folded in `model`: where it is known that nobody else sees what is between."""
    following = {id(a): (a, b) for a, b in _links(model)}
    held = Counter(id(child) for parent in model.modules() for child in parent._modules.values() if child is not None)
    found = []
    for linear, normalization in following.values():
        if not (_is_linear(linear) and _is_normalization(normalization, linear)):
            continue
        if held[id(linear)] != 1 or held[id(normalization)] != 1:  # also called from elsewhere
            continue
        behind = following.get(id(normalization), (None, None))[1]
        kind = None if behind is None or held[id(behind)] != 1 or _is_watched(behind) else kind_of(behind)
        if kind == Kind.ELU and _has_kernel(linear):  # which normalizes on its way
            continue
        found.append(_Fold(linear, normalization, behind if kind == Kind.RELU else None))
    return found


def _is_watched(module: nn.Module) -> bool:
    return has_hooks(module) or "forward" in module.__dict__


def _has_kernel(linear: nn.Module) -> bool:
    weight: Any = linear.weight
    return weight.device.type == "cpu" and library(weight.dtype, Part.CONTIGUOUS) is not None


def _is_linear(module: nn.Module) -> bool:
    """Return whether the module is linear, and its channels are those of the kernels."""
    if type(module) not in (*_OURS, *_TORCHS) or _is_watched(module):
        return False
    if isinstance(module, Layer) and not module.built:
        return False
    if isinstance(module, ActivatedLayer) and module.activation_name != "linear":
        return False
    if isinstance(module, Dense) and len(module.input_shape or ()) != 1:  # the units are then not axis 1
        return False
    grouped = type(module) in _TRANSPOSED and getattr(module, "groups", 1) != 1
    return not grouped and module.weight.is_floating_point()  # type: ignore[operator]  # a parameter of all these


def _is_normalization(module: nn.Module, linear: nn.Module) -> bool:
    """Return whether the module scales and shifts each channel of what `linear` returns by numbers that it has."""
    if type(module) not in _NORMALIZATIONS or _is_watched(module) or module.training:
        return False
    if isinstance(module, BatchNormalization) and (not module.built or module.axis != 1):
        return False
    mean: Any = module.running_mean
    transposed = type(linear) in _TRANSPOSED
    weight: Any = linear.weight
    return mean is not None and mean.dtype == weight.dtype and mean.numel() == weight.shape[1 if transposed else 0]


def _links(model: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Yield pairs of modules of which the second is given what the first returns, and nothing and nobody else is."""
    for module in model.modules():
        graph = getattr(module, "_graph", None)
        if runs_in_order(module):
            yield from itertools.pairwise(in_order(module))
        elif isinstance(graph, Graph):
            for a, b in graph.links():
                yield module.get_submodule(a), module.get_submodule(b)
