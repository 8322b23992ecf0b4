"""`Subject`: the layer under test. It gives out copies and data, so that no check can spoil the layer for another."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch import Generator, Tensor, nn

from laminar.check.blame import of_checker
from laminar.check.running import copied, run
from laminar.check.sizes import small_shapes
from laminar.check.traits import declared_by, traits_of
from laminar.check.words import said
from laminar.errors import ArgumentError, LaminarError, complaint
from laminar.layers.base import Layer
from laminar.seeding import derive, generator, seed_all, seed_torch, seeded
from laminar.shapes import Shape, takes_whole_numbers, trace
from laminar.snapshots import is_unbuilt

__all__ = ["BATCH", "Sample", "Subject"]

Sample: TypeAlias = Callable[[int, Generator], Any]
"""Makes a batch of inputs from its size and a generator: a tensor, or a tuple of them."""

BATCH = 4
"""Observations in a usual batch: enough to tell a sum from a mean."""

_ENOUGH = 600  # numbers in the inputs of one observation; with fewer, the shape is taken as it is
_WHERE = "check_layer(layer)"
_WARM = 2  # training batches that buffers see first, so that none holds a special value


class Subject:
    """The layer under test, with copies of it and data for it.

    Args:
        layer: a module, or a class or function that makes one. It is copied, never changed.
        shapes: of one observation of each input, without the batch axis.
        declares: what the layer does on purpose, besides what it says itself.
        sample: inputs to use instead of normal numbers.
        seed: of everything that is drawn.
        onnx: whether the export is to be tried.

    Attributes:
        given: the shapes as given.
        shapes: those in use: smaller ones where the given ones are large.
        seed: of everything that is drawn.
        onnx: whether the export is to be tried.

    Raises:
        ArgumentError: if `layer` is, or makes, no module.
        UnknownNameError: if a declaration is not one of `TRAITS`.
    """

    def __init__(
        self,
        layer: nn.Module | Callable[[], nn.Module],
        shapes: Sequence[Shape],
        *,
        declares: Iterable[str] = (),
        sample: Sample | None = None,
        seed: int = 0,
        onnx: bool = False,
    ) -> None:
        self._make = layer
        self._declared = declares if isinstance(declares, str) else tuple(declares)
        self._sample = sample
        self.seed = seed
        self.onnx = onnx
        self.given = tuple(shapes)
        self._ready: dict[tuple[torch.dtype, tuple[Shape, ...]], nn.Module] = {}
        self._prototype = self.fresh()
        traits_of(self._prototype, self._declared)  # an unknown word is the caller's mistake, no failure of the layer
        self.shapes = self.given
        if sample is None and not self._whole and max(math.prod(shape) for shape in self.given) > _ENOUGH:
            self.shapes = small_shapes(self.given, self._outputs_for)

    # -- what it is -----------------------------------------------------------------------------------------------------

    @property
    def prototype(self) -> nn.Module:
        """A copy that is only looked at: never run, never built."""
        return self._prototype

    @property
    def original(self) -> nn.Module | None:
        """The module itself that was given, only to be looked at; None where a class or function makes it."""
        return self._make if isinstance(self._make, nn.Module) else None

    @property
    def is_layer(self) -> bool:
        """Whether it is a `laminar.Layer`, with the template's methods."""
        return isinstance(self._prototype, Layer)

    @property
    def handwritten(self) -> bool:
        """Whether it is a `laminar.Layer` with a `backward` of its own."""
        return isinstance(self._prototype, Layer) and self._prototype._overrides_backward

    @property
    def label(self) -> str:
        """How tables and messages name it."""
        module = self._prototype
        settings = module.extra_repr()
        return f"{type(module).__name__}({settings})"

    @cached_property
    def declared(self) -> frozenset[str]:
        """What it declares in words, with everything inside it once it is built."""
        return declared_by(self.built(), self._declared)

    @cached_property
    def traits(self) -> frozenset[str]:
        """What it declares, what follows from that, and "state" where a buffer changes in training."""
        words = traits_of(self.built(), self._declared)
        return words | {"state"} if self.changing else words

    @cached_property
    def changing(self) -> frozenset[str]:
        """Which of its buffers change when it runs in training."""
        module = self.built()
        before = {name: buffer.clone() for name, buffer in module.named_buffers()}
        run(module, self.data())
        return frozenset(n for n, buffer in module.named_buffers() if n not in before or not torch.equal(before[n], buffer))

    @property
    def any_numbers(self) -> bool:
        """Whether it may be given any numbers: neither whole ones, nor those of a `sample`."""
        return self._sample is None and not self._whole

    @property
    def shrunk(self) -> bool:
        """Whether the shapes in use are smaller than those given."""
        return self.shapes != self.given

    @cached_property
    def _whole(self) -> bool:
        """Whether it looks its inputs up in a table; one that looks up what it computes takes normal numbers, too."""
        if not any(map(takes_whole_numbers, self._prototype.modules())):
            return False
        random = generator(self.seed, "data")
        try:
            run(self.fresh(), [torch.randn(BATCH, *shape, generator=random) for shape in self.given])
        except Exception as error:
            if of_checker(error):
                raise
            return True
        return False

    def _outputs_for(self, shapes: tuple[Shape, ...]) -> tuple[Shape, ...] | None:
        try:
            module = self.fresh()
            outputs = trace(module, *shapes).outputs
            for mode in (True, False):  # real kernels look closer than those on meta, and training may use more
                module.train(mode)  # what a train of its own returns is a question of `modes`
                run(module, self.data(2, shapes=shapes))
        except Exception as error:
            if of_checker(error):
                raise
            return None
        return outputs

    # -- copies ---------------------------------------------------------------------------------------------------------

    def fresh(self) -> nn.Module:
        """Return a new copy as it was given: not built if it was not, in training mode.

        Raises:
            ArgumentError: if there is no module.
        """
        seed_all(derive(self.seed, "initial"))
        with seeded(self.seed):
            return self._made()

    def sibling(self) -> nn.Module:
        """Return one more of what was given, as a class or function makes it: to see what two of them have in common.

        It is to be looked at and called, not moved or changed, because others may use the same parts.
        """
        seed_all(derive(self.seed, "initial"))
        with seeded(self.seed):
            return self._made(copy=False)

    def _made(self, *, copy: bool = True) -> nn.Module:
        try:
            if isinstance(self._make, nn.Module):
                module = copied(self._make)
            else:
                module = self._make()
                with contextlib.suppress(Exception):  # what cannot be copied is used as it is
                    module = _parted(module) if copy else module
        except LaminarError:
            raise
        except Exception as error:
            raise _cannot_make(self._make, error) from error
        if not isinstance(module, nn.Module):
            fix = "Pass an instance such as ELU(), or a class or function that makes one"
            received = type(module).__name__
            raise ArgumentError(complaint(_WHERE, expected="a torch.nn.Module", received=received, fix=fix))
        module.train()
        return module

    def begun(self, seed: int, *, path: str = "", of_torch: int = 1, of_others: int = 1) -> nn.Module:
        """Return a new copy with the initial values that a network would give it.

        Args:
            seed: of the network.
            path: its place there.
            of_torch: seed of torch's generator, before anything is made.
            of_others: seed of Python's and NumPy's.
        """
        seed_all(of_others)
        seed_torch(of_torch)
        module = self._made()
        for name, sub in module.named_modules():
            if isinstance(sub, Layer):
                sub.path = "/".join(filter(None, [path, name.replace(".", "/")]))
        seed_torch(of_torch)  # anew: whoever makes it may seed what he likes
        self._create(module, seed)
        return module

    @property
    def given_built(self) -> bool:
        """Whether it was handed over with everything that it learns."""
        return isinstance(self._make, nn.Module) and not any(map(is_unbuilt, self._make.modules()))

    def built(
        self, dtype: torch.dtype = torch.float32, *, training: bool = True, shapes: Sequence[Shape] | None = None
    ) -> nn.Module:
        """Return a new copy that is built, the same each time.

        Its learnables are moved a little, so that no bias is 0 and no factor 1 by chance; what it keeps between calls has
        seen some batches.

        Args:
            dtype: of its floating-point tensors.
            training: the mode it is in.
            shapes: that it is built for; those in use where None.
        """
        key = (dtype, tuple(shapes or self.shapes))
        if key not in self._ready:
            self._ready[key] = self._warmed(dtype, shapes)
        try:
            module = _parted(self._ready[key])
        except Exception:  # what cannot be copied, as a weight norm of torch's old kind, is made anew
            module = self._warmed(dtype, shapes)
        module.train(training)
        return module

    def _warmed(self, dtype: torch.dtype, shapes: Sequence[Shape] | None) -> nn.Module:
        module = self._moved(dtype, shapes)
        sizes = _sizes_of_buffers(module)
        if sizes:
            for i in range(_WARM):
                run(module, self.data(2 * BATCH, dtype, shapes=shapes, seed=100 + i))
            # a state of each observation, as a stateful LSTM's, is of no use to batches of another size
            if _sizes_of_buffers(module) != sizes:
                module = self._moved(dtype, shapes)
        return module

    def _moved(self, dtype: torch.dtype, shapes: Sequence[Shape] | None) -> nn.Module:
        module = self.fresh()
        self.build(module, shapes)
        module.to(dtype)
        _move_learnables(module, self.seed)
        return module

    def build(self, module: nn.Module, shapes: Sequence[Shape] | None = None) -> None:
        """Let a fresh copy create its learnables, if it has not yet, from the same seeds each time."""
        if any(map(is_unbuilt, module.modules())):
            seed_all(derive(self.seed, "initial"))
            self._create(module, self.seed, shapes)

    def _create(self, module: nn.Module, seed: int, shapes: Sequence[Shape] | None = None) -> None:
        with seeded(seed):
            trace(module, *(shapes or self.shapes), dtype=self._dtypes)

    @cached_property
    def _dtypes(self) -> list[torch.dtype]:
        return [x.dtype for x in self.data(1)]

    # -- data -----------------------------------------------------------------------------------------------------------

    def data(
        self,
        batch: int = BATCH,
        dtype: torch.dtype = torch.float32,
        *,
        shapes: Sequence[Shape] | None = None,
        seed: int = 0,
    ) -> tuple[Tensor, ...]:
        """Return one batch for each input, the same each time: normal numbers, or what `sample` gives.

        Args:
            batch: observations.
            dtype: of those inputs that are no whole numbers.
            shapes: of one observation of each input; those in use where None.
            seed: another one gives other numbers.
        """
        random = generator(self.seed, "data", batch, seed)
        if self._sample is not None:
            made = self._sample(batch, random)
            xs = (made,) if isinstance(made, Tensor) else tuple(made)
        elif self._whole:
            xs = tuple(torch.randint(self._limit, (batch, *s), generator=random) for s in shapes or self.shapes)
        else:
            xs = tuple(torch.randn(batch, *s, generator=random, dtype=torch.float64) for s in shapes or self.shapes)
        return tuple(x.to(dtype) if x.is_floating_point() else x for x in xs)

    @property
    def continuous(self) -> tuple[int, ...]:
        """Which inputs are floating-point numbers, so that they can have a gradient."""
        return tuple(i for i, x in enumerate(self.data(1)) if x.is_floating_point())

    @property
    def _limit(self) -> int:
        found = [_table_size(m) for m in self._prototype.modules() if takes_whole_numbers(m)]
        return min((n for n in found if n), default=2)

    @cached_property
    def batch_axes(self) -> tuple[int | None, ...]:
        """For each tensor of the output, which axis counts the observations; None where none does.

        A recurrent network of torch gives its last state as (layers, batch, units).
        """
        few, many = (run(self.built(training=False), self.data(n)) for n in (BATCH, BATCH + 1))
        return tuple(_batch_axis(a, b) for a, b in zip(few, many, strict=True))


def _parted(module: nn.Module) -> nn.Module:
    """Return a copy with numbers of its own; raise ValueError where the module's own way of copying shares some."""
    twin = copied(module)
    of_both = [{p.data_ptr() for p in m.parameters() if not nn.parameter.is_lazy(p) and p.numel()} for m in (module, twin)]
    if not of_both[0].isdisjoint(of_both[1] - {0}):  # on meta all are at 0
        raise ValueError("the copy shares parameters")
    return twin


def _cannot_make(make: object, error: Exception) -> ArgumentError:
    received = said(error)
    if isinstance(make, nn.Module):
        fix = "Pass a function that makes a new one: check_layer(lambda: ELU(), (3, 8, 8))"
        return ArgumentError(complaint(_WHERE, expected="a module that can be copied", received=received, fix=fix))
    if not callable(make):
        fix = "Pass an instance such as ELU(), or a class or function that makes one"
        return ArgumentError(complaint(_WHERE, expected="a torch.nn.Module", received=type(make).__name__, fix=fix))
    fix = "Pass an instance, or a function that gives it its arguments: lambda: Dense(10)"
    return ArgumentError(complaint(_WHERE, expected="something that makes a layer", received=received, fix=fix))


def _batch_axis(few: Tensor, many: Tensor) -> int | None:
    pairs = enumerate(zip(few.shape, many.shape, strict=False))
    return next((axis for axis, pair in pairs if pair == (BATCH, BATCH + 1)), None)


def _table_size(module: nn.Module) -> int | None:
    sizes = (getattr(module, name, None) for name in ("num_embeddings", "input_dim"))
    return next((n for n in sizes if isinstance(n, int)), None)


def _sizes_of_buffers(module: nn.Module) -> dict[str, torch.Size]:
    return {name: buffer.shape for name, buffer in module.named_buffers()}


def _move_learnables(module: nn.Module, seed: int) -> None:
    with torch.no_grad():
        for name, p in module.named_parameters():
            if not (p.is_floating_point() and p.requires_grad) or p.is_meta or not p.numel():
                continue
            size = float(p.double().square().mean().sqrt()) or 1.0
            drawn = torch.rand(p.shape, generator=generator(seed, "moved", name), dtype=torch.float64)
            p.add_((drawn * (0.5 * size)).to(p))
