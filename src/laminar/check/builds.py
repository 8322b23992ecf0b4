"""The contract of a layer: it builds, it runs, and it says what it is."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from laminar.check.base import Check, register
from laminar.check.blame import own_line
from laminar.check.outcome import Finding, failed, noted, passed
from laminar.check.running import leaves, run
from laminar.check.subject import Subject
from laminar.check.words import advised, mode_name, shapes_text
from laminar.layers.base import Layer
from laminar.snapshots import is_unbuilt

__all__ = ["Builds", "Described"]


@register
class Builds(Check):
    """It builds from the shape and runs; also on the shape that was given, where the others use a smaller one."""

    name = "builds"
    group = "contract"
    expects = "a layer that builds from the shape and runs in training mode"

    def run(self, subject: Subject) -> Finding:
        xs = subject.data()
        unbuilt = any(map(is_unbuilt, subject.prototype.modules()))
        for training in (True, False) if unbuilt else (True,):  # shapes are found by a run in inference mode
            module, mode = subject.fresh(), mode_name(training)
            module.train(training)
            try:
                zs = leaves(module(*xs))
            except Exception as error:
                line = own_line(error)
                found, fix = advised(
                    error, f"Look at {line}" if line else "Call the layer in the same way and read the traceback"
                )
                expected = f"a layer that builds from the shape and runs in {mode} mode on {_shapes(xs)}"
                return failed(expected=expected, found=found, fix=fix)
            if not zs:
                return failed(
                    expected=f"a tensor from forward in {mode} mode", found="none", fix="Return the output from forward"
                )
        text = f"{_shapes(xs)} → {_shapes(run(subject.built(), xs))}"
        if subject.shrunk:
            full = subject.data(2, shapes=subject.given)
            text += f"; as given: {_shapes(full)} → {_shapes(run(subject.built(shapes=subject.given), full))}"
        return passed(text)


def _shapes(tensors: Sequence[Tensor]) -> str:
    return shapes_text(t.shape for t in tensors)


@register
class Described(Check):
    """It has a name, and its class a docstring of its own, which tables and pages show."""

    name = "described"
    group = "contract"
    expects = "a name and a description"

    def run(self, subject: Subject) -> Finding:
        module = subject.prototype
        kind = type(module)
        name = module.name if isinstance(module, Layer) else kind.__name__
        if not name:
            return noted(f"its name is {name!r}; pass one on: super().__init__(name=name)")
        description = kind.__doc__ or ""
        if isinstance(module, Layer) and type(module).description is not Layer.description:
            description = module.description
        first = description.strip().split("\n", 1)[0]
        if not first:
            return noted(f"{kind.__name__} has no docstring of its own; say in one sentence what it does")
        return passed(f"{name}: {first}")
