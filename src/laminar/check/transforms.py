"""A layer under torch's transformations: vmap over observations, torch.compile, export to ONNX."""

from __future__ import annotations

import importlib.util
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from laminar.check.base import Check, register
from laminar.check.blame import of_checker, own_line
from laminar.check.comparing import ROUNDING
from laminar.check.differences import SAME, Difference, largest_difference
from laminar.check.outcome import Finding, failed, not_applicable, noted, passed
from laminar.check.running import Gradients, copied, gradients, leaves, output_gradients, run
from laminar.check.subject import Subject
from laminar.check.words import first_line

__all__ = ["Compiles", "Exports", "Vmap"]

_FEW = 2  # observations whose gradients are taken one by one


@register
class Vmap(Check):
    """Over observations one by one, `torch.func.vmap` gives what the batch gives: outputs, and each one's own gradients."""

    name = "vmap"
    group = "placement"
    expects = "under vmap over the observations what the batch gives"
    needs = ("observations-independent",)

    def run(self, subject: Subject) -> Finding:
        if "always random" in subject.traits:
            return not_applicable("it draws in inference too, other numbers under vmap than for a batch")
        if "always batch" in subject.traits:
            return not_applicable("an observation's output depends on the others in inference too, as it declares")
        if None in subject.batch_axes:
            return not_applicable("an output without a batch axis")
        want = run(subject.built(training=False), subject.data())
        try:
            found = largest_difference(_one_by_one(subject), want)
        except Exception as error:
            if of_checker(error):
                raise
            return not_applicable(f"torch: {first_line(error)}")
        if found.error > ROUNDING:
            return failed(expected=self.expects, found=found.text, fix=_ANY_BATCH)
        try:
            worst = _each_gradient(subject)
        except Exception as error:
            if of_checker(error):
                raise
            return passed(f"output {found.sameness}; no gradients of each observation, torch: {first_line(error)}")
        if worst.error > ROUNDING:
            expected = "each observation's gradients under vmap as they are without"
            return failed(expected=expected, found=worst.text, fix=_ANY_BATCH)
        return passed(f"output {found.sameness}; each observation's gradients {worst.sameness}")


_ANY_BATCH = "Compute the same for a batch of one; in an autograd.Function, look at its vmap"


def _called(layer: nn.Module, tensors: dict[str, Tensor], xs: Sequence[Tensor], axes: Sequence[int]) -> tuple[Tensor, ...]:
    """Return the outputs for one observation, given and returned without a batch axis."""
    zs = leaves(functional_call(layer, tensors, tuple(x[None] for x in xs)))
    return tuple(z.squeeze(axis) for z, axis in zip(zs, axes, strict=True))


def _axes(subject: Subject) -> tuple[int, ...]:
    return tuple(axis for axis in subject.batch_axes if axis is not None)


def _one_by_one(subject: Subject) -> list[Tensor]:
    layer, axes = subject.built(training=False), _axes(subject)
    tensors = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    with torch.no_grad():
        zs = vmap(lambda *xs: _called(layer, tensors, xs, axes), out_dims=axes)(*subject.data())
    return list(zs)


def _each_gradient(subject: Subject) -> Difference:
    """Return how far the gradients of single observations, taken all at once by vmap, are from those taken one by one."""
    layer, axes, xs = subject.built(training=False), _axes(subject), subject.data(_FEW)
    learnables = {n: p.detach() for n, p in layer.named_parameters() if p.requires_grad}
    zs = run(copied(layer), xs)
    floats = [i for i, z in enumerate(zs) if z.is_floating_point()]
    if not learnables or not floats:
        return SAME
    dz = output_gradients([zs[i] for i in floats])

    def weighted(tensors: dict[str, Tensor], *values: Tensor) -> Tensor:
        zs = _called(layer, tensors, values[: len(xs)], axes)
        return torch.stack([(zs[i] * d).sum() for i, d in zip(floats, values[len(xs) :], strict=True)]).sum()

    one_by_one = [gradients(copied(layer), [x[k : k + 1] for x in xs], dz=_of(k, dz, floats, axes)) for k in range(_FEW)]
    moved = [d.movedim(axes[i], 0) for i, d in zip(floats, dz, strict=True)]
    found = vmap(grad(weighted), in_dims=(None,) + (0,) * (len(xs) + len(dz)))(learnables, *xs, *moved)
    worst = SAME
    for k, right in enumerate(one_by_one):
        # grad gives zeros where nothing leads, autograd nothing
        there: dict[str, Tensor | None] = {
            n: torch.zeros_like(learnables[n]) if g is None else g for n, g in right.learnables.items()
        }
        own: dict[str, Tensor | None] = {n: g[k] for n, g in found.items()}
        single = largest_difference(Gradients([], [], own), Gradients([], [], there))
        worst = max(worst, single, key=lambda d: d.error)
    return worst


def _of(k: int, dz: list[Tensor], floats: list[int], axes: Sequence[int]) -> list[Tensor]:
    return [d.narrow(axes[i], k, 1) for i, d in zip(floats, dz, strict=True)]


@register
class Compiles(Check):
    """`torch.compile` takes the layer whole and gives the same; a break in the graph is only noted."""

    name = "compile"
    group = "placement"
    expects = "the same output and gradients after torch.compile"
    needs = ("deterministic",)

    def run(self, subject: Subject) -> Finding:
        training = "random" not in subject.traits
        want = gradients(subject.built(training=training), subject.data())
        with _compiler():
            try:
                compiled: Any = torch.compile(subject.built(training=training), backend=_as_traced, fullgraph=True)
                seen = gradients(compiled, subject.data())
            except Exception as error:
                if of_checker(error):
                    raise
                line = own_line(error)
                where = f" ({line})" if line else ""
                return noted(f"torch.compile cannot take it whole: {first_line(error)}{where}")
        plain = {name.removeprefix("_orig_mod."): g for name, g in seen.learnables.items()}
        found = largest_difference(Gradients(seen.outputs, seen.inputs, plain), want)
        if found.error > ROUNDING and "always random" not in subject.traits:
            fix = "Look for what happens once, while the compiler traces: draws, attributes set in forward, .item()"
            return failed(expected=self.expects, found=found.text, fix=fix)
        return passed(f"one graph; output and gradients {found.sameness}")


def _as_traced(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
    """Run what was traced as it is. torch's own "eager" does the same, after loading all its backends for half a second."""
    forward: Callable[..., Any] = graph.forward
    return forward


@contextmanager
def _compiler() -> Iterator[None]:
    """Start the compiler from nothing, keep what it says to itself, and leave nothing behind."""
    import torch._dynamo

    loggers = [logging.getLogger(name) for name in ("torch._dynamo", "torch._subclasses")]
    levels = [logger.level for logger in loggers]
    torch._dynamo.reset()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        torch._dynamo.reset()


@register
class Exports(Check):
    """On request: the layer is exported to ONNX, and ONNX' own evaluator computes the same."""

    name = "onnx"
    group = "placement"
    expects = "the same output from the exported graph"

    def run(self, subject: Subject) -> Finding:
        if not subject.onnx:
            return not_applicable("only with onnx=True: it takes seconds")
        missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
        if missing:
            return not_applicable(f'{" and ".join(missing)} not installed. Type: pip install "laminar[onnx]"')
        layer = subject.built(training=False)
        want = run(layer, subject.data())
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), _silent():
                seen = _evaluated(subject.built(training=False), subject.data())
        except Exception as error:
            if of_checker(error):
                raise
            reason = _first_cause(error)
            line = own_line(reason)
            return noted(f"no export to ONNX: {first_line(reason)}{f' ({line})' if line else ''}")
        found = largest_difference(seen, want)
        if found.error > ROUNDING:
            return noted(f"exported to ONNX, and computed otherwise there: {found.text}")
        return noted(f"exported to ONNX: its own evaluator gives an output {found.sameness}")


def _evaluated(layer: nn.Module, xs: tuple[Tensor, ...]) -> list[Tensor]:
    """Return what ONNX' reference implementation computes from the exported graph."""
    from onnx.reference import ReferenceEvaluator

    program = torch.onnx.export(layer, xs, dynamo=True, verbose=False)
    assert program is not None
    names = [str(value.name) for value in program.model.graph.inputs]
    feeds: dict[str, Any] = {name: x.numpy() for name, x in zip(names, xs, strict=True)}
    return [torch.as_tensor(z) for z in ReferenceEvaluator(program.model_proto).run(None, feeds)]


def _first_cause(error: BaseException) -> BaseException:
    """Return the error that led to `error`: torch's exporter wraps it in its own, once for each step."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what the exporter logs to itself."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
