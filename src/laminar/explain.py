"""The arithmetic of a network: that of each of its layers, and the sum of their parameters."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from laminar.layers.arithmetic import Arithmetic, Explanation, count, explanation, listing
from laminar.layers.base import Layer
from laminar.shapes import Record, Shape, Trace
from laminar.summary import SummaryRow, own_parameters, rows_of

__all__ = ["explain"]


def explain(model: nn.Module, found: Trace, inputs: tuple[Shape, ...]) -> Explanation:
    """Return the explanation of `model`: a part for each row of its summary, in that order, and the sum of their parameters.

    Args:
        model: the network, built.
        found: the trace of one run of it.
        inputs: the shape of one observation of each input.
    """
    rows = rows_of(found)
    parts = tuple(_part(record, row, own_parameters(record, found)) for record, row in rows)
    counts = [part.parameters for part in parts if part.parameters]
    total = sum(p.numel() for p in model.parameters())
    uncalled = total - sum(counts)
    counts += [uncalled] if uncalled else []
    terms = " + ".join(map(count, counts))
    line = f"parameters: {terms} = {count(total)}" if len(counts) > 1 else f"parameters: {count(total)}"
    whole = Arithmetic(found.outputs if len(found.outputs) != 1 else found.outputs[0], total, (line,))
    return replace(explanation(type(model).__name__, inputs, whole), parts=parts)


def _part(record: Record, row: SummaryRow, own: dict[str, nn.Parameter]) -> Explanation:
    """Return the explanation of one call, with the parameters that its row of the summary shows."""
    module, shown = record.module, row.learnable + row.frozen
    if isinstance(module, Layer):
        one = module.input_shape is not None and all(isinstance(n, int) for n in module.input_shape)
        part = module.explain(*(record.inputs[:1] if one else record.inputs))  # beside its input it may be given a mask
    else:
        lines, total = listing([(name, tuple(p.shape)) for name, p in own.items()])
        output = record.outputs[0] if len(record.outputs) == 1 else record.outputs
        part = explanation(type(module).__name__, record.inputs, Arithmetic(output, total, lines))
    lines = part.lines
    if shown != part.parameters:
        lines = (*lines, "counted in another row" if shown == 0 else f"{count(shown)} counted here, the others in other rows")
    return replace(part, title=f"{row.path}: {part.title}", lines=lines, parameters=shown)
