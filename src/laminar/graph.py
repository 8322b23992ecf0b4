"""Networks written as expressions: `Input`, and the graph between inputs and outputs.

The graph runs as a Python function that torch.fx writes from it, one line for each call, as in a forward by hand: open
to `torch.compile`, and there to be read, as `Graph.code`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import getitem
from typing import Any

import torch
from torch import Tensor, fx, nn

from laminar.errors import ArgumentError, DtypeError, LayerError, complaint
from laminar.layers.base import label_of
from laminar.layers.naming import free_name
from laminar.shapes import Shape, format_shape, normalize_shape
from laminar.symbols import Node, Ref, Symbol, input_symbol, map_leaves, refer

__all__ = ["Graph", "Input", "make_graph"]

_PLAIN = (int, float, complex, str, bytes, type(None), slice, type(...), torch.dtype, torch.device, torch.memory_format)


def Input(  # noqa: N802  # a function with the name that Keras gave it
    shape: int | Sequence[int], *, dtype: torch.dtype | str | None = None, name: str | None = None
) -> Symbol:
    """Return an input of a network that is written as an expression: a symbol, on which layers and functions are called.

    Args:
        shape: of one observation, channels first, without the batch axis.
        dtype: "int64" for whole numbers (of an Embedding); torch's default where None.
        name: by which data in a dict is assigned to it.

    Raises:
        ArgumentError: if `shape` is no shape.
        DtypeError: if torch has no such dtype.

    Source: Keras' functional API.

    >>> from laminar import Model, layers as L
    >>> a, b = Input((4,)), Input((4,))
    >>> shared = L.Dense(8, activation="relu")
    >>> model = Model([a, b], L.Dense(1)(shared(a) - shared(b))).build(seed=0)
    >>> model(torch.zeros(2, 4), torch.ones(2, 4)).shape
    torch.Size([2, 1])
    """
    try:
        sizes = normalize_shape(shape)
    except (TypeError, ValueError):
        sizes = (0,)
    if any(n < 1 for n in sizes) or isinstance(shape, str):
        fix = "Write Input((3, 32, 32)), without the batch axis"
        raise ArgumentError(complaint("Input(shape=)", expected="whole numbers of at least 1", received=f"{shape!r}", fix=fix))
    kind = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype or torch.get_default_dtype()
    if not isinstance(kind, torch.dtype):
        raise DtypeError(
            complaint("Input(dtype=)", expected="a dtype of torch", received=f"{dtype!r}", fix='Pass "float32" or "int64"')
        )
    return input_symbol(sizes, kind, name or "")


@dataclass(frozen=True)
class _Value:
    """One tensor in the result of a step (by number; inputs come first)."""

    step: int
    path: tuple[int | str, ...]


@dataclass(frozen=True)
class _Step:
    """One call: of the module called `target` ("dense"), a function ("torch.cat"), a method (".mean") or a property ("@T")."""

    target: str
    is_module: bool
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class _Held:
    """A parameter or a constant of the network, by its name there."""

    name: str


@dataclass
class Graph:
    """What runs between the inputs and the outputs of a network; plain data, which is copied and pickled with it.

    Attributes:
        names: of the inputs.
        shapes: of one observation of each input.
        dtypes: of the inputs.
        output_names: keys of a dict of outputs, else the name of the layer that each comes from.
        output_shapes: of one observation of each output.
        outputs: a tensor of the graph, or a list, tuple or dict of them.
        steps: the calls, in an order in which they can run.
    """

    names: tuple[str, ...]
    shapes: tuple[Shape, ...]
    dtypes: tuple[torch.dtype, ...]
    output_names: tuple[str, ...] = ()
    output_shapes: tuple[Shape, ...] = ()
    outputs: Any = None
    steps: list[_Step] = field(default_factory=list)
    _forward: Callable[..., Any] | None = None

    @property
    def code(self) -> str:
        """The function that runs, as Python."""
        return self._fx().python_code("self").src

    def run(self, owner: nn.Module, inputs: tuple[Any, ...]) -> Any:
        """Return the outputs for `inputs`: one after the other, in one list or tuple, or in a dict by name.

        Raises:
            ArgumentError: if there are more or fewer.
        """
        if len(inputs) != len(self.names) or isinstance(inputs[0], dict):
            inputs = self.arranged(inputs[0] if len(inputs) == 1 else inputs)
        assert self._forward is not None
        return self._forward(owner, *inputs)

    def arranged(self, inputs: Any) -> tuple[Any, ...]:
        """Return a list, tuple or dict of inputs in the order of `names`.

        Raises:
            ArgumentError: if some are missing, or there are others.
        """
        given: tuple[Any, ...] = ()
        received = type(inputs).__name__
        if isinstance(inputs, dict):
            received = f"a dict of {', '.join(map(repr, inputs)) or 'nothing'}"
            if set(inputs) == set(self.names):
                given = tuple(inputs[name] for name in self.names)
        elif isinstance(inputs, list | tuple):
            received = str(len(inputs))
            given = tuple(inputs)
        if len(given) != len(self.names):
            wanted = ", ".join(f"{n!r} {format_shape(s)}" for n, s in zip(self.names, self.shapes, strict=True))
            fix = "Pass one tensor for each, in this order, or a dict by name"
            raise ArgumentError(complaint("the network's inputs", expected=wanted, received=received, fix=fix))
        return given

    def tail(self, output: int = 0) -> list[str]:
        """Return the names of the modules that an output goes through last, in order, each called once and used by the next."""
        uses = [v.step for v in _values((self.outputs, [(s.args, s.kwargs) for s in self.steps]))]
        called = [s.target for s in self.steps if s.is_module]
        names: list[str] = []
        value: _Value | None = _values(self.outputs)[output]
        while value is not None and value.step >= len(self.names) and not value.path and uses.count(value.step) == 1:
            step = self.steps[value.step - len(self.names)]
            if not step.is_module or called.count(step.target) != 1:
                break
            names.insert(0, step.target)
            plain = len(step.args) == 1 and not step.kwargs and isinstance(step.args[0], _Value)
            value = step.args[0] if plain else None
        return names

    def links(self) -> list[tuple[str, str]]:
        """Return the names of modules (a, b), each called once, where b is given what a returns, and nothing else is."""
        uses = Counter(v.step for v in _values((self.outputs, [(s.args, s.kwargs) for s in self.steps])))
        called = Counter(s.target for s in self.steps if s.is_module)
        found = []
        for step in self.steps:
            plain = len(step.args) == 1 and not step.kwargs and isinstance(step.args[0], _Value)
            value = step.args[0] if plain else None
            if value is None or value.path or value.step < len(self.names) or uses[value.step] != 1:
                continue
            before = self.steps[value.step - len(self.names)]
            if step.is_module and before.is_module and called[step.target] == called[before.target] == 1:
                found.append((before.target, step.target))
        return found

    # -- the function that runs ------------------------------------------------------------------------------------------

    def prepare(self) -> Graph:
        """Write and compile the function; returns the graph."""
        graph = self._fx()
        targets = {str(n.target) for n in graph.nodes if n.op in ("call_module", "get_attr")}
        written = fx.GraphModule(dict.fromkeys(targets, nn.Module()), graph)
        self._forward = type(written).forward
        return self

    def _fx(self) -> fx.Graph:
        """Return the graph as torch.fx has it."""
        graph = fx.Graph()
        # numbered: torch.fx renames what Python has a word for, "input" among them, and may then use one name for two
        results = [graph.placeholder(f"x{i}") for i in range(len(self.names))]

        def node(leaf: Any, _: Any) -> Any:
            if isinstance(leaf, _Held):
                return graph.get_attr(leaf.name)
            if not isinstance(leaf, _Value):
                return leaf
            found = results[leaf.step]
            for key in leaf.path:
                found = graph.call_function(getitem, (found, key))
            return found

        for step in self.steps:
            args, kwargs = map_leaves(node, step.args), map_leaves(node, step.kwargs)
            if step.is_module:
                results.append(graph.call_module(step.target, args, kwargs))
            elif step.target[0] == ".":
                results.append(graph.call_method(step.target[1:], args, kwargs))
            elif step.target[0] == "@":
                results.append(graph.call_function(getattr, (args[0], step.target[1:])))
            else:
                results.append(graph.call_function(_function(step.target), args, kwargs))
        graph.output(map_leaves(node, self.outputs))
        return graph

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_forward": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.prepare()


def _values(nest: Any) -> list[_Value]:
    found: list[Any] = []
    map_leaves(lambda leaf, _: found.append(leaf), nest)
    return [leaf for leaf in found if isinstance(leaf, _Value)]


def _function(name: str) -> Callable[..., Any]:
    found: Any = torch
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    function: Callable[..., Any] = found
    return function


# -- from symbols to a graph ----------------------------------------------------------------------------------------------


def make_graph(owner: nn.Module, inputs: Any, outputs: Any) -> Graph:
    """Return the graph from `inputs` to `outputs`, having made the modules in it children of `owner`.

    Args:
        owner: the network.
        inputs: a symbol, or a list, tuple or dict of them.
        outputs: symbols that follow from them, likewise.

    Raises:
        ArgumentError: if something else is among them, or an input is not used.
        LayerError: if an output depends on something that is not among the inputs.
    """
    where = type(owner).__name__
    given = _symbols(f"{where}(inputs=)", inputs)
    wanted = _symbols(f"{where}(outputs=)", outputs)
    starts = {(r.node, r.path): i for i, r in enumerate(refer(given))}
    if len(starts) < len(given):
        raise ArgumentError(complaint(f"{where}(inputs=)", expected="each once", received="one twice", fix="Leave one out"))
    nodes = _between(where, starts, refer(wanted))
    names = _input_names(inputs, refer(given))
    _all_used(where, names, given, starts, nodes, refer(wanted))
    graph = Graph(names, tuple(s.observation for s in given), tuple(_dtype(s) for s in given))
    made = _Attached(owner, starts, {node: i for i, node in enumerate(nodes, len(given))})
    graph.steps = [made.step(node) for node in nodes]
    graph.outputs = map_leaves(made.value, refer(outputs))
    graph.output_shapes = tuple(s.observation for s in wanted)
    graph.output_names = _output_names(outputs, graph)
    return graph.prepare()


def _dtype(symbol: Symbol) -> torch.dtype:
    with torch._C.DisableTorchFunctionSubclass():
        return symbol.dtype


def _symbols(where: str, value: Any) -> list[Symbol]:
    """Return the symbols in `value`; there is at least one, and nothing else."""
    found: list[Any] = []
    map_leaves(lambda leaf, _: found.append(leaf), value)
    for leaf in found or [value]:
        if not isinstance(leaf, Symbol):
            expected = "what layers returned for symbols of Input" if "outputs" in where else "symbols of laminar.Input"
            received = "a tensor" if isinstance(leaf, Tensor) else f"{leaf!r}" if leaf is None else type(leaf).__name__
            fix = "Write inputs = Input((3, 32, 32)), outputs = layer(inputs)"
            raise ArgumentError(complaint(where, expected=expected, received=received, fix=fix))
        if not leaf.has_batch:
            fix = "Keep axis 0: x.mean(1), not x.mean()"
            raise ArgumentError(
                complaint(where, expected="a result for each observation", received="one without a batch axis", fix=fix)
            )
    return found


def _between(where: str, starts: dict[Any, int], ends: list[Ref]) -> list[Node]:
    """Return the nodes that lead from the inputs to `ends`, in the order in which they were made."""
    found: set[Node] = set()
    waiting: list[tuple[Ref, Node | None]] = [(end, None) for end in ends]
    while waiting:
        ref, user = waiting.pop()
        if (ref.node, ref.path) in starts or ref.node in found:
            continue
        if ref.node.target is None:
            raise _disconnected(where, ref.node, user)
        found.add(ref.node)
        waiting += [(r, ref.node) for r in _refs(ref.node)]
    return sorted(found, key=lambda node: node.serial)


def _refs(node: Node) -> list[Ref]:
    found: list[Any] = []
    map_leaves(lambda leaf, _: found.append(leaf), (node.args, node.kwargs))
    return [leaf for leaf in found if isinstance(leaf, Ref)]


def _disconnected(where: str, missing: Node, user: Node | None) -> LayerError:
    called = f"the input {missing.name!r}" if missing.name else "another Input"
    if user is None:
        place = f"{where}(outputs=)"
    else:
        place = f"{where}: {label_of(user.target) if isinstance(user.target, nn.Module) else user.target}"
    return LayerError(
        complaint(
            place,
            expected="values that follow from the inputs of the network",
            received=f"one that depends on {called}, which is not among them",
            fix=f"Add it: {where}([..., {missing.name or 'other'}], outputs)",
        )
    )


def _all_used(
    where: str, names: Sequence[str], given: Sequence[Symbol], starts: dict[Any, int], nodes: list[Node], ends: list[Ref]
) -> None:
    used = {starts.get((r.node, r.path)) for r in [*ends, *(r for node in nodes for r in _refs(node))]}
    for i, name in enumerate(names):
        if i not in used:
            raise ArgumentError(
                complaint(
                    f"{where}(inputs=)",
                    expected="inputs that the outputs depend on",
                    received=f"{name!r} {format_shape(given[i].observation)}, on which none depends",
                    fix="Leave it out, or call a layer on it",
                )
            )


def _input_names(inputs: Any, refs: Sequence[Ref]) -> tuple[str, ...]:
    if isinstance(inputs, dict):
        return tuple(map(str, inputs))
    return _numbered([ref.node.name or "input" for ref in refs])


def _output_names(outputs: Any, graph: Graph) -> tuple[str, ...]:
    if isinstance(outputs, dict):
        return tuple(map(str, outputs))
    called = [*graph.names, *(s.target.rpartition(".")[2].lstrip("@") for s in graph.steps)]
    return _numbered([called[v.step] for v in _values(graph.outputs)])


def _numbered(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names, each once: the second "input" is "input_1"."""
    found: list[str] = []
    for name in names:
        number, free = 0, name
        while free in found:
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return tuple(found)


class _Attached:
    """Makes steps of nodes, and the modules, parameters and constants in them parts of the network."""

    def __init__(self, owner: nn.Module, starts: dict[Any, int], numbers: dict[Node, int]) -> None:
        self._owner, self._starts, self._numbers = owner, starts, numbers
        self._held: dict[int, str] = {}

    def step(self, node: Node) -> _Step:
        args, kwargs = map_leaves(self.value, node.args), map_leaves(self.value, node.kwargs)
        if isinstance(node.target, nn.Module):
            return _Step(self._module(node.target), True, args, kwargs)
        return _Step(str(node.target), False, args, kwargs)

    def value(self, leaf: Any, _: Any = ()) -> Any:
        if isinstance(leaf, Ref):
            start = self._starts.get((leaf.node, leaf.path))
            return _Value(self._numbers[leaf.node], leaf.path) if start is None else _Value(start, ())
        if isinstance(leaf, Tensor):
            return _Held(self._tensor(leaf))
        if isinstance(leaf, _PLAIN):
            return leaf
        raise ArgumentError(
            complaint(
                type(self._owner).__name__,
                expected="calls with symbols, tensors, numbers, text and the like",
                received=f"a {type(leaf).__name__} as argument of one",
                fix="Give it to the layer's constructor",
            )
        )

    def _module(self, module: nn.Module) -> str:
        known = next((name for name, child in self._owner.named_children() if child is module), None)
        if known is None:
            known = free_name(self._owner, module, type(self._owner).__name__)
            self._owner.add_module(known, module)
        return known

    def _tensor(self, tensor: Tensor) -> str:
        """Return the name under which the network has `tensor`, giving it one if need be."""
        known = next((name for name, p in self._owner.named_parameters() if p is tensor), self._held.get(id(tensor)))
        if known is not None:
            return known
        if tensor.is_meta or tensor.grad_fn is not None:
            made = "made on x.device" if tensor.is_meta else "computed from parameters that learn"
            raise ArgumentError(
                complaint(
                    type(self._owner).__name__,
                    expected="constants and parameters beside the symbols",
                    received=f"a tensor {made} before the network runs",
                    fix="Make it in the forward of a Layer of your own",
                )
            )
        default = "parameter" if isinstance(tensor, nn.Parameter) else "constant"
        taken = [*self._owner._parameters, *self._owner._buffers]
        name = _numbered([*(n for n in taken if n.startswith(default)), default])[-1]
        if isinstance(tensor, nn.Parameter):
            self._owner.register_parameter(name, tensor)
        else:
            self._owner.register_buffer(name, tensor.detach())
        self._held[id(tensor)] = name
        return name
