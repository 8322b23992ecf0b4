"""What a training step changes beside the parameters, so that one that was broken off can be done again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from laminar.snapshots import Before

__all__ = ["Undo"]


class Undo:
    """Notes before each step what the step may change in a network, and puts it back.

    That is: buffers, tensors and other attributes of its modules (running statistics, states of recurrent layers, counters),
    and torch's random generators. Everything is noted before the first step; later, to cost microseconds, only what the first
    step was seen to change. Parameters and their gradients are not looked at.

    Args:
        model: the network, built and on its device.

    >>> layer = nn.BatchNorm1d(1, momentum=1.0)
    >>> undo = Undo(layer)
    >>> undo.note()
    >>> _ = layer(torch.tensor([[2.0], [4.0]]))
    >>> layer.running_mean.item(), undo.put_back(), layer.running_mean.item()
    (3.0, None, 0.0)
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._steps = 0
        self._before = Before.of(())
        self._watched: list[nn.Module] = []  # modules whose attributes become others
        self._kept: list[tuple[dict[str, Any], str, Tensor]] = []  # tensors that are written to: table, name, tensor
        self._written: list[Tensor] = []  # the same, without graph
        self._copies: list[Tensor] = []
        self._drawn_from: list[torch.Generator] = []
        self._states: list[Tensor] = []

    def note(self) -> None:
        """Note how everything is, before a step."""
        if self._steps == 1:
            self._look_at_first_step()
        for table, name, tensor in self._kept:
            if table.get(name) is not tensor:
                self._steps = 0  # the network was changed or moved
                break
        if not self._steps:
            modules = list(self._model.modules())
            self._watched, self._kept = modules, [entry for module in modules for entry in _tensors(module)]
            self._written = [tensor.detach() for _, _, tensor in self._kept]
            self._copies = [tensor.clone() for tensor in self._written]
            self._drawn_from = self._global_generators()
        elif self._copies:
            torch._foreach_copy_(self._copies, self._written)
        if self._watched:
            self._before = Before.of(self._watched)
        self._states = [generator.get_state() for generator in self._drawn_from]
        self._steps += 1

    @torch.no_grad()
    def put_back(self) -> None:
        """Leave everything as it was when it was noted; it stays noted."""
        self._before.put_back()
        for (_, _, tensor), copy in zip(self._kept, self._copies, strict=True):
            tensor.copy_(copy)
        for generator, state in zip(self._drawn_from, self._states, strict=True):
            generator.set_state(state)

    @property
    def has_drawn(self) -> bool:
        """Whether random numbers were drawn since."""
        pairs = zip(self._drawn_from, self._states, strict=True)
        return any(not torch.equal(generator.get_state(), state) for generator, state in pairs)

    def _look_at_first_step(self) -> None:
        """Go on with what the first step has changed."""
        self._watched, self._before = self._before.changed(), Before.of(())
        self._kept = [
            (table, name, tensor)
            for (table, name, tensor), copy in zip(self._kept, self._copies, strict=True)
            if table.get(name) is tensor and not torch.equal(tensor, copy)
        ]
        self._written = [tensor.detach() for _, _, tensor in self._kept]
        self._copies = [tensor.clone() for tensor in self._written]

    def _global_generators(self) -> list[torch.Generator]:
        """Return the global generators of the CPU, and of the GPU that the network is on."""
        device = next((p.device for p in self._model.parameters()), torch.device("cpu"))
        if device.type != "cuda":
            return [torch.default_generator]
        number = torch.cuda.current_device() if device.index is None else device.index
        return [torch.default_generator, torch.cuda.default_generators[number]]


def _tensors(module: nn.Module) -> list[tuple[dict[str, Any], str, Tensor]]:
    """Return the tensors that a module holds beside its parameters: in which table, under which name."""
    tables: list[dict[str, Any]] = [module._buffers, module.__dict__]
    return [(table, name, value) for table in tables for name, value in table.items() if isinstance(value, Tensor)]
