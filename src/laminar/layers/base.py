"""`Layer`: the template for a layer of one's own, on `torch.nn.Module`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from laminar import initializers, seeding, shapes, symbols
from laminar.errors import LaminarError, LayerError, ShapeError, complaint
from laminar.layers.arithmetic import Arithmetic, Explanation, default_arithmetic, explanation, shapes_to_explain
from laminar.layers.arrays import refuse_arrays
from laminar.layers.factors import LearningRateFactor
from laminar.layers.freezing import set_learning, set_trainable
from laminar.layers.handwritten import run_with_backward
from laminar.layers.hooks import has_hooks
from laminar.layers.recompute import Recompute, checkpointed
from laminar.layers.signatures import takes_memory, takes_several
from laminar.layers.words import check_words
from laminar.names import unknown_name
from laminar.shapes import Shape, format_shape, normalize_shape

__all__ = ["Layer", "default_name", "label_of"]


def default_name(cls: type) -> str:
    """Return the name that an instance of `cls` gets in a network, as Keras makes it.

    >>> [default_name(type(name, (), {})) for name in ("MaxPooling2D", "Conv2DTranspose", "ELU")]
    ['max_pooling2d', 'conv2d_transpose', 'elu']
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__)
    return re.sub(r"(\d)_(D)(?=_|$)", r"\1\2", spaced).lower()


def label_of(module: nn.Module, path: str = "") -> str:
    """Return how an error message names a module: its path where it has one, its class, and what tells it from others.

    >>> label_of(nn.ReLU(), "block/relu")
    "layer 'block/relu' (ReLU)"
    """
    if isinstance(module, Layer):
        return module.label
    return f"layer {path!r} ({type(module).__name__})" if path else f"layer {type(module).__name__}"


class Layer(nn.Module):
    """A layer of your own. Everything but `forward` is optional.

    Define any of:

    - `build(shape)`: declare learnables from the input's shape, `(C, H, W)` for images; called once, before the first use.
      With several inputs it is called with one shape each.
    - `forward(x)`: the output z, from x of shape `(B, *shape)`. With a `backward` of four arguments it returns `(z, memory)`.
    - `check_input(shape)`: raise a ShapeError for a shape that the layer cannot take.
    - `predict(x)`: replaces `forward` in inference mode (`layer.eval()`).
    - `backward(x, z, dz)` or `backward(x, z, dz, memory)`: replaces autograd. It returns dx, then one gradient for each
      learnable in the order declared, or dx and a dict from name to gradient. With several inputs or outputs, x, dx, z and dz
      are tuples.

    Args:
        name: the layer's name in a network; made from the class where None.

    Attributes:
        built: whether the learnables exist.
        input_shape: the shape it was built for, without the batch axis; None before, or where there is nothing to build.
        has_memory: whether `backward` takes a memory, so that `forward` returns one.
        checks_shapes: tells a trace that `check_input` is ours; other modules have methods of that name.
        takes_whole_numbers: a subclass that looks its input up, as an embedding does, sets it: whole numbers then stay whole.

    Raises:
        LayerError: when called, if `forward` returns None or not the pair that `backward` needs.
        GradientError: in the backward pass, if `backward` returns a wrong number, name or shape of gradients.

    Source: rows R1 to R3 of the mission; MATLAB's `nnet.layer.Layer` template.

    >>> class Scale(Layer):
    ...     '''Multiplies each channel by a factor of its own.'''
    ...
    ...     def build(self, shape):  # (C, H, W)
    ...         self.factor = self.learnable(shape[0], init="ones")
    ...
    ...     def forward(self, x):  # (B, C, H, W)
    ...         return x * self.per_channel(self.factor, x)
    ...
    ...     def backward(self, x, z, dz):
    ...         return dz * self.per_channel(self.factor, x), self.sum_to_channels(dz * x)
    >>> layer = Scale()
    >>> layer(torch.ones(2, 3, 4, 4)).sum().backward()
    >>> layer.factor.grad
    tensor([32., 32., 32.])
    """

    has_memory: ClassVar[bool] = False
    checks_shapes: ClassVar[bool] = True
    takes_whole_numbers: ClassVar[bool] = False
    _overrides_build: ClassVar[bool] = False
    _overrides_backward: ClassVar[bool] = False
    _overrides_predict: ClassVar[bool] = False
    _takes_several: ClassVar[bool] = False

    forward: Callable[..., Any]
    """Return the output for a batch; see the class."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._overrides_build = cls.build is not Layer.build
        cls._overrides_backward = cls.backward is not Layer.backward
        cls._overrides_predict = cls.predict is not Layer.predict
        cls._takes_several = takes_several(cls)
        if cls._overrides_backward:
            cls.has_memory = takes_memory(cls)

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Look at the names of the arguments, in the one place that all constructors share."""
        check_words(cls, options)
        return super().__new__(cls)

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__()
        self.name = name or default_name(type(self))
        self.path = ""
        self.built = not self._overrides_build
        self.input_shape: Shape | tuple[Shape, ...] | None = None
        self._trainable = True
        self._frozen: set[str] = set()
        self._declared = 0
        self._asked: dict[str, bool] | None = None

    # -- the template ---------------------------------------------------------------------------------------------------

    def build(self, *shape: Any) -> None:
        """Declare learnables and state for an input of `shape`, without the batch axis. Nothing to do where not overridden."""

    def check_input(self, *shape: Any) -> None:
        """Refuse an input shape (without the batch axis, one for each input) that the layer cannot take: raise a ShapeError.

        It is called before `build`, whenever a network is shown data of another shape, and when `forward` fails; not at
        every step.
        """

    def predict(self, *inputs: Any) -> Any:
        """Return the output in inference mode; where a subclass does not define it, `forward` is used."""
        return self._without_memory(self.forward(*inputs))

    def backward(self, *arguments: Any) -> Any:
        """Return the gradients of inputs and learnables; where a subclass does not define it, autograd is used."""
        raise LayerError(f"{self.label}: expected a backward of its own, received none. Define backward(self, x, z, dz).")

    def arithmetic(self, *shape: Any) -> Arithmetic:
        """Return how output shape and parameters follow from the input's shape; a subclass may say it in numbers of its own.

        It may look at the layer's settings, not at its learnables: these may not be there yet.
        """
        return default_arithmetic(self, shape)

    def explain(self, *shape: int | Sequence[int]) -> Explanation:
        """Return, in words and numbers, how the output's shape and the parameters come about; print it to read it.

        Args:
            *shape: of one observation of each input; what the layer was built for where left out.

        Raises:
            NotBuiltError: without a shape, before the layer is built.
            ShapeError: for a shape that the layer cannot take.

        >>> from laminar import layers as L
        >>> print(L.Dense(10).explain((784,)))
        Dense(units=10): (784,) → (10,)
          parameters: 10 units of 784 weights + 10 biases = 7 850
        """
        sizes = shapes_to_explain(self, shape)
        self.check_input(*sizes)
        settings = self.extra_repr()
        return explanation(f"{type(self).__name__}({settings})", sizes, self.arithmetic(*sizes))

    @property
    def declares(self) -> tuple[str, ...]:
        """What the layer does on purpose that `check_layer` would call a fault; its argument `declares` lists the words."""
        return ()

    @property
    def description(self) -> str:
        """One line about this layer for tables: the first line of the class's docstring, unless a subclass says more."""
        return (inspect.getdoc(type(self)) or type(self).__name__).split("\n", 1)[0]

    # -- declaring ------------------------------------------------------------------------------------------------------

    def learnable(self, shape: int | Sequence[int], *, init: Any = "glorot_uniform", learnable: bool = True) -> nn.Parameter:
        """Return a new parameter; assign it to an attribute of the layer.

        Args:
            shape: its shape; a whole number n is (n,).
            init: a name, a number, a tensor of that shape, or an initializer of `laminar.initializers`.
            learnable: False for a parameter that starts frozen; `unfreeze` lets it learn later.

        Raises:
            UnknownNameError: if there is no initializer of that name.

        >>> layer = Layer()
        >>> layer.alpha = layer.learnable(3, init=0.5)
        >>> layer.alpha.tolist()
        [0.5, 0.5, 0.5]
        """
        initializer = initializers.get(init)
        place = (self.path or self.name, self._declared)
        self._declared += 1
        device, dtype = self._placement
        with shapes.real_tensors():
            values = initializer(
                normalize_shape(shape), generator=seeding.ambient_generator(*place), dtype=dtype, device=device
            )
        return nn.Parameter(values, requires_grad=learnable and self._trainable)

    def state(self, shape: int | Sequence[int] = (), *, init: Any = "zeros", dtype: torch.dtype | None = None) -> nn.Buffer:
        """Return a new buffer: saved and moved with the layer, never trained. Assign it to an attribute of the layer.

        Args:
            shape: its shape; () is a single number.
            init: as in `learnable`.
            dtype: its dtype; that of the learnables where None.

        >>> layer = Layer()
        >>> layer.seen = layer.state(dtype=torch.int64)
        >>> list(layer.state_dict())
        ['seen']
        """
        device, own = self._placement
        with shapes.real_tensors():
            values = initializers.get(init)(normalize_shape(shape), dtype=own, device=device)
            return nn.Buffer(values.to(dtype or own))

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, nn.Parameter):
            if name in self._parameters and not self.built:
                raise LayerError(
                    f"{self.label}: expected each learnable to be declared once, received {name!r} twice. "
                    "Give the second one another name."
                )
            if not value.requires_grad and self._trainable:
                self._frozen.add(name)
            elif name in self._frozen:
                value.requires_grad_(False)
        super().__setattr__(name, value)

    # -- helpers for forward and backward -------------------------------------------------------------------------------

    def per_channel(self, vector: Tensor, x: Tensor) -> Tensor:
        """Return `vector` (C,) in x's dtype, shaped so that it broadcasts along the channel axis of x.

        Args:
            vector: one number for each channel, (C,).
            x: (B, C), (B, C, L), (B, C, H, W), ...; under `vmap` over observations, the same without B.

        >>> Layer().per_channel(torch.tensor([1.0, 2.0]), torch.zeros(5, 2, 4, 4)).shape
        torch.Size([1, 2, 1, 1])
        """
        axis = self._channel_axis(x)
        shaped = vector.reshape(*(1,) * axis, -1, *(1,) * (x.dim() - axis - 1))
        return shaped.to(x.dtype) if x.is_floating_point() else shaped

    def sum_to_channels(self, x: Tensor) -> Tensor:
        """Return the sum of x over every axis but the channels, (C,): the gradient of what `per_channel` broadcast.

        >>> Layer().sum_to_channels(torch.ones(5, 2, 4, 4))
        tensor([80., 80.])
        """
        axis = self._channel_axis(x)
        others = [i for i in range(x.dim()) if i != axis]
        return x.sum(dim=others) if others else x

    def _channel_axis(self, x: Tensor) -> int:
        shape = self.input_shape
        if shape is None:
            return 1
        first = shape[0] if shape and isinstance(shape[0], tuple) else shape
        return 0 if x.dim() == len(first) else 1  # without the batch axis under vmap

    def needs_gradient(self, name: str) -> bool:
        """Return whether the gradient of the learnable `name` is asked for; inside `backward`, to skip work when it is frozen.

        >>> layer = Layer()
        >>> layer.alpha = layer.learnable(3, init=0.5, learnable=False)
        >>> layer.needs_gradient("alpha")
        False
        """
        if self._asked is not None:
            return self._asked[name]
        parameter = self._parameters.get(name)
        return parameter is not None and parameter.requires_grad

    # -- freezing -------------------------------------------------------------------------------------------------------

    @property
    def trainable(self) -> bool:
        """Whether the layer learns. False freezes every learnable in it; True lets all learn but those frozen by name."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        set_trainable(self, bool(value))

    recompute = Recompute()
    """Whether what the layer computes on the way to its output is computed once more in the backward pass, instead of being
    kept in memory until then (activation checkpointing). No number changes by it."""

    learning_rate_factor = LearningRateFactor()
    """What the learning rate of everything in the layer is multiplied by; 0 keeps it as it is. `set_learning_rate_factor`
    does it for one learnable, or for a part of a network by its path."""

    def freeze(self, *names: str) -> None:
        """Stop the named learnables from learning (all of the layer's own, without names); the optimizer keeps its state.

        Raises:
            UnknownNameError: if the layer is built and has no learnable of that name.

        >>> layer = Layer()
        >>> layer.alpha = layer.learnable(3, init=0.5)
        >>> layer.freeze("alpha")
        >>> layer.alpha.requires_grad
        False
        """
        for name in self._named(names):
            self._frozen.add(name)
            set_learning(self._parameters.get(name), False)

    def unfreeze(self, *names: str) -> None:
        """Let the named learnables learn again (all of the layer's own, without names).

        Raises:
            UnknownNameError: if the layer is built and has no learnable of that name.
        """
        for name in self._named(names):
            self._frozen.discard(name)
            set_learning(self._parameters.get(name), self._trainable)

    def _named(self, names: Sequence[str]) -> list[str]:
        own = [n for n, p in self._parameters.items() if p is not None]
        if self.built:
            for name in names:
                if name not in own:
                    raise unknown_name(f"{self.label}: learnable", name, own)
        return list(names) or own

    # -- building and calling -------------------------------------------------------------------------------------------

    @property
    def label(self) -> str:
        """How an error message names this layer: path, class, and the settings that tell it from others."""
        settings = self.extra_repr()
        return f"layer {self.path or self.name!r} ({type(self).__name__}{', ' + settings if settings else ''})"

    @property
    def _placement(self) -> tuple[torch.device | None, torch.dtype]:
        place: tuple[torch.device | None, torch.dtype] = self.__dict__.get("_build_place", (None, torch.get_default_dtype()))
        return place

    def _build_for(self, inputs: Sequence[Any]) -> None:
        tensors = [t for t in inputs if isinstance(t, Tensor)]
        if not tensors or any(t.dim() == 0 for t in tensors):
            refuse_arrays(self.label, inputs)
            raise ShapeError(
                complaint(
                    self.label,
                    expected="a batch (batch, ...) as first input, to build the layer for its shape",
                    received=", ".join(type(i).__name__ for i in inputs) or "nothing",
                    fix=f"Call {type(self).__name__}() with a tensor",
                )
            )
        sizes = [tuple(t.shape[1:]) for t in tensors]
        first = tensors[0]
        device = None if first.is_meta else first.device
        wide = first.dtype in (torch.float32, torch.float64)
        self.__dict__["_build_place"] = (device, first.dtype if wide else torch.get_default_dtype())
        self.input_shape = sizes[0] if len(sizes) == 1 else tuple(sizes)
        tables = [(table, table.copy()) for table in (self._parameters, self._buffers, self._modules)]
        declared, frozen, older = self._declared, set(self._frozen), set(self.modules())
        try:
            with shapes.real_tensors(), torch.no_grad():
                self.check_input(*sizes)
                self.build(*sizes)
            self._check_frozen()
        except BaseException as error:
            # a half-built layer must not look built, nor complain of a second declaration when it is tried again
            for table, entries in tables:
                table.clear()
                table.update(entries)  # type: ignore[arg-type]  # its own copy
            self.__dict__.update(_declared=declared, _frozen=frozen, input_shape=None)
            if shapes.tracing() and isinstance(error, Exception) and not isinstance(error, LaminarError):
                raise self._build_failure(error, sizes) from error
            raise
        finally:
            del self.__dict__["_build_place"]
        self._adopt(older)
        self.built = True

    def _adopt(self, older: set[nn.Module]) -> None:
        """Give the modules that build created this layer's mode, and all layers inside a path for their initial values."""
        for name, sub in self.named_modules():
            if sub not in older:
                sub.training = self.training
            if isinstance(sub, Layer) and sub is not self:
                sub.path = f"{self.path or self.name}/{name.replace('.', '/')}"

    def _check_frozen(self) -> None:
        unknown = [n for n in self._frozen if n not in self._parameters]
        if unknown:
            raise unknown_name(f"{self.label}: learnable", unknown[0], self._parameters)

    def _build_failure(self, error: Exception, sizes: Sequence[Shape]) -> LayerError:
        """Return the error that names this layer, where the traceback alone would only show the network."""
        first = (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")
        return LayerError(
            complaint(
                self.label,
                expected="a shape that its build can take",
                received=f"{' and '.join(map(format_shape, sizes))}, on which it raised {type(error).__name__}: {first}",
                fix="Check it against the output of the layer before it",
            )
        )

    def __call__(self, *inputs: Any, **kwargs: Any) -> Any:
        """Build the layer if need be, then run `predict`, or `forward` with its derivative.

        Several inputs come one after the other, layer(a, b), or in one list or tuple, layer([a, b]).
        """
        if symbols.any_symbol(inputs, kwargs):
            return symbols.call(self, inputs, kwargs)
        if len(inputs) == 1 and self._takes_several and isinstance(inputs[0], list | tuple):
            inputs = tuple(inputs[0])
        if not self.built:  # disable() would load the compiler, a second and a half: only where it is at work already
            (torch.compiler.disable(self._build_for) if torch.compiler.is_compiling() else self._build_for)(inputs)
        try:
            z = checkpointed(self, self._called, inputs, kwargs) if self.recompute else self._called(*inputs, **kwargs)
        except (RuntimeError, IndexError, TypeError, AttributeError):
            # torch's word on it; if kind or shape of the input is to blame, the layer says so better
            refuse_arrays(self.label, inputs)
            self.check_input(*(tuple(t.shape[1:]) for t in inputs if isinstance(t, Tensor)))
            raise
        if z is None:
            raise LayerError(
                complaint(
                    self.label,
                    expected="forward to return a tensor",
                    received="None",
                    fix="Add a return statement to its forward",
                )
            )
        return z

    def _called(self, *inputs: Any, **kwargs: Any) -> Any:
        if not (self._overrides_backward or self._overrides_predict or self.has_memory):
            return super().__call__(*inputs, **kwargs)
        if not has_hooks(self):
            return self._dispatch(*inputs, **kwargs)
        return self._call_with_hooks(*inputs, **kwargs)

    def _call_with_hooks(self, *inputs: Any, **kwargs: Any) -> Any:
        """Let torch run the hooks around `_dispatch`: it calls `self.forward`, which is the dispatch for that one moment."""

        def once(*args: Any, **kw: Any) -> Any:
            del self.__dict__["forward"]
            return self._dispatch(*args, **kw)

        self.__dict__["forward"] = once
        try:
            return super().__call__(*inputs, **kwargs)
        finally:
            self.__dict__.pop("forward", None)

    def _dispatch(self, *inputs: Any, **kwargs: Any) -> Any:
        if self._overrides_predict and not self.training:
            return self.predict(*inputs, **kwargs)
        if self._overrides_backward and torch.is_grad_enabled() and not kwargs:
            return run_with_backward(self, inputs)
        return self._without_memory(self.forward(*inputs, **kwargs))

    def _without_memory(self, returned: Any) -> Any:
        return self._split_memory(returned)[0] if self.has_memory else returned

    def _split_memory(self, returned: Any) -> tuple[Any, Any]:
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise LayerError(
                complaint(
                    self.label,
                    expected="forward to return (z, memory), because backward takes a memory",
                    received=f"a tuple of {len(returned)}" if isinstance(returned, tuple) else type(returned).__name__,
                    fix="Return the pair, or define backward(self, x, z, dz)",
                )
            )
        return returned
