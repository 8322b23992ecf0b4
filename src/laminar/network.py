"""`Network`: what every network has, whether it trains or not: shapes, parameters, table, explanation, weights in files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

import torch
from torch import nn

from laminar import seeding, shapes, symbols
from laminar.errors import ArgumentError, LayerError, NotBuiltError, complaint
from laminar.explain import explain
from laminar.fit import arguments, checkpoint
from laminar.graph import Graph, make_graph
from laminar.layers.arithmetic import Explanation
from laminar.layers.base import Layer, default_name
from laminar.layers.chain import in_order
from laminar.layers.freezing import set_trainable
from laminar.layers.recompute import Recompute, checkpointed
from laminar.names import unknown_name
from laminar.shapes import Shape
from laminar.snapshots import is_unbuilt
from laminar.summary import Summary, summarize

__all__ = ["Network"]


class Network(nn.Module):
    """A network, with shapes: the base of `Model`, which adds training.

    Args:
        inputs: what `Input` returned, or a list, tuple or dict of these; None in a subclass with a forward of its own.
        outputs: what layers and functions returned for them, likewise.
        name: its name as a part of another network; made from the class where None.
    """

    is_chain = False

    def __init__(self, inputs: Any = None, outputs: Any = None, *, name: str | None = None) -> None:
        super().__init__()
        self.name = name or default_name(type(self))
        self._input_shapes: tuple[Shape, ...] | None = None
        self._output_shapes: tuple[Shape, ...] = ()
        self._input_dtypes: tuple[torch.dtype | None, ...] = ()
        self._graph: Graph | None = None
        if inputs is not None or outputs is not None:
            graph = self._graph = make_graph(self, inputs, outputs)
            self._input_shapes, self._output_shapes = graph.shapes, graph.output_shapes
            self._input_dtypes = tuple(None if d.is_floating_point else d for d in graph.dtypes)
            self._tell_paths()

    def _run_graph(self, *inputs: Any) -> Any:
        """Return the outputs of a network that was made from inputs and outputs."""
        if self._graph is None:
            expected, fix = "a forward of its own, or inputs and outputs", "Define forward(self, x)"
            raise LayerError(complaint(type(self).__name__, expected=expected, received="neither", fix=fix))
        return self._graph.run(self, inputs)

    forward: Callable[..., Any] = _run_graph
    """Return the outputs for a batch; see the class."""

    def tail(self) -> list[nn.Module]:
        """Return the children that the output goes through last, in order, each used by the next alone.

        All of a chain; the last ones of a network made from inputs and one output; none where nobody can tell.
        """
        if self.is_chain:
            return in_order(self)
        graph = self._graph if type(self).forward is Network.forward else None
        names = graph.tail() if graph is not None and len(graph.output_names) == 1 else []
        return [self.get_submodule(name) for name in names]

    def __call__(self, *inputs: Any, **kwargs: Any) -> Any:
        """Return the outputs, (B, ...); symbols, where the network is called on symbols as a part of another one."""
        if symbols.any_symbol(inputs, kwargs):
            return symbols.call(self, inputs, kwargs)
        run = super().__call__
        return checkpointed(self, run, inputs, kwargs) if self.recompute else run(*inputs, **kwargs)

    # -- building -------------------------------------------------------------------------------------------------------

    @property
    def input_shape(self) -> Shape | tuple[Shape, ...] | None:
        """The shape of one observation (several: one for each input); None before the network is built."""
        return _one(self._input_shapes) if self._input_shapes else None

    @property
    def output_shape(self) -> Shape | tuple[Shape, ...]:
        """The shape of one observation of the output.

        Raises:
            NotBuiltError: before the network is built.
        """
        self._need_built("output_shape")
        return _one(self._output_shapes)

    def build(self, *shape: int | Sequence[int], seed: int | None = None) -> Self:
        """Create the parameters of every layer for observations of `shape`, and return the network.

        Args:
            *shape: without the batch axis, one for each input; may be left out where `Input` has told it.
            seed: of the initial values; each layer's depend on the seed and its own path only. torch's global generator
                where None.

        Raises:
            ArgumentError: if `shape` is no shape.
            ShapeError: from the layer that cannot take what it is given.
            LayerError: naming another module that fails, with what it said.

        >>> from laminar import Sequential, layers as L
        >>> Sequential([L.Flatten(), L.Dense(10)]).build((1, 28, 28), seed=0).output_shape
        (10,)
        """
        where = f"{type(self).__name__}.build"
        known = self._graph is not None and not shape
        inputs = (self._input_shapes or ()) if known else arguments.input_shapes(where, shape, one=self.is_chain)
        dtypes = self._input_dtypes if self._graph is not None else ()
        self._run_for_shapes(inputs, dtypes, arguments.seed_of(f"{where}(seed=)", seed), anew=True)
        return self

    def _run_for_shapes(
        self, inputs: Sequence[Shape], dtypes: tuple[torch.dtype | None, ...], seed: int | None, *, anew: bool = False
    ) -> tuple[Shape, ...]:
        """Return the shapes that come out for those that go in; those of the first time, or `anew`, are the network's own."""
        if self.is_chain and len(inputs) != 1:
            fix = "Pass one array, or derive from Model with forward(self, a, b)"
            raise ArgumentError(
                complaint(type(self).__name__, expected="one input", received=f"{len(inputs)}, in a tuple", fix=fix)
            )
        self._tell_paths()
        # our layers draw from the seed and their path, other modules that build themselves from torch's global generator
        with seeding.seeded(seed), arguments.noise(seed, torch.device("cpu"), "build"):
            if self._lacks_parameters and not anew:
                self._build_as_told(inputs, dtypes)
            found = shapes.trace(self, *inputs, dtype=dtypes or None)
        if anew or self._input_shapes is None:
            self._input_shapes, self._input_dtypes = tuple(inputs), dtypes
            self._output_shapes = found.outputs
        return found.outputs

    def _build_as_told(self, inputs: Sequence[Shape], dtypes: tuple[torch.dtype | None, ...]) -> None:
        """Make the parameters for the shapes that `Input` has told, if the network then takes `inputs`, too."""
        told = self._input_shapes or ()
        if tuple(inputs) == told:
            return
        with shapes.imagined(self) as model:
            shapes.trace(model, *told, dtype=self._input_dtypes)
            shapes.trace(model, *inputs, dtype=dtypes or None)
        shapes.trace(self, *told, dtype=self._input_dtypes)

    def _tell_paths(self) -> None:
        for name, module in self.named_modules():
            if isinstance(module, Layer):
                module.path = name.replace(".", "/")

    @property
    def _lacks_parameters(self) -> bool:
        """Whether shapes are known, from `Input`, and parameters are not there yet."""
        return self._graph is not None and any(is_unbuilt(m) for m in self.modules())

    def _need_built(self, what: str, *, parameters: bool = False) -> tuple[Shape, ...]:
        if self._input_shapes is None or (parameters and self._lacks_parameters):
            expected, received = "a network that knows its input shape", "one that has not seen data yet"
            fix = "Call model.build((channels, height, width)) first"
            raise NotBuiltError(complaint(f"{type(self).__name__}.{what}", expected=expected, received=received, fix=fix))
        return self._input_shapes

    @property
    def trainable(self) -> bool:
        """Whether any parameter learns; set it to freeze or unfreeze every layer."""
        return any(p.requires_grad for p in self.parameters())

    @trainable.setter
    def trainable(self, value: bool) -> None:
        set_trainable(self, bool(value))

    recompute = Recompute()
    """As a layer's: whether what the network computes on the way to its output is computed once more in the backward pass."""

    def summary(self, *, show: bool = True) -> Summary:
        """Print and return the table of layers: path, layer, output shape, parameters, multiply-adds.

        Args:
            show: whether to print it.

        Raises:
            NotBuiltError: before the network has seen an input shape.
        """
        inputs = self._need_built("summary")
        with self._traceable() as model:
            result = summarize(model, shapes.trace(model, *inputs, dtype=self._input_dtypes or None), inputs)
        if show:
            print(result)
        return result

    def explain(self, *, show: bool = True) -> Explanation:
        """Print and return, layer by layer, how output shapes and parameters come about.

        Args:
            show: whether to print it.

        Raises:
            NotBuiltError: before the network has seen an input shape.
        """
        inputs = self._need_built("explain")
        with self._traceable() as model:
            result = explain(model, shapes.trace(model, *inputs, dtype=self._input_dtypes or None), inputs)
        if show:
            print(result)
        return result

    def _traceable(self) -> AbstractContextManager[nn.Module]:
        """Return the network, or a copy that is built without values where it has no parameters yet."""
        return shapes.imagined(self) if self._lacks_parameters else nullcontext(self)

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and buffers (fitted statistics of the data too) to a safetensors file, whole or not at all.

        Raises:
            FileError: if the file cannot be written.
        """
        self._need_built("save_weights", parameters=True)
        checkpoint.save_weights(self, path)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Read what `save_weights` wrote; the network must be built. On any error nothing is changed.

        Raises:
            FileError: if the file is missing, truncated or no safetensors file.
            ShapeError: if its names or shapes are not those of this network.
        """
        self._need_built("load_weights", parameters=True)
        checkpoint.load_weights(self, path)

    # -- parts ----------------------------------------------------------------------------------------------------------

    def __getitem__(self, key: int | str) -> nn.Module:
        """Return a layer by its position among the network's own, or by the path that `summary` shows.

        Raises:
            UnknownNameError: if there is no layer of that name.
            IndexError: if there is no such position.
        """
        if isinstance(key, int):
            return in_order(self)[key]
        named = {name.replace(".", "/"): module for name, module in self.named_modules() if name}
        if key not in named:
            raise unknown_name("layer", key, named)
        found: nn.Module = named[key]
        return found

    def reset_states(self) -> None:
        """Let every stateful recurrent layer begin with states of zero, at the start of another series."""
        for module in self.modules():
            if module is not self and callable(reset := getattr(module, "reset_states", None)):
                reset()


def _one(values: tuple[Shape, ...]) -> Shape | tuple[Shape, ...]:
    return values[0] if len(values) == 1 else values
