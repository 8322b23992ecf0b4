"""What is drawn, and from where: in a call, and when the layer is built."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from laminar.check.base import Check, register
from laminar.check.comparing import Gap, call, declare, gap
from laminar.check.outcome import Finding, failed, not_applicable, noted, passed
from laminar.check.subject import Subject
from laminar.layers.base import Layer
from laminar.seeding import generator_states, seed_all, seed_torch

__all__ = ["Deterministic", "SeededBuild"]

_BATCH = 16  # enough that a mask of one number for each observation hardly comes twice
_SEEDS = 8
_FROM_TORCH = "Draw from torch's generator, for example torch.rand(x.shape, device=x.device)"
_DRAW = 'Draw it with self.learnable(shape, init="glorot_uniform") or the like, which knows seed and path'


class _Watch(TorchDispatchMode):
    """Notes whether an operation of torch is given a generator inside: what draws without one moves torch's own."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        self.drawn = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = (*args, *(kwargs or {}).values())
        self.drawn |= any(isinstance(value, torch.Generator) and value is not torch.default_generator for value in given)
        return func(*args, **(kwargs or {}))


class _Draws:
    """What a layer draws in a call, found out by running copies of it under several seeds."""

    def __init__(self, subject: Subject, *, training: bool) -> None:
        self._copy = partial(subject.built, training=training)
        self._xs = subject.data(_BATCH)
        self._before: dict[str, bytes] = {}
        self._after: dict[str, bytes] = {}
        module = self._copy()
        with _Watch() as watch:
            self.first = self._run(1, 1, module)
        self.torch_draws = watch.drawn
        self.moved = [name for name, state in self._after.items() if state != self._before[name]]

    def _run(self, of_torch: int, of_others: int, module: nn.Module | None = None) -> list[Tensor]:
        module = module or self._copy()
        seed_all(of_others)
        seed_torch(of_torch)
        self._before = generator_states()
        zs = call(module, [x.clone() for x in self._xs])
        self._after = generator_states()
        return zs

    @cached_property
    def unseeded(self) -> Gap:
        """How far two copies are apart under the same seeds."""
        return gap(self._run(1, 1), self.first)

    @cached_property
    def own(self) -> Gap:
        """How far two calls of one copy are apart under the same seeds."""
        module = self._copy()
        return gap(self._run(1, 1, module), self._run(1, 1, module))

    @cached_property
    def by_torch(self) -> Gap:
        """How far outputs are apart under other seeds of torch."""
        return self._widest([(seed, 1) for seed in range(2, 2 + _SEEDS)] if "torch" in self.moved else [])

    @cached_property
    def by_others(self) -> Gap:
        """How far outputs are apart under other seeds of NumPy and Python."""
        return self._widest([(1, seed) for seed in range(2, 2 + _SEEDS)] if {"NumPy", "Python"} & {*self.moved} else [])

    def _widest(self, seeds: Sequence[tuple[int, int]]) -> Gap:
        found = Gap(0.0, 0.0)
        for pair in seeds:
            found = gap(self._run(*pair), self.first)
            if found.seen:
                break
        return found

    @cached_property
    def reset(self) -> list[str]:
        """The generators that are in the same state after two calls that began in different ones."""
        if not self.moved:
            return []
        self._run(1, 1)
        one = self._after
        self._run(2, 2)
        return [name for name, state in self._after.items() if state == one[name]]


@register
class Deterministic(Check):
    """Nothing is random in inference, nor undeclared in training; what is random follows torch's seed."""

    name = "deterministic"
    group = "behaviour"
    expects = "a layer that runs twice under the same seed"
    needs = ("modes",)

    def run(self, subject: Subject) -> Finding:
        allowed = subject.declared
        texts = []
        for mode, words in (("inference", ("always random",)), ("training", ("random", "always random"))):
            declared = any(word in allowed for word in words)
            draws = _Draws(subject, training=mode == "training")
            finding = _never_right(draws, mode) or (
                _wrong_seed(draws, mode) if declared else _undeclared(draws, mode, words[0])
            )
            if finding is not None:
                return finding
            texts.append(f"{mode} {_seen(draws) if declared else 'the same twice'}")
        if "random" in allowed and not draws.by_torch.seen and not draws.torch_draws:
            return self._nothing_drawn(subject, draws)
        return passed("; ".join(texts))

    def _nothing_drawn(self, subject: Subject, draws: _Draws) -> Finding:
        """Return what to say of a layer that declares random numbers, where no seed changed anything."""
        modes = gap(draws.first, call(subject.built(training=False), subject.data(_BATCH)))
        if modes.seen and subject.declared == {"random"}:
            return failed(
                expected="other numbers for another seed, as the layer declares that it draws in training",
                found=f"the same output for {_SEEDS} seeds, which differs from that of inference {modes}",
                fix=f"{_FROM_TORCH}, and seed nothing inside",
            )
        return noted('declares "random", but nothing drawn was seen')


def _seen(draws: _Draws) -> str:
    return "the same for a seed, another for another seed" if draws.by_torch.seen else "draws, to no effect here"


def _never_right(draws: _Draws, mode: str) -> Finding | None:
    """Return what is wrong whatever is declared: a generator that is seeded inside, numbers that no seed repeats."""
    if draws.reset:
        return failed(
            expected=f"{_owners(draws.reset)} to go on from where it is",
            found=f"in {mode} it is in one and the same state after the call, whatever seed it had before",
            cause="it is seeded inside",
            fix="Seed nothing inside: who trains sets the seed, once",
        )
    if draws.unseeded.seen:
        return failed(
            expected=f"the same output in {mode} under the same seeds of torch, NumPy and Python",
            found=f"two runs differ {draws.unseeded}",
            cause="" if draws.moved else "no global generator was drawn from: the numbers come from elsewhere",
            fix=_FROM_TORCH,
        )
    return None


def _undeclared(draws: _Draws, mode: str, word: str) -> Finding | None:
    own = draws.torch_draws and not draws.moved
    found = max(draws.by_torch, draws.by_others, draws.own if own else Gap(0.0, 0.0), key=lambda g: g.relative)
    if not found.seen:  # a generator that starts anew in each call makes a constant
        return None
    only = "Draw only where self.training is true. " if mode == "inference" else ""
    return failed(
        expected=f"nothing random in {mode}, as nothing of the kind is declared",
        found=f"two runs differ {found}",
        cause=f"it draws from {'a generator of its own' if own else _owners(draws.moved)}",
        fix=only + declare(word),
    )


def _wrong_seed(draws: _Draws, mode: str) -> Finding | None:
    """Return what is wrong with numbers that are drawn on purpose: torch's seed has no hold on them."""
    if draws.by_others.seen:
        return failed(
            expected=f"torch.manual_seed alone to repeat the output in {mode}",
            found=f"with other seeds of NumPy and Python it differs {draws.by_others}",
            cause=f"it draws from {_owners([name for name in draws.moved if name != 'torch'])}",
            fix=_FROM_TORCH,
        )
    if draws.torch_draws and "torch" not in draws.moved and not draws.by_torch.seen:
        each = f"two calls differ {draws.own}" if draws.own.seen else "each call gives the same numbers"
        return failed(
            expected=f"other numbers in {mode} for another seed of torch, and the same for the same seed",
            found=f"another seed changes nothing; {each}",
            cause="it draws from a generator of its own",
            fix=f"{_FROM_TORCH}, without generator=",
        )
    return None


def _owners(names: Sequence[str]) -> str:
    return " and ".join(f"{name}'s generator" for name in names)


@register
class SeededBuild(Check):
    """The initial values of a `Layer` follow the network's seed and the layer's path, and nothing else."""

    name = "seeded-build"
    group = "behaviour"
    expects = "a layer that builds"

    def run(self, subject: Subject) -> Finding:
        if not subject.is_layer:
            return not_applicable("a module of torch draws its initial values from torch's generator")
        other = subject.begun(0, path="a/b", of_torch=2, of_others=2)
        state = torch.get_rng_state()
        with _Watch() as watch:
            first = subject.begun(0, path="a/b")
        reset = torch.equal(state, torch.get_rng_state())
        ready = _built_before(subject)
        all_of_it = {name: value for name, value in first.state_dict().items() if _owner(name) not in ready}
        own = {name: value for name, value in all_of_it.items() if name in _own(first)}
        if not first.state_dict():
            return not_applicable("it has no initial values")
        if subject.given_built or not all_of_it:
            return not_applicable("it was built when it was handed over; pass the class, or an unbuilt layer")
        if reset:
            return _reset_by_build()
        if not all(_equal(value, other.state_dict()[name]) for name, value in all_of_it.items()):
            finding = _by_chance(subject, own, all_of_it)
            if finding is not None:
                return finding
        other_seed, other_place = _own(subject.begun(1, path="a/b")), _own(subject.begun(0, path="a/c"))
        drawn = [name for name in own if not _equal(own[name], other_seed[name])]
        for name in drawn:
            if _equal(own[name], other_place[name]):
                return failed(
                    expected="other initial values for a layer at another place",
                    found=f"{name!r} has the same values at the paths a/b and a/c",
                    fix=_DRAW,
                )
        fixed = [name for name in own if own[name].unique().numel() > 2]
        if watch.drawn and fixed and not drawn and not _foreign(first):
            return failed(
                expected="other initial values for another seed of the network",
                found=f"{fixed[0]!r} has the same values for the seeds 0 and 1",
                cause="random numbers are drawn when it is built, from a generator that is seeded inside",
                fix=_DRAW,
            )
        return passed(f"{', '.join(drawn)} by seed and path" if drawn else "its initial values are not drawn")


def _reset_by_build() -> Finding:
    return failed(
        expected="torch's generator to go on from where it is",
        found="it is in one and the same state after the layer was built, whatever seed it had before",
        cause="it is seeded inside",
        fix='Seed nothing inside, and draw with self.learnable(shape, init="glorot_uniform") or the like',
    )


def _by_chance(subject: Subject, own: dict[str, Tensor], all_of_it: dict[str, Tensor]) -> Finding | None:
    """Return what is wrong where the state of a global generator has a hold on initial values."""
    kinds = [
        ("another build under the same seeds", {}, all_of_it),
        ("another state of torch's generator", {"of_torch": 2}, own),
        ("another state of NumPy's and Python's generators", {"of_others": 2}, all_of_it),
    ]
    for what, states, judged in kinds:
        other = subject.begun(0, path="a/b", **states).state_dict()
        for name, value in judged.items():
            if not _equal(value, other[name]):
                early = name in subject.prototype.state_dict()
                return failed(
                    expected="initial values that follow from the network's seed and the layer's path",
                    found=f"{what} gives {name!r} other values",
                    fix="Declare it in build(self, shape): no seed is known when the constructor runs" if early else _DRAW,
                )
    return None


def _own(module: nn.Module) -> dict[str, Tensor]:
    """Return the initial values that layers of Laminar declare: modules of torch draw theirs from torch's generator."""
    layers = tuple(name for name, sub in module.named_modules() if isinstance(sub, Layer))
    return {name: value for name, value in module.state_dict().items() if _owner(name) in layers}


def _built_before(subject: Subject) -> set[str]:
    """Return the paths of the layers that were built, and perhaps trained, by whoever makes the layer."""
    layers = {name: sub for name, sub in subject.prototype.named_modules() if isinstance(sub, Layer)}
    return {name for name, sub in layers.items() if sub.built and sub._overrides_build}


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _foreign(module: nn.Module) -> bool:
    return len(_own(module)) < len(module.state_dict())


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and not gap([a], [b]).difference
