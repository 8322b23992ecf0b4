"""Dtypes: each is kept, computed in, and exact as far as it goes; so under autocast."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from laminar.check.base import Check, register
from laminar.check.narrowing import narrowed
from laminar.check.outcome import Finding, failed, not_applicable, passed
from laminar.check.plain import tensors_kept
from laminar.check.precision import (
    BFLOAT16,
    FLOAT32,
    Deviation,
    comparable_modes,
    compared,
    described,
    deviations,
    given_shapes,
    largest,
    learnables_of,
    lower,
    persistent,
    reference,
    rounded,
    short,
    worst,
)
from laminar.check.running import Gradients, copied, gradients
from laminar.check.subject import Subject
from laminar.check.words import said

__all__ = ["Autocast", "Dtypes"]

_DTYPES = (torch.float64, torch.float32, torch.bfloat16)
_BATCH = 8
_CASTS = (
    "Make new tensors in the dtype of the input, by x.new_zeros(...) or dtype=x.dtype, and cast by .to(x.dtype) instead of "
    ".float(), .double() or a dtype written out"
)


def no_kernel(error: Exception, dtype: torch.dtype) -> bool:
    """Return whether torch itself cannot compute in `dtype` what the layer asks for.

    >>> no_kernel(RuntimeError("'roll' not implemented for 'BFloat16'"), torch.bfloat16)
    True
    """
    text = str(error).lower()
    if "could not create a primitive" in text:  # oneDNN, on a processor without this dtype
        return True
    refused = ["not implemented for", "not supported", "unsupported", "does not support", "low precision dtypes"]
    refused += ["only supported for", "only supports", f"tensors but got {name_of(dtype)}"]  # of complex numbers, for one
    return name_of(dtype) in text and any(phrase in text for phrase in refused)


def name_of(dtype: torch.dtype) -> str:
    """Return "float32" for `torch.float32`."""
    return str(dtype).removeprefix("torch.")


@register
class Dtypes(Check):
    """The output has the dtype that went in, float64 is computed in float64, float32 and bfloat16 stay near it."""

    name = "dtypes"
    group = "numerics"
    expects = "float64, float32 and bfloat16 to run"
    needs = ("learnables-registered", "learnables-stable", "modes", "deterministic", "no-hidden-state", "deep-copy")

    def run(self, subject: Subject) -> Finding:
        if not subject.continuous and next(subject.built().parameters(), None) is None:
            return not_applicable("whole numbers come in, and nothing is learned")
        wrong, remarks, usable = [], [], []
        for dtype in _DTYPES:
            try:
                others = _other_dtypes(subject, dtype)
            except Exception as error:
                if no_kernel(error, dtype):
                    remarks.append(f"torch has no {name_of(dtype)} for it")
                else:
                    wrong.append(f"{name_of(dtype)} raises {said(error)}")
                continue
            usable.append(dtype)
            if others:
                wrong.append(f"{name_of(dtype)} in, {' and '.join(others)} out")
        if wrong:
            cause, fix = _tensor_left_behind(subject) or ("", _CASTS)
            expected = "outputs in the dtype of inputs and learnables, in float64, float32 and bfloat16"
            return failed(expected=expected, found="; ".join(wrong), cause=cause, fix=fix)
        return self._values(subject, [d for d in usable if d != torch.float64], remarks)

    def _values(self, subject: Subject, dtypes: Sequence[torch.dtype], remarks: list[str]) -> Finding:
        modes = comparable_modes(subject)
        if not modes:
            return passed("; ".join(["dtypes are kept (its draws differ by dtype, so numbers are not compared)", *remarks]))
        finding = narrowed(subject, training=modes[0])
        if finding is not None:
            return finding
        texts = []
        for dtype in dtypes:
            found = [d for training in modes for d in _errors(subject, dtype, training=training)]
            missed = worst(found)
            if missed:
                return _lossy(dtype, missed)
            texts.append(f"{name_of(dtype)} within {largest(found)}")
        return passed("; ".join([" and ".join(texts) + " of float64", *remarks]))


def _other_dtypes(subject: Subject, dtype: torch.dtype) -> list[str]:
    """Return the names of other dtypes in which outputs come, in either mode."""
    module = subject.built(dtype)
    xs = subject.data(_BATCH, dtype)
    found: list[str] = []
    for training in (True, False):
        module.train(training)
        zs = gradients(module, xs).outputs
        kept = (dtype, dtype.to_complex()) if dtype != torch.bfloat16 else (dtype,)
        found += [name_of(z.dtype) for z in zs if (z.is_floating_point() or z.is_complex()) and z.dtype not in kept]
    return list(dict.fromkeys(found))


def _tensor_left_behind(subject: Subject) -> tuple[str, str] | None:
    """Return cause and fix where the trouble ends once the tensors in plain attributes are in the dtype, too."""
    names: list[str] = []
    for dtype in _DTYPES:
        try:
            module = subject.built(dtype)
            names = [*names, *(n for n in _convert_attributes(module, dtype) if n not in names)]
            xs = subject.data(_BATCH, dtype)
            zs = gradients(module, xs).outputs
        except Exception as error:
            if no_kernel(error, dtype):
                continue
            return None
        if any(z.is_floating_point() and z.dtype != dtype for z in zs):
            return None
    if not names:
        return None
    attribute = names[0].rpartition(".")[2].partition("[")[0]
    fix = f"Register it, so that .to() reaches it: self.register_buffer({attribute!r}, tensor)"
    if names[0].endswith("]"):
        fix = f"Register each tensor of self.{names[0].partition('[')[0]} by itself: self.register_buffer(name, tensor)"
    return f"the tensor in the plain attribute {names[0]!r} is not converted with the layer", fix


def _convert_attributes(module: nn.Module, dtype: torch.dtype) -> list[str]:
    """Convert floating-point tensors in plain attributes, and return which were of another dtype."""
    others = [k for k in tensors_kept(module) if k.value.is_floating_point() and k.value.dtype != dtype]
    for found in others:
        found.put(found.value.detach().to(dtype))
    return [found.path.removeprefix("self.") for found in others]


def _errors(subject: Subject, dtype: torch.dtype, *, training: bool) -> list[Deviation]:
    shapes = given_shapes(subject)
    module = reference(subject, training=training, shapes=shapes)
    bounds = BFLOAT16 if dtype == torch.bfloat16 else FLOAT32

    def measure(seed: int) -> list[Deviation]:
        return compared(module, subject.data(_BATCH, torch.float64, shapes=shapes, seed=seed), dtype, bounds)

    return persistent(measure)


def _lossy(dtype: torch.dtype, missed: Deviation) -> Finding:
    name = name_of(dtype)
    fix = "Subtract before squaring or adding, and add up long sums by torch.sum or in float32: x.float()...to(x.dtype)"
    if dtype != torch.bfloat16:
        fix = "Subtract before squaring or adding, add up by torch.sum, and cast nothing to a lower precision inside"
    return failed(
        expected=f"{name} within {short(missed.allowed)} of float64, on the same numbers", found=described(missed), fix=fix
    )


class _UnderAutocast(nn.Module):
    """Runs the forward pass of a module under autocast in bfloat16, and leaves its backward pass outside, as is usual."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *xs: Tensor) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return self.module(*xs)


@register
class Autocast(Check):
    """Under autocast, forward and backward run, every gradient arrives, and the numbers are those of bfloat16."""

    name = "autocast"
    group = "numerics"
    expects = "forward and backward to run under torch.autocast in bfloat16, with learnables in float32"
    needs = (*Dtypes.needs, "dtypes")

    def run(self, subject: Subject) -> Finding:
        if not subject.continuous and next(subject.built().parameters(), None) is None:
            return not_applicable("whole numbers come in, and nothing is learned")
        modes = comparable_modes(subject)
        try:
            for training in {True, False} - set(modes):
                _autocast_run(subject.built(training=training), subject.data(_BATCH))
            found = [d for training in modes for d in persistent(partial(_autocast_errors, subject, training))]
        except Exception as error:
            if no_kernel(error, torch.bfloat16):
                return passed("torch has no bfloat16 for it, so autocast leaves it as it is")
            fix = "Cast to one dtype what is combined: y.to(x.dtype) in forward; dz.to(weight.dtype) in a backward of your own"
            return failed(expected=self.expects, found=said(error), fix=fix)
        missed = worst(found)
        if not missed:
            return passed(f"within {largest(found)} of float64" if modes else "runs (random, so numbers are not compared)")
        fix = "Compute what is delicate in float32: with torch.autocast(x.device.type, enabled=False), on x.float()"
        if missed.error == float("inf"):
            fix = "Cast by .to(dtype), which autograd follows, not by .data or .detach(); keep to float32 what may overflow"
        return failed(
            expected=f"results within {short(missed.allowed)} of float64 under autocast", found=described(missed), fix=fix
        )


def _autocast_run(module: nn.Module, xs: Sequence[Tensor]) -> Gradients:
    found = gradients(_UnderAutocast(module), xs)
    return Gradients(found.outputs, found.inputs, {n.removeprefix("module."): g for n, g in found.learnables.items()})


def _autocast_errors(subject: Subject, training: bool, seed: int) -> list[Deviation]:
    module = reference(subject, training=training)
    xs = subject.data(_BATCH, torch.float64, seed=seed)
    found = _autocast_run(lower(module, torch.float32), [x.float() if x.is_floating_point() else x for x in xs])
    right = gradients(copied(module), xs)
    moved = gradients(*rounded(module, xs, torch.bfloat16))
    return deviations(found, right, moved, [*xs, *learnables_of(module)], BFLOAT16)
