"""A call leaves nothing behind for the next, but in buffers, and in inference not even there."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from laminar.check.base import Check, register
from laminar.check.comparing import Gap, call, declare, gap
from laminar.check.outcome import Finding, failed, not_applicable, passed
from laminar.check.plain import attribute_path
from laminar.check.running import copied
from laminar.check.subject import BATCH, Subject
from laminar.check.words import mode_name
from laminar.seeding import seed_all

__all__ = ["NoHiddenState"]

Batch = tuple[Tensor, ...]
Attributes = dict[str, dict[str, Any]]

_TABLES = {"_parameters", "_buffers", "_modules"}


class _Step(NamedTuple):
    """One call of a series: which batch, and in which mode."""

    batch: str
    training: bool


def _series(training: bool) -> list[_Step]:
    return [_Step(batch, training) for batch in ("A", "B", "A", "larger", "A", "B")]


class _History:
    """A module, and what it gives for a batch when that comes after others."""

    def __init__(self, subject: Subject) -> None:
        self._copy = subject.built
        self._data = {"A": subject.data(), "B": subject.data(seed=1), "larger": subject.data(BATCH + 3)}
        # the very same tensors hold each batch: who remembers results by id or address is found out
        self._slots = {n: tuple(x.clone() for x in self._data[n]) for n in ("A", "larger")}
        self._firsts: dict[_Step, list[Tensor]] = {}

    def first(self, step: _Step) -> list[Tensor]:
        """Return the output of a copy that was never called."""
        if step not in self._firsts:
            self._firsts[step] = [z.clone() for z in self.call(self._copy(), step)]
        return self._firsts[step]

    def call(self, module: nn.Module, step: _Step) -> list[Tensor]:
        """Return the output for the batch of a step, global generators seeded before."""
        slot = self._slots["larger" if step.batch == "larger" else "A"]
        for x, value in zip(slot, self._data[step.batch], strict=True):
            x.copy_(value)
        seed_all(0)
        module.train(step.training)
        return call(module, slot)

    def changed(self, steps: Sequence[_Step]) -> tuple[int, Gap] | None:
        """Return which step's output is not that of a first call, though buffers and learnables are, and by how much."""
        module = self._copy()
        kept = _tensors(module)
        for i, step in enumerate(steps):
            _restore(module, kept)
            if step.batch == "larger":
                with suppress(Exception):  # refused: the contract's checks say what they think of that
                    self.call(module, step)
                continue
            by = gap(self.call(module, step), self.first(step))
            if by.seen:
                return i, by
        return None

    def kept_in(self, steps: Sequence[_Step]) -> str:
        """Return the attribute that makes the last step's output another one; "" if none does by itself."""
        module = self._copy()
        kept, before = _tensors(module), _attributes(module)
        for step in steps[:-1]:
            _restore(module, kept)
            with suppress(Exception):
                self.call(module, step)
        _restore(module, kept)
        for path, name in _differing(module, before):
            with suppress(Exception):  # what cannot be copied with what it keeps
                other = copied(module)
                _put_back(other, before, path, name)
                if not gap(self.call(other, steps[-1]), self.first(steps[-1])).seen:
                    return attribute_path(path, name)
        return ""

    def overwritten(self) -> bool:
        """Return whether the output of a call changes when the next one is made."""
        module = self._copy()
        zs = self.call(module, _Step("A", False))
        owned = {x.untyped_storage().data_ptr() for x in self._slots["A"]}
        zs = [z for z in zs if z.untyped_storage().data_ptr() not in owned]
        before = [z.clone() for z in zs]
        self.call(module, _Step("B", False))
        return bool(gap(zs, before).difference)

    def modes_after(self, step: _Step) -> list[bool]:
        """Return the mode of every sub-module after a call."""
        module = self._copy()
        self.call(module, step)
        return [sub.training for sub in module.modules()]


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of what a module may keep: its registered tensors."""
    return {name: t.detach().clone() for name, t in [*module.named_parameters(), *module.named_buffers()]}


def _restore(module: nn.Module, kept: dict[str, Tensor]) -> None:
    for path, sub in module.named_modules():
        for name, buffer in sub._buffers.items():
            value = kept.get(f"{path}.{name}" if path else name)
            if buffer is not None and value is not None and buffer.shape != value.shape:
                sub._buffers[name] = value.clone()
    with torch.no_grad():
        for name, t in [*module.named_parameters(), *module.named_buffers()]:
            if name in kept:
                t.copy_(kept[name])


def _attributes(module: nn.Module) -> Attributes:
    """Return copies of every sub-module's plain attributes, by its path."""
    return {path: {n: _frozen(v) for n, v in vars(sub).items() if n not in _TABLES} for path, sub in module.named_modules()}


def _frozen(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # a tensor inside a graph, as torch's old weight norm keeps
        return value


def _differing(module: nn.Module, before: Attributes) -> Iterator[tuple[str, str]]:
    for path, sub in module.named_modules():
        known = before.get(path, {})
        for name, value in vars(sub).items():
            if name not in _TABLES | {"training"} and (name not in known or not _same(value, known[name])):
                yield path, name


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and not gap([a], [b]).difference
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    plain = (int, float, str, type(None), set)
    return a == b if isinstance(a, plain) and isinstance(b, plain) else type(a) is type(b)


def _put_back(module: nn.Module, before: Attributes, path: str, name: str) -> None:
    own = vars(module.get_submodule(path))
    if name in before[path]:
        own[name] = copy.deepcopy(before[path][name])
    else:
        del own[name]


@register
class NoHiddenState(Check):
    """The same input gives the same output, whatever was called before, but for what registered buffers keep in training."""

    name = "no-hidden-state"
    group = "behaviour"
    expects = "a layer that runs several times"
    needs = ("modes", "deterministic")

    def run(self, subject: Subject) -> Finding:
        if "always state" in subject.declared:
            return not_applicable('declares "always state"')
        history = _History(subject)
        mixed = [_Step("A", False), _Step("B", True), _Step("A", False)]
        series = [_series(False)] if "state" in subject.declared else [_series(False), _series(True), mixed]
        for steps in series:
            found = history.changed(steps)
            if found is not None:
                return _after_others(subject, history, steps[: found[0] + 1], found[1])
        finding = _changed_in_inference(subject) or _mode_switched(history)
        if finding is not None:
            return finding
        if history.overwritten():
            return failed(
                expected="the output of a call to stay as it is",
                found="it is overwritten by the next call",
                fix="Return a new tensor from each call, or a clone() of the one that is kept",
            )
        kept = ", but for what its buffers keep in training" if subject.changing else ""
        return passed(f"the same output after other calls{kept}")


def _after_others(subject: Subject, history: _History, steps: Sequence[_Step], by: Gap) -> Finding:
    last = steps[-1]
    mode = mode_name(last.training)
    between = "a call in training" if steps[-2].training != last.training else "other calls"
    attribute = history.kept_in(steps)
    register = 'self.register_buffer("kept", torch.zeros(shape)) in __init__'
    register = "self.kept = self.state(shape) in build" if subject.is_layer else register
    return failed(
        expected=f"the same output in {mode} for the same input after {between}",
        found=f"it differs {by}",
        cause=f"{attribute} keeps something from an earlier call: with its first value the output is right"
        if attribute
        else "",
        fix=f"Keep nothing from call to call, or register what training keeps on purpose: {register}",
    )


def _changed_in_inference(subject: Subject) -> Finding | None:
    module = subject.built(training=False)
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    call(module, subject.data())
    for name, buffer in module.named_buffers():
        by = gap([buffer], [before[name]]) if name in before else Gap(float("inf"), 0.0, shapes=True)
        if by.difference:
            return failed(
                expected="inference to leave what is kept as it is",
                found=f"the buffer {name!r} changed {by}",
                fix="Write to it where self.training is true alone. " + declare("always state"),
            )
    return None


def _mode_switched(history: _History) -> Finding | None:
    for training in (False, True):
        modes = history.modes_after(_Step("A", training))
        if any(mode != training for mode in modes):
            wanted = mode_name(training)
            return failed(
                expected=f"a layer in {wanted} to be in {wanted} after a call",
                found=f"modules in the other mode: {sum(mode != training for mode in modes)} of {len(modes)}",
                fix="Call neither train() nor eval() in forward",
            )
    return None
