"""Where learnables start: initializers by name, as instances, as numbers, as tensors, or as functions of the shape.

Weights are laid out as torch lays them out, `(out, in / groups, *kernel)`, and the two fans are counted from that:
`fan_in = in / groups * prod(kernel)`, `fan_out = out * prod(kernel)`; a one-axis learnable of n values has both equal to n.

Values are drawn in float32 on the generator's device (the CPU unless you bring another generator) and only then converted and
moved, so one seed means one set of weights on every device and, to rounding, in every dtype.
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from torch import nn

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.names import Registry

__all__ = [
    "INITIALIZERS",
    "Constant",
    "Given",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "InitializerSpec",
    "LecunNormal",
    "LecunUniform",
    "Normal",
    "Ones",
    "Orthogonal",
    "TruncatedNormal",
    "Uniform",
    "VarianceScaling",
    "Zeros",
    "fans",
    "get",
]


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """Return `(fan_in, fan_out)` of a learnable: how many inputs one output sums over, and the reverse.

    >>> fans((64, 32, 3, 3)), fans((10, 784)), fans((20,)), fans(())
    ((288, 576), (784, 10), (20, 20), (1, 1))
    """
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


class Initializer(ABC):
    """A rule for initial values. To write your own, subclass and fill a float32 tensor in place in `fill`.

    Attributes:
        seed: if set, every call draws from a fresh generator with this seed, whatever generator is passed. Two learnables of
            one shape that share such an initializer start equal.
        exact: fill a tensor of the wanted dtype instead of a float32 one; for rules that draw nothing.

    >>> class Halves(Initializer):
    ...     def fill(self, values, generator):
    ...         values.fill_(0.5)
    >>> Halves()((2, 2))
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """

    seed: int | None = None
    exact: ClassVar[bool] = False

    @abstractmethod
    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Fill `values` (contiguous, without gradient; float32 unless `exact`) in place, drawing only from `generator`."""

    def __call__(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> torch.Tensor:
        """Return a new tensor of initial values, without gradient.

        Args:
            shape: the lengths of its axes.
            generator: where random numbers come from; torch's global CPU generator if None.
            dtype: of the result; torch's default dtype if None.
            device: of the result; torch's default device if None. On "meta" nothing is drawn.
        """
        dtype = torch.get_default_dtype() if dtype is None else dtype
        device = torch.get_default_device() if device is None else torch.device(device)
        shape = tuple(shape)
        if device.type == "meta":
            return torch.empty(shape, dtype=dtype, device=device)
        if self.seed is not None:
            generator = torch.Generator().manual_seed(self.seed)
        origin = torch.device("cpu") if generator is None else generator.device
        values = torch.empty(shape, dtype=dtype if self.exact else torch.float32, device=origin)
        if values.numel():
            with torch.no_grad():
                self.fill(values, generator)
        return values.to(device=device, dtype=dtype)


def _finite(where: str, value: object, *, above: float | None = None, least: float | None = None) -> None:
    """Refuse a `value` that is not a finite number in the range."""
    limit = f" above {above:g}" if above is not None else f" of at least {least:g}" if least is not None else ""
    ok = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(number := float(value))
    if not ok or (above is not None and number <= above) or (least is not None and number < least):
        raise ArgumentError(
            complaint(where, expected=f"a finite number{limit}", received=repr(value), fix="Pass such a number")
        )


def _one_of(where: str, value: object, known: tuple[str, ...]) -> None:
    """Refuse a `value` that is not one of the `known` words."""
    if value not in known:
        expected = f"one of {', '.join(known)}"
        raise ArgumentError(complaint(where, expected=expected, received=repr(value), fix=f"Pass {known[0]!r}, for example"))


class _Level(Initializer):
    """All values equal."""

    value: float
    exact = True

    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Fill with `value`."""
        return nn.init.constant_(values, self.value)


@dataclass(frozen=True)
class Constant(_Level):
    """Every value is `value`.

    >>> Constant(0.25)((3,))
    tensor([0.2500, 0.2500, 0.2500])
    """

    value: float

    def __post_init__(self) -> None:
        _finite("Constant(value=)", self.value)


@dataclass(frozen=True)
class Zeros(_Level):
    """Every value is 0: the usual start of biases.

    >>> Zeros()((2,))
    tensor([0., 0.])
    """

    value = 0.0


@dataclass(frozen=True)
class Ones(_Level):
    """Every value is 1: the usual start of scales.

    >>> Ones()((2,))
    tensor([1., 1.])
    """

    value = 1.0


@dataclass(frozen=True)
class Normal(Initializer):
    """Normal with the given mean and standard deviation.

    By name: "normal" has 0.01, "standard_normal" 1, "random_normal" 0.05 (as in Keras). Source: row R9.

    >>> Normal(std=0.01, seed=0)((100, 100)).std()
    tensor(0.0100)
    """

    mean: float = 0.0
    std: float = 0.01
    seed: int | None = None

    def __post_init__(self) -> None:
        _finite("Normal(mean=)", self.mean)
        _finite("Normal(std=)", self.std, least=0)

    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Draw from the normal."""
        return nn.init.normal_(values, self.mean, self.std, generator=generator)


@dataclass(frozen=True)
class TruncatedNormal(Initializer):
    """Normal, drawn again where it falls more than two standard deviations from the mean.

    >>> bool((TruncatedNormal(std=0.1, seed=0)((1000,)).abs() <= 0.2).all())
    True
    """

    mean: float = 0.0
    std: float = 0.05
    seed: int | None = None

    def __post_init__(self) -> None:
        _finite("TruncatedNormal(mean=)", self.mean)
        _finite("TruncatedNormal(std=)", self.std, above=0)

    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Draw from the truncated normal."""
        low, high = self.mean - 2 * self.std, self.mean + 2 * self.std
        return nn.init.trunc_normal_(values, self.mean, self.std, low, high, generator=generator)


@dataclass(frozen=True)
class Uniform(Initializer):
    """Uniform from `low` to `high`.

    By name: "uniform" is 0 to 1, "random_uniform" -0.05 to 0.05 (as in Keras).

    >>> alpha = Uniform(seed=0)((20,))
    >>> bool((alpha >= 0).all() and (alpha < 1).all())
    True
    """

    low: float = 0.0
    high: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        _finite("Uniform(low=)", self.low)
        _finite("Uniform(high=)", self.high, above=self.low)

    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Draw from the uniform."""
        return nn.init.uniform_(values, self.low, self.high, generator=generator)


# The standard deviation of a standard normal truncated at ±2: sqrt(1 - 4 φ(2) / erf(√2)).
_STD_WITHIN_TWO = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))


class _Scaled(Initializer):
    """The arithmetic of `VarianceScaling` and of its named forms."""

    scale: float
    mode: str
    distribution: str

    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Draw with mean 0 and variance `scale / n`, n being the fan that `mode` names."""
        fan_in, fan_out = fans(values.shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        std = math.sqrt(self.scale / n)
        if self.distribution == "uniform":
            return nn.init.uniform_(values, -math.sqrt(3.0) * std, math.sqrt(3.0) * std, generator=generator)
        if self.distribution == "normal":
            return nn.init.normal_(values, 0.0, std, generator=generator)
        std /= _STD_WITHIN_TWO  # so that what is left after truncation has the wanted spread
        return nn.init.trunc_normal_(values, 0.0, std, -2 * std, 2 * std, generator=generator)


@dataclass(frozen=True)
class VarianceScaling(_Scaled):
    """Zero mean, variance `scale / n`, where n is a fan of the learnable.

    Args:
        scale: above 0.
        mode: which n: "fan_in", "fan_out", or "fan_avg", their mean.
        distribution: "truncated_normal" (at two standard deviations, spread corrected), "normal", or "uniform".
        seed: see `Initializer`.

    >>> w = VarianceScaling(2.0, "fan_in", "normal", seed=0)((200, 50))
    >>> round(w.std().item(), 2)  # sqrt(2 / 50)
    0.2
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"
    seed: int | None = None

    def __post_init__(self) -> None:
        _finite("VarianceScaling(scale=)", self.scale, above=0)
        _one_of("VarianceScaling(mode=)", self.mode, ("fan_in", "fan_out", "fan_avg"))
        _one_of("VarianceScaling(distribution=)", self.distribution, ("truncated_normal", "normal", "uniform"))


@dataclass(frozen=True)
class _Named(_Scaled):
    """A form of variance scaling that has its own name; each says its three values in one line."""

    seed: int | None = None


class GlorotNormal(_Named):
    """Normal with standard deviation √(2 / (fan_in + fan_out)), which keeps the variance through tanh layers, both ways.

    Source: Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks"; row R9.

    >>> round(GlorotNormal(seed=0)((300, 200)).std().item(), 3)  # sqrt(2 / 500)
    0.063
    """

    scale, mode, distribution = 1.0, "fan_avg", "normal"


class GlorotUniform(_Named):
    """Uniform within ±√(6 / (fan_in + fan_out)), the variance of `GlorotNormal`.

    >>> GlorotUniform(seed=0)((300, 300)).abs().max()  # sqrt(6 / 600)
    tensor(0.1000)
    """

    scale, mode, distribution = 1.0, "fan_avg", "uniform"


class HeNormal(_Named):
    """Normal with standard deviation √(2 / fan_in): keeps the variance of signals through ReLU layers.

    Source: He et al. 2015, "Delving deep into rectifiers", equation 10; row R9.

    >>> round(HeNormal(seed=0)((300, 200)).std().item(), 2)  # sqrt(2 / 200)
    0.1
    """

    scale, mode, distribution = 2.0, "fan_in", "normal"


class HeUniform(_Named):
    """Uniform within ±√(6 / fan_in), the variance of `HeNormal`.

    >>> HeUniform(seed=0)((300, 600)).abs().max()  # sqrt(6 / 600)
    tensor(0.1000)
    """

    scale, mode, distribution = 2.0, "fan_in", "uniform"


class LecunNormal(_Named):
    """Normal with standard deviation √(1 / fan_in), as SELU networks want.

    Source: LeCun et al. 1998, "Efficient backprop"; Klambauer et al. 2017, "Self-normalizing neural networks".

    >>> round(LecunNormal(seed=0)((300, 100)).std().item(), 2)  # sqrt(1 / 100)
    0.1
    """

    scale, mode, distribution = 1.0, "fan_in", "normal"


class LecunUniform(_Named):
    """Uniform within ±√(3 / fan_in), the variance of `LecunNormal`.

    >>> LecunUniform(seed=0)((300, 300)).abs().max()  # sqrt(3 / 300)
    tensor(0.1000)
    """

    scale, mode, distribution = 1.0, "fan_in", "uniform"


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """A random (semi-)orthogonal matrix times `gain`: the axes after the first are taken together as columns.

    Needs a learnable of at least two axes. Source: Saxe et al. 2014, "Exact solutions to the nonlinear dynamics of learning".

    >>> w = Orthogonal(seed=0)((3, 4))
    >>> torch.allclose(w @ w.T, torch.eye(3), atol=1e-6)
    True
    """

    gain: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        _finite("Orthogonal(gain=)", self.gain)

    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Draw a normal matrix and orthogonalize it."""
        if values.ndim < 2:
            shape = tuple(values.shape)
            fix = 'Use another initializer there, for example "normal"'
            raise ShapeError(complaint("Orthogonal()", expected="a shape of at least 2 axes", received=f"{shape}", fix=fix))
        return nn.init.orthogonal_(values, self.gain, generator=generator)


@dataclass(frozen=True, eq=False)
class Given(Initializer):
    """A copy of a tensor or array, or of what a function of the shape returns; it must have the learnable's shape.

    A function draws from wherever it likes: a seed given to Laminar does not reach it.

    Raises:
        ArgumentError: if the function returns neither tensor, array nor number.
        ShapeError: if the shape is another one: nothing is broadcast.

    >>> Given(lambda shape: torch.arange(shape[0]))((3,))
    tensor([0., 1., 2.])
    """

    source: torch.Tensor | np.ndarray[Any, Any] | Callable[[tuple[int, ...]], Any]
    exact = True

    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Copy the tensor; or ask the function, check its answer, and copy that."""
        shape = tuple(values.shape)
        where, given = "initial values", self.source
        if callable(given):
            where = f"initializer '{getattr(given, '__name__', type(given).__name__)}'"
            given = given(shape)
            if isinstance(given, numbers.Real):
                return values.fill_(float(given))
        if isinstance(given, np.ndarray):
            given = torch.from_numpy(given)
        if not isinstance(given, torch.Tensor):
            expected, received = "a tensor, an array or a number", type(given).__name__
            raise ArgumentError(complaint(where, expected=expected, received=received, fix=f"Return torch.zeros({shape}), say"))
        if given.shape != values.shape:
            expected, received = f"shape {shape}", f"{tuple(given.shape)}"
            raise ShapeError(complaint(where, expected=expected, received=received, fix=f"Give it the shape {shape}"))
        return values.copy_(given)


INITIALIZERS: Registry[Initializer] = Registry(
    "initializer",
    {
        "zeros": Zeros(),
        "ones": Ones(),
        "normal": Normal(),
        "standard_normal": Normal(std=1.0),
        "random_normal": Normal(std=0.05),
        "truncated_normal": TruncatedNormal(),
        "uniform": Uniform(),
        "random_uniform": Uniform(-0.05, 0.05),
        "glorot_normal": GlorotNormal(),
        "glorot_uniform": GlorotUniform(),
        "glorot_relu_normal": VarianceScaling(2.0, "fan_avg", "normal"),
        "glorot_relu_uniform": VarianceScaling(2.0, "fan_avg", "uniform"),
        "he_normal": HeNormal(),
        "he_uniform": HeUniform(),
        "lecun_normal": LecunNormal(),
        "lecun_uniform": LecunUniform(),
        "orthogonal": Orthogonal(),
        "variance_scaling": VarianceScaling(),
    },
    aliases={
        "xavier_normal": "glorot_normal",
        "xavier_uniform": "glorot_uniform",
        "kaiming_normal": "he_normal",
        "kaiming_uniform": "he_uniform",
    },
)

InitializerSpec: TypeAlias = str | float | torch.Tensor | np.ndarray[Any, Any] | Initializer | Callable[[tuple[int, ...]], Any]


def get(spec: InitializerSpec) -> Initializer:
    """Return the initializer that `spec` stands for.

    Args:
        spec: a name, a number (every value), a tensor or array (the values), an `Initializer`, or a function of the shape.

    Raises:
        UnknownNameError: if a name is not known.
        ArgumentError: if it is something else altogether.

    >>> get("xavier_uniform"), get(0.5)
    (GlorotUniform(seed=None), Constant(value=0.5))
    """
    if isinstance(spec, str):
        return INITIALIZERS[spec]
    if isinstance(spec, Initializer):
        return spec
    if isinstance(spec, np.ndarray | torch.Tensor):
        return Given(spec)
    if isinstance(spec, numbers.Real) and not isinstance(spec, bool):
        return Constant(float(spec))
    if isinstance(spec, type) and issubclass(spec, Initializer):
        received, fix = f"the class {spec.__name__}", f"Pass {spec.__name__}() with parentheses"
    elif callable(spec):
        return Given(spec)
    else:
        received, fix = repr(spec), 'Pass "glorot_uniform", for example'
    expected = "a name, a number, a tensor, an Initializer or a function of the shape"
    raise ArgumentError(complaint("initializer", expected=expected, received=received, fix=fix))
