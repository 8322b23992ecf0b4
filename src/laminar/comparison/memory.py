"""The memory of one training step, counted tensor by tensor."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from laminar import seeding
from laminar.fit.batches import Order
from laminar.fit.convert import ClassWeight
from laminar.model import Model
from laminar.storages import counted

__all__ = ["memory_of_run", "step_memory"]


def step_memory(
    model: Model, x: Any, y: Any, sample_weight: Any = None, *, batch_size: int = 128, class_weight: ClassWeight | None = None
) -> int:
    """Return the bytes that tensors hold at the peak of one training step, on the first batch of the data.

    Counted are parameters, gradients, the optimizer's state, buffers, the batch, and what forward and backward make and keep,
    each storage once. It is the step of `Model.fit`, done by a copy of the network after a first one that gives the optimizer
    its state; the network and the generators stay as they are. What kernels need for themselves while they run is not
    counted, so that the figure is the same on every device.

    Args:
        model: compiled; trained or not.
        x: inputs (N, ...), arrays or tensors, as in `fit`.
        y: targets (N, ...), likewise.
        sample_weight: (N,), likewise.
        batch_size: observations in the step; fewer where there are fewer.
        class_weight: class -> weight, as in `fit`.

    Raises:
        NotCompiledError: before `compile`.
        DataError, LabelError, ShapeError, DtypeError: naming what is wrong with the data.

    >>> import torch, laminar as lm
    >>> model = lm.Sequential([lm.layers.Dense(10)])
    >>> model.compile("sgd", "mse", device="cpu")
    >>> x, y = torch.zeros(100, 20), torch.zeros(100, 10)
    >>> step_memory(model, x, y) > 4 * (2 * 210 + 100 * 20 + 100 * 10)  # weights, gradients and batch
    True
    """
    with seeding.preserved():
        copied = copy.deepcopy(model)
        recipe = copied._compiled("step_memory")
        few = slice(0, batch_size)
        data = tree_map(
            lambda t: None if t is None else t[few], (copied._arranged(x), copied._arranged_targets(y), sample_weight)
        )
        order = Order(batch_size, shuffle="once")  # so that the batch is cut out as in training, and no part of all the data
        batches = copied._batches(data, order, recipe.device, class_weight=class_weight)
        pace = copied._learner.pace(recipe.optimizer, copied, "step_memory")
        step = copied._plan(recipe, batches).eager_step(pace)
        batch = next(iter(batches.epoch(1)))
        copied.train()
        step(batch)
        held = [*copied.parameters(), *copied.buffers()], [dict(of_one) for of_one in pace.optimizer.state.values()]
        known = [t for t in tree_leaves((held, batch.x, batch.y, batch.weight)) if isinstance(t, Tensor)]
        return _bytes(known) + counted(lambda: step(batch), known)


def memory_of_run(model: Model, data: tuple[Any, Any, Any], fit: Mapping[str, Any]) -> int | None:
    """Return `step_memory` of a training, or None where it cannot be had: a figure beside the point fails no run.

    Args:
        model: the trained network.
        data: (x, y, weight) of the training; a source of batches (y is None) is not read for this.
        fit: arguments of `Model.fit`.
    """
    x, y, weight = data
    if y is None:
        return None
    try:
        return step_memory(model, x, y, weight, **{name: fit[name] for name in ("batch_size", "class_weight") if name in fit})
    except Exception:
        return None


def _bytes(tensors: list[Tensor]) -> int:
    """Return the bytes of their storages, each counted once."""
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())
