"""`Model`: compile, fit, evaluate, predict, classify, summary. The facade over `laminar.fit`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from laminar import losses, metrics, optimizers, seeding, shapes
from laminar.errors import ArgumentError, LayerError, NotBuiltError, NotCompiledError, complaint
from laminar.fit import adapt, arguments, checkpoint
from laminar.fit import evaluate as evaluation
from laminar.fit.batches import Batches, Order, Shuffle, make_batches
from laminar.fit.callbacks import Callback
from laminar.fit.convert import ClassWeight, Converter, Inputs, about, as_numpy
from laminar.fit.head import Head, find_head
from laminar.fit.learner import Learner
from laminar.fit.loop import Run, train
from laminar.fit.pace import Pace
from laminar.fit.progress import make_progress
from laminar.fit.recorder import Recorder
from laminar.fit.state import History, Recipe
from laminar.fit.steps import eager_step
from laminar.layers.base import Layer
from laminar.layers.freezing import set_trainable
from laminar.shapes import Shape
from laminar.summary import Summary, summarize

__all__ = ["Model"]

_EVALUATED = 512  # observations at a time in validation
_PLAIN = Head(None, None, gives_probabilities=True)


class Model(nn.Module):
    """A network that trains. Subclass it with a `forward` of your own, or use `Sequential`.

    It is a `torch.nn.Module` like any other: it goes through a plain PyTorch loop, `torch.compile`, `state_dict`.

    >>> from laminar import layers as L
    >>> class Net(Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden, self.out = L.Dense(8, activation="relu"), L.Dense(3)
    ...
    ...     def forward(self, x):  # (B, features)
    ...         return self.out(self.hidden(x))
    >>> net = Net().build((4,))
    >>> net(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    is_chain = False

    def __init__(self) -> None:
        super().__init__()
        self.history: History | None = None
        self._recipe: Recipe | None = None
        self._learner = Learner()
        self._head: Head | None = None
        self._input_shapes: tuple[Shape, ...] | None = None
        self._output_shapes: tuple[Shape, ...] = ()
        self._input_dtype: torch.dtype | None = None

    # -- building -------------------------------------------------------------------------------------------------------

    @property
    def input_shape(self) -> Shape | tuple[Shape, ...] | None:
        """The shape of one observation (several: one for each input); None before the network is built."""
        return _one(self._input_shapes) if self._input_shapes else None

    @property
    def output_shape(self) -> Shape | tuple[Shape, ...]:
        """The shape of one observation of the output.

        Raises:
            NotBuiltError: before the network is built.
        """
        self._need_built("output_shape")
        return _one(self._output_shapes)

    def build(self, *shape: int | Sequence[int], seed: int | None = None) -> Model:
        """Create the parameters of every layer for observations of `shape`, and return the network.

        Args:
            *shape: without the batch axis, one for each input.
            seed: of the initial values; each layer's depend on the seed and its own path only. torch's global generator
                where None.

        Raises:
            ArgumentError: if `shape` is no shape.
            ShapeError: from the layer that cannot take what it is given.
            LayerError: naming another module that fails, with what it said.

        >>> from laminar import Sequential, layers as L
        >>> Sequential([L.Flatten(), L.Dense(10)]).build((1, 28, 28), seed=0).output_shape
        (10,)
        """
        where = f"{type(self).__name__}.build"
        inputs = arguments.input_shapes(where, shape, one=self.is_chain)
        self._run_for_shapes(inputs, None, arguments.seed_of(f"{where}(seed=)", seed), anew=True)
        return self

    def _run_for_shapes(
        self, inputs: Sequence[Shape], dtype: torch.dtype | None, seed: int | None, *, anew: bool = False
    ) -> tuple[Shape, ...]:
        """Return the shapes that come out for those that go in; those of the first time, or `anew`, are the network's own."""
        if self.is_chain and len(inputs) != 1:
            fix = "Pass one array, or derive from Model with forward(self, a, b)"
            raise ArgumentError(
                complaint(type(self).__name__, expected="one input", received=f"{len(inputs)}, in a tuple", fix=fix)
            )
        for name, module in self.named_modules():
            if isinstance(module, Layer):
                module.path = name.replace(".", "/")
        # our layers draw from the seed and their path, other modules that build themselves from torch's global generator
        with seeding.seeded(seed), arguments.noise(seed, torch.device("cpu"), "build"):
            found = shapes.trace(self, *inputs, dtype=dtype)
        if anew or self._input_shapes is None:
            self._input_shapes, self._input_dtype = tuple(inputs), dtype
            self._output_shapes = found.outputs
        return found.outputs

    def _need_built(self, what: str) -> tuple[Shape, ...]:
        if self._input_shapes is None:
            expected, received = "a network that knows its input shape", "one that has not seen data yet"
            fix = "Call model.build((channels, height, width)) first"
            raise NotBuiltError(complaint(f"{type(self).__name__}.{what}", expected=expected, received=received, fix=fix))
        return self._input_shapes

    @property
    def trainable(self) -> bool:
        """Whether any parameter learns; set it to freeze or unfreeze every layer."""
        return any(p.requires_grad for p in self.parameters())

    @trainable.setter
    def trainable(self, value: bool) -> None:
        set_trainable(self, bool(value))

    # -- compile --------------------------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = "sgdm",
        loss: Any = None,
        metrics: Sequence[Any] | Any = (),
        *,
        device: str | torch.device = "auto",
    ) -> None:
        """Say how the network is to learn. Call it again to change that; the weights stay, the optimizer starts anew.

        Args:
            optimizer: a name of `laminar.optimizers`, an optimizer of that module, a `torch.optim.Optimizer`, or a function
                from parameters to one.
            loss: a name of `laminar.losses`, a loss of that module, a loss module of torch, or a function of
                (prediction, target). A cross-entropy by name works on logits inside wherever it can.
            metrics: names of `laminar.metrics`, metrics, or functions of (prediction, target); one, or several in a list.
            device: "auto" (a GPU where there is one), or a torch device.

        Raises:
            UnknownNameError: on an unknown name.
            ArgumentError: if there is no loss, no such device, or two metrics of one name.
        """
        if loss is None:
            fix = 'Pass loss="sparse_categorical_crossentropy", say'
            raise ArgumentError(complaint("compile(loss=)", expected="a loss", received="none", fix=fix))
        place = arguments.device_of(device)
        chosen = arguments.metric_list(metrics)  # looked up here, not after the data has been read
        self._recipe = Recipe(optimizers.get(optimizer), losses.get(loss).to(place), chosen, place)
        self._learner = Learner()
        self._head = None

    def _compiled(self, what: str) -> Recipe:
        if self._recipe is None:
            expected, received = "a compiled network", "one that does not know its loss"
            fix = 'Call model.compile(optimizer="sgdm", loss="sparse_categorical_crossentropy") first'
            raise NotCompiledError(complaint(f"{type(self).__name__}.{what}", expected=expected, received=received, fix=fix))
        return self._recipe

    # -- fit ------------------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 128,
        validation_data: Any = None,
        validation_split: float | None = None,
        shuffle: Shuffle = "epoch",
        drop_last: bool = False,
        class_weight: ClassWeight | None = None,
        sample_weight: Any = None,
        callbacks: Sequence[Callback] | Callback = (),
        seed: int | None = None,
        log_every: int = 50,
        verbose: int | str | bool = 1,
    ) -> History:
        """Train the network and return every figure of the training. Ctrl-C ends it cleanly; what was learned is kept.

        Args:
            x: inputs (N, ...): array, tensor, or a tuple of them for several inputs; or a Dataset, DataLoader or
                re-iterable of (x, y) or (x, y, weight).
            y: targets (N, ...): class numbers, one-hot rows, or numbers; None where x yields them.
            epochs: passes over the data.
            batch_size: observations in a step; a DataLoader or re-iterable has its own.
            validation_data: (x, y) or (x, y, weight), or a source that yields them; evaluated after every epoch.
            validation_split: share in (0, 1) of arrays, the last ones, to validate on instead.
            shuffle: "epoch" (or True), "once" or False; a DataLoader or re-iterable has its own order.
            drop_last: leave out a last batch that is not full.
            class_weight: class -> weight of its observations in the loss; also for labels 0 and 1 of a single output.
            sample_weight: (N,), weight of each observation in the loss; metrics are not weighted.
            callbacks: what else is to happen.
            seed: of initial values (if the network is not built yet), shuffling and dropout; torch's global generator
                where None.
            log_every: iterations between two rows of the table.
            verbose: 0 silent, 1 what suits the place (terminal, notebook, file), 2 plain rows.

        Raises:
            NotCompiledError: before `compile`.
            DataError, LabelError, ShapeError, DtypeError: naming what is wrong with the data.
            DivergedError: if the loss is no longer finite; `model.history` then holds the figures up to there.

        Note:
            After fit the network is in inference mode, as Keras users expect of `model(x)`; call `model.train()` before
            a training loop of your own.
        """
        recipe = self._compiled("fit")
        epochs, size, every = arguments.whole_numbers("fit", epochs=epochs, batch_size=batch_size, log_every=log_every)
        progress, watching = make_progress(verbose), arguments.callback_list(callbacks)
        seed = arguments.seed_of("fit(seed=)", seed)
        of_order = int(torch.randint(2**62, ())) if seed is None else seed
        order = Order(size, arguments.shuffle_of(shuffle), drop_last, of_order)
        training, validation = arguments.parts((x, y, sample_weight), validation_data, validation_split)
        with arguments.noise(seed, recipe.device, "data"):
            batches = self._batches(training, order, recipe.device, class_weight=class_weight, seed=seed)
            adapt.adapt(self, batches)
            chosen, head = self._metrics(recipe), self._find_head(recipe, batches)
            validate = None if validation is None else self._validation(validation, recipe, chosen, head)
        optimizer = self._learner.optimizer(recipe.optimizer, list(self.parameters()), f"{type(self).__name__}.fit")
        self.history = History()
        run = Run(
            self,
            Pace(optimizer),
            eager_step(self, recipe.loss, head, optimizer),
            batches,
            Recorder(chosen, head),
            validate,
            watching,
            progress,
            every,
            self.history,
        )
        count = "a stream" if batches.observations is None else f"{batches.observations:,} observations"
        with arguments.noise(seed, recipe.device):
            try:
                train(run, epochs, f"Training on {recipe.device.type} with {count}")
            finally:
                self.eval()
        return self.history

    # -- evaluate and predict -------------------------------------------------------------------------------------------

    def evaluate(self, x: Any, y: Any = None, *, batch_size: int = 512, sample_weight: Any = None) -> dict[str, float]:
        """Return the loss and the metrics over all observations, by name.

        Args:
            x: inputs, as in `fit`.
            y: targets, as in `fit`.
            sample_weight: weights, as in `fit`.
            batch_size: observations at a time; it changes no figure beyond rounding.

        Raises:
            NotCompiledError: before `compile`.
            DataError, LabelError, ShapeError, DtypeError: naming what is wrong with the data.
        """
        recipe = self._compiled("evaluate")
        (size,) = arguments.whole_numbers("evaluate", batch_size=batch_size)
        batches = self._batches((x, y, sample_weight), Order(size), recipe.device)
        return evaluation.evaluate(self, batches, recipe.loss, self._metrics(recipe), self._find_head(recipe, batches))

    def predict(self, x: Any, *, batch_size: int = 512) -> Any:
        """Return what the network says of every observation: probabilities, under a cross-entropy; numbers otherwise.

        Args:
            x: inputs, as in `fit`; the targets that a Dataset or DataLoader yields are left aside.
            batch_size: observations at a time.

        Returns:
            (N, ...), a tensor where x is one (or several), a NumPy array otherwise; as many of them, in the same tuple, as the
            network returns.

        Raises:
            DataError, ShapeError, DtypeError: naming what is wrong with the data.
        """
        (size,) = arguments.whole_numbers("predict", batch_size=batch_size)
        recipe, own = self._recipe, next(self.parameters(), torch.empty(0))
        device = own.device if recipe is None else recipe.device  # a network that was never compiled stays where it is
        batches = self._batches((x, None, None), Order(size), device, labelled=False)
        head = _PLAIN if recipe is None else self._find_head(recipe, batches)
        output = evaluation.predict(self, batches, head)
        first = x[0] if isinstance(x, tuple) and x else x
        return output if isinstance(first, Tensor) else tree_map(as_numpy, output)

    def classify(self, x: Any, *, batch_size: int = 512) -> Any:
        """Return the most probable class of every observation, (N,); 0 or 1 for each output that answers yes or no.

        Outputs answer yes or no under a binary cross-entropy or a hinge loss, and where there is only one.

        Args and Raises are those of `predict`.
        """
        output = torch.as_tensor(self.predict(x, batch_size=batch_size))
        judge = metrics.resolve("accuracy", self._one_output(), self._recipe.loss.name if self._recipe else "")
        if isinstance(judge, metrics.BinaryAccuracy) or output.shape[1] == 1:
            labels = (output > getattr(judge, "threshold", 0.5)).long()
            labels = labels.squeeze(1) if labels.dim() > 1 else labels
        else:
            labels = output.argmax(1)
        return labels if isinstance(x, Tensor) else labels.numpy()

    def summary(self, *, show: bool = True) -> Summary:
        """Print and return the table of layers: path, layer, output shape, parameters, multiply-adds.

        Args:
            show: whether to print it.

        Raises:
            NotBuiltError: before the network has seen an input shape.
        """
        inputs = self._need_built("summary")
        result = summarize(self, shapes.trace(self, *inputs, dtype=self._input_dtype), inputs)
        if show:
            print(result)
        return result

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and buffers (fitted statistics of the data too) to a safetensors file, whole or not at all.

        Raises:
            FileError: if the file cannot be written.
        """
        self._need_built("save_weights")
        checkpoint.save_weights(self, path)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Read what `save_weights` wrote; the network must be built. On any error nothing is changed.

        Raises:
            FileError: if the file is missing, truncated or no safetensors file.
            ShapeError: if its names or shapes are not those of this network.
        """
        self._need_built("load_weights")
        checkpoint.load_weights(self, path)

    # -- parts ----------------------------------------------------------------------------------------------------------

    def _batches(
        self,
        data: tuple[Any, Any, Any],
        order: Order,
        device: torch.device,
        *,
        class_weight: Any = None,
        seed: int | None = None,
        labelled: bool = True,
    ) -> Batches:
        """Return the batches of `data`, having built the network for them and brought it to `device`."""
        known = {} if self._input_shapes is None else {self._input_shapes: self._output_shapes}
        last = self._output_shapes  # of the batch that was looked at last

        def ready(x: Inputs) -> None:
            nonlocal last
            tensors = x if isinstance(x, tuple) else (x,)
            inputs = tuple(tuple(t.shape[1:]) for t in tensors)
            if inputs not in known:
                known[inputs] = self._run_for_shapes(inputs, tensors[0].dtype, seed)
            last = known[inputs]

        def prepare(y: Tensor, dtype: torch.dtype) -> Tensor:
            return self._compiled("fit").loss.prepare(y, self._one_output(last), dtype=dtype)

        converter = Converter(
            dtype=next((p.dtype for p in self.parameters() if p.is_floating_point()), torch.get_default_dtype()),
            ready=ready,
            prepare=prepare if labelled else None,
            keep_integers=any(isinstance(m, (nn.Embedding, nn.EmbeddingBag)) for m in self.modules()),
            class_weight=class_weight,
        )
        batches = make_batches(data, order, device, converter)
        if self._input_shapes is None:
            batches.example()  # a stream is looked into only when it is asked
        self.to(device)
        return batches

    def _validation(
        self, data: arguments.Triple, recipe: Recipe, chosen: Sequence[metrics.Metric], head: Head
    ) -> Callable[[], dict[str, float]]:
        """Return a function that evaluates the network on `data`."""
        with about("validation_data"):
            held = self._batches(data, Order(_EVALUATED), recipe.device)

        def validate() -> dict[str, float]:
            with about("validation_data"):
                return evaluation.evaluate(self, held, recipe.loss, chosen, head)

        return validate

    def _one_output(self, found: tuple[Shape, ...] | None = None) -> Shape:
        outputs = self._output_shapes if found is None else found
        if len(outputs) != 1:
            expected, received = "a network with one output, to train it with one loss", f"{len(outputs)} outputs"
            fix = "Return one tensor from forward"
            raise LayerError(complaint(type(self).__name__, expected=expected, received=received, fix=fix))
        return outputs[0]

    def _metrics(self, recipe: Recipe) -> list[metrics.Metric]:
        return [metrics.resolve(m, self._one_output(), recipe.loss.name) for m in recipe.metrics]

    def _find_head(self, recipe: Recipe, batches: Batches) -> Head:
        self._one_output()
        if self._head is None:
            self._head = find_head(self, recipe.loss, lambda: batches.example().x)
        return self._head


def _one(values: tuple[Shape, ...]) -> Shape | tuple[Shape, ...]:
    return values[0] if len(values) == 1 else values
