"""The table of a network: every layer with its output shape, parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from laminar.layers.base import Layer
from laminar.layers.factors import factors_of
from laminar.layers.recompute import recomputes
from laminar.shapes import Record, Trace, format_shape

__all__ = ["Summary", "SummaryRow", "own_parameters", "rows_of", "summarize"]


@dataclass(frozen=True)
class SummaryRow:
    """One layer of the table.

    Attributes:
        path: the layer's place in the network.
        layer: its class and settings.
        output: shape of one observation of each output.
        learnable: parameters that learn.
        frozen: parameters that do not.
        multiply_adds: for one observation.
    """

    path: str
    layer: str
    output: tuple[tuple[int, ...], ...]
    learnable: int
    frozen: int
    multiply_adds: int


@dataclass(frozen=True)
class Summary:
    """A network's table; `str` gives it as text.

    Attributes:
        title: the network's class and the input's shape.
        rows: one for each layer, in the order of the calls. A layer that is called twice has two rows and its parameters in
            the first. A module of which only a part is called (torch's attention) has its parts' parameters in its own row.
        learnable: parameters of the whole network that learn, each counted once.
        frozen: those that do not.
        multiply_adds: of one observation through the whole network; 0 for operations that torch has no formula for.
    """

    title: str
    rows: tuple[SummaryRow, ...]
    learnable: int
    frozen: int
    multiply_adds: int

    def __str__(self) -> str:
        """Return the table as text."""
        header = ("path", "layer", "output", "learnable", "frozen", "multiply-adds")
        body = [
            (
                r.path,
                r.layer,
                " ".join(map(format_shape, r.output)),
                f"{r.learnable:,}",
                f"{r.frozen:,}",
                f"{r.multiply_adds:,}",
            )
            for r in self.rows
        ]
        total = ("total", "", "", f"{self.learnable:,}", f"{self.frozen:,}", f"{self.multiply_adds:,}")
        widths = [max(len(row[i]) for row in [header, *body, total]) for i in range(len(header))]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))

        def line(cells: tuple[str, ...]) -> str:
            aligned = [c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
            return "  ".join(aligned).rstrip()

        return "\n".join([self.title, line(header), rule, *map(line, body), rule, line(total)])

    def __repr__(self) -> str:
        """Return one line: a shell shows it after the table itself was printed."""
        return f"<Summary: {len(self.rows)} layers, {self.learnable + self.frozen:,} parameters>"


def summarize(model: nn.Module, found: Trace, inputs: tuple[tuple[int, ...], ...]) -> Summary:
    """Return the table of `model` from the trace of one run on observations of the shapes `inputs`."""
    rows = [row for _, row in rows_of(found)]
    learnable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    whole = next((r.multiply_adds for r in reversed(found.records) if r.path == ""), 0)
    title = f"{type(model).__name__}, input {' '.join(map(format_shape, inputs))}"
    return Summary(title, tuple(rows), learnable, frozen, whole)


def rows_of(found: Trace) -> list[tuple[Record, SummaryRow]]:
    """Return the calls that the table shows, each with its row."""
    counted: set[int] = set()
    called = {id(r.module) for r in found.records}
    again = {id(sub) for r in found.records if recomputes(r.module) for sub in r.module.modules()}
    return [(r, _row(r, called, counted, again)) for r in found.records if _has_row(r, called)]


def own_parameters(record: Record, found: Trace) -> dict[str, nn.Parameter]:
    """Return the parameters of a called module that no part of it shows, by name, also where an earlier call showed them."""
    names = {id(p): name for name, p in record.module.named_parameters()}
    return {names[id(p)]: p for p in _own(record.module, {id(r.module) for r in found.records})}


def _has_row(record: Record, called: set[int]) -> bool:
    """Return whether a call is shown: of a layer, of what has no parts that were called, of what has parameters of its own."""
    module = record.module
    if next(_own(module, called), None) is not None or (isinstance(module, Layer) and record.path):
        return True
    return not any(id(sub) in called for sub in module.modules() if sub is not module)


def _own(module: nn.Module, called: set[int]) -> Iterator[nn.Parameter]:
    """Yield the parameters that no other row shows: a layer's all, else those outside the parts that were called."""
    yield from module.parameters(recurse=isinstance(module, Layer))
    if not isinstance(module, Layer):
        for child in module.children():
            if id(child) not in called:  # torch's attention applies its projections without calling them
                yield from _own(child, called)


def _row(record: Record, called: set[int], counted: set[int], again: set[int]) -> SummaryRow:
    module = record.module
    parameters = [p for p in {id(p): p for p in _own(module, called)}.values() if id(p) not in counted]
    counted.update(id(p) for p in parameters)
    settings = [module.extra_repr()] if isinstance(module, Layer) and module.extra_repr() else []
    settings += [f"learning_rate_factor{f' of {name}' if name else ''}={f:g}" for name, f in factors_of(module).items()]
    settings += ["recompute=True"] if id(module) in again else []  # the flag is its own, or that of what it is in
    return SummaryRow(
        record.path or "(the network)",
        f"{type(module).__name__}({', '.join(settings)})" if settings else type(module).__name__,
        record.outputs,
        sum(p.numel() for p in parameters if p.requires_grad),
        sum(p.numel() for p in parameters if not p.requires_grad),
        record.multiply_adds,
    )
