"""`Model`: compile, fit, evaluate, predict, classify, summary. The facade over `laminar.fit`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from laminar import losses, metrics, optimizers, seeding, shapes
from laminar.errors import ArgumentError, LayerError, NotCompiledError, complaint
from laminar.fit import adapt, arguments
from laminar.fit import evaluate as evaluation
from laminar.fit.ahead import need_main_thread
from laminar.fit.batches import Batches, Order, Shuffle, make_batches
from laminar.fit.callbacks import Callback
from laminar.fit.convert import ClassWeight, Converter, Inputs, about, as_numpy
from laminar.fit.engines.layout import lay_out
from laminar.fit.figures import Figures
from laminar.fit.forward import Engine, Execution
from laminar.fit.head import Head, find_axis, find_head
from laminar.fit.learner import Learner
from laminar.fit.loop import Run, train
from laminar.fit.plan import OnePlan
from laminar.fit.precision import Precision, computes_in_bfloat16, need_float32
from laminar.fit.progress import make_progress
from laminar.fit.several import Goals, OneOutput, SeveralPlan, make_goals
from laminar.fit.state import History, Recipe
from laminar.fit.words import named_arguments
from laminar.network import Network
from laminar.profiling.measure import Subject
from laminar.profiling.result import Profile
from laminar.profiling.run import profiled
from laminar.shapes import Shape

__all__ = ["Model"]

_EVALUATED = 512  # observations at a time in validation
_PLAIN = Head(None, None, gives_probabilities=True)


class Model(Network):
    """A network that trains: what lies between inputs and outputs, or a subclass with a `forward` of your own.

    It is a `torch.nn.Module` like any other: it goes through a plain PyTorch loop, `torch.compile`, `state_dict`.

    Args:
        inputs: what `Input` returned, or a list, tuple or dict of these; None in a subclass with a forward of its own.
        outputs: what layers and functions returned for them, likewise; the network returns tensors in the same nest.
        name: its name as a part of another network; made from the class where None.

    Raises:
        ArgumentError: if there are other things among inputs or outputs, or an input is not used.
        LayerError: if an output depends on an input that is not among `inputs`.

    >>> import laminar as lm
    >>> inputs = lm.Input((1, 28, 28))
    >>> x = lm.layers.Conv2D(8, 3, activation="relu")(inputs)
    >>> Model(inputs, lm.layers.Dense(10)(x.mean((2, 3)))).output_shape
    (10,)

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

    def __init__(self, inputs: Any = None, outputs: Any = None, *, name: str | None = None) -> None:
        super().__init__(inputs, outputs, name=name)
        self.history: History | None = None
        self._recipe: Recipe | None = None
        self._learner = Learner()
        self._head: Head | None = None
        self._goals: Goals | None = None

    # -- compile --------------------------------------------------------------------------------------------------------

    @named_arguments
    def compile(
        self,
        optimizer: Any = "sgdm",
        loss: Any = None,
        metrics: Sequence[Any] | Any = (),
        *,
        loss_weights: Any = None,
        device: str | torch.device = "auto",
        engine: Engine = "auto",
        precision: Precision = "float32",
    ) -> None:
        """Say how the network is to learn. Call it again to change that; the weights stay, the optimizer starts anew.

        Args:
            optimizer: a name of `laminar.optimizers`, an optimizer of that module, a `torch.optim.Optimizer`, or a function
                from parameters to one.
            loss: a name of `laminar.losses`, a loss of that module, a loss module of torch, or a function of
                (prediction, target). A cross-entropy by name works on logits inside wherever it can. With several outputs
                one for all, or a list or dict of one for each.
            metrics: names of `laminar.metrics`, metrics, or functions of (prediction, target); one, or several in a list.
                With several outputs a list or dict of that, for each.
            loss_weights: with several outputs what each loss counts in the sum of them; 1 where None.
            device: "auto" (a GPU where there is one), or a torch device.
            engine: "auto" (on the CPU Laminar's own kernels where these are faster, on a GPU "cuda_graph"), "eager" (torch's
                operations alone), "compiled" (training by torch's compiler), or "cuda_graph" (whole training steps as one
                CUDA graph). The numbers are those of "eager" but for rounding. An engine that cannot be used says why, and
                leaves the network to "auto"'s kernels.
            precision: "float32" (the dtype of the parameters, to be exact), "bfloat16" (convolutions, matrix products and the
                like round their inputs to it, in training, evaluation and prediction; parameters, optimizer, loss and figures
                stay float32), or "auto" (bfloat16 where it is faster: see `laminar info`).

        Raises:
            UnknownNameError: on an unknown name.
            ArgumentError: if there is no loss, no such device, two metrics of one name, or bfloat16 is asked for a network
                whose parameters are not float32.
        """
        if loss is None:
            fix = 'Pass loss="sparse_categorical_crossentropy", say'
            raise ArgumentError(complaint("compile(loss=)", expected="a loss", received="none", fix=fix))
        place, engine, precision = arguments.device_of(device), arguments.engine_of(engine), arguments.precision_of(precision)
        need_float32(self, precision)
        names = () if self._graph is None else self._graph.output_names
        if len(names) > 1:
            self._goals = make_goals(names, loss, loss_weights, metrics, place)
            loss, metrics = self._goals.losses[0], ()
        elif loss_weights is not None:
            fix = "Leave it out, or write Model(inputs, [a, b])"
            where, expected = "compile(loss_weights=)", "several outputs of a network made from inputs and outputs"
            raise ArgumentError(complaint(where, expected=expected, received="another network", fix=fix))
        self._recipe = Recipe(
            optimizers.get(optimizer),
            losses.get(loss).to(place),
            arguments.metric_list(metrics),  # looked up here, not after the data has been read
            place,
            engine,
            precision,
        )
        self._learner = Learner()
        self._head = None

    def _compiled(self, what: str) -> Recipe:
        if self._recipe is None:
            expected, received = "a compiled network", "one that does not know its loss"
            fix = 'Call model.compile(optimizer="sgdm", loss="sparse_categorical_crossentropy") first'
            raise NotCompiledError(complaint(f"{type(self).__name__}.{what}", expected=expected, received=received, fix=fix))
        return self._recipe

    # -- fit ------------------------------------------------------------------------------------------------------------

    @named_arguments
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
        y = y if y is None else self._arranged_targets(y)
        training, validation = arguments.parts((self._arranged(x), y, sample_weight), validation_data, validation_split)
        with arguments.noise(seed, recipe.device, "data"):
            batches = self._batches(training, order, recipe.device, class_weight=class_weight, seed=seed)
            adapt.adapt(self, batches)
            plan = self._plan(recipe, batches)
            validate = None if validation is None else self._validation(validation, recipe, plan)
        pace = self._learner.pace(recipe.optimizer, self, f"{type(self).__name__}.fit")
        self.history = History()
        run = Run(
            self,
            pace,
            plan.step(pace, progress.note),
            batches,
            plan.recorder(),
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

    @named_arguments
    def evaluate(self, x: Any, y: Any = None, *, batch_size: int = 512, sample_weight: Any = None) -> Figures:
        """Return the loss and the metrics over all observations, by name; `figures[0]` is the loss, as in Keras' list.

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
        return Figures(self._plan(recipe, batches).evaluate(batches))

    @named_arguments
    def predict(self, x: Any, *, batch_size: int = 512) -> Any:
        """Return what the network says of every observation: probabilities, under a cross-entropy; numbers otherwise.

        Args:
            x: inputs, as in `fit`; the targets that a Dataset or DataLoader yields are left aside.
            batch_size: observations at a time; small perceptrons that one kernel computes take more, without needing memory.

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
        plan = (
            OnePlan(self, losses.get("mse"), _PLAIN, (), Execution("auto")) if recipe is None else self._plan(recipe, batches)
        )
        output = evaluation.predict(self, batches, plan.finish, plan.execution, plan.portions)
        first = next(iter(x.values() if isinstance(x, dict) else x)) if isinstance(x, tuple | dict) and x else x
        return output if isinstance(first, Tensor) else tree_map(as_numpy, output)

    @named_arguments
    def classify(self, x: Any, *, batch_size: int = 512) -> Any:
        """Return the most probable class of every observation, (N,); 0 or 1 for each output that answers yes or no.

        Outputs answer yes or no under a binary cross-entropy or a hinge loss, and where there is only one.

        Args and Raises are those of `predict`.
        """
        found = self.predict(x, batch_size=batch_size)
        if len(self._output_shapes) != 1:
            where, received = f"{type(self).__name__}.classify", f"{len(self._output_shapes)} outputs"
            fix = "Use predict, and argmax(1) of those that are classes"
            raise LayerError(complaint(where, expected="a network with one output", received=received, fix=fix))
        output = torch.as_tensor(found)
        judge = metrics.resolve("accuracy", self._one_output(), self._recipe.loss.name if self._recipe else "")
        axis = (find_axis(self) if self._head is None else self._head.axis) or 1
        if isinstance(judge, metrics.BinaryAccuracy) or output.shape[axis] == 1:
            labels = (output > getattr(judge, "threshold", 0.5)).long()
            labels = labels.squeeze(axis) if labels.dim() > 1 else labels
        else:
            labels = output.argmax(axis)
        return labels if isinstance(x, Tensor) else labels.numpy()

    # -- profile --------------------------------------------------------------------------------------------------------

    @named_arguments
    def profile(
        self,
        x: Any,
        y: Any = None,
        *,
        batch_size: int = 128,
        sample_weight: Any = None,
        repeats: int = 7,
        show: bool = True,
    ) -> Profile:
        """Print and return where the time and the memory of a training step go, layer by layer, and what to try.

        A copy of the network takes some steps on the first batch; the network, its optimizer and the global random generators
        are afterwards as they were, bit for bit.

        Args:
            x: inputs, as in `fit`.
            y: targets, as in `fit`.
            batch_size: observations in the step.
            sample_weight: weights, as in `fit`.
            repeats: steps that are measured, at least 1; the figures are medians.
            show: whether to print the table.

        Raises:
            NotCompiledError: before `compile`.
            DataError, LabelError, ShapeError, DtypeError: naming what is wrong with the data.

        >>> import laminar as lm
        >>> from laminar import layers as L
        >>> model = lm.Sequential([L.Flatten(), L.Dense(10)])
        >>> model.compile("sgdm", "sparse_categorical_crossentropy")
        >>> found = model.profile(torch.rand(64, 1, 28, 28), torch.arange(64) % 10, show=False)
        >>> [row.path for row in found.rows]
        ['flatten', 'dense', '(loss)', '(update)', '(everything else)']
        """
        recipe = self._compiled("profile")
        size, repeats = arguments.whole_numbers("profile", batch_size=batch_size, repeats=repeats)
        with seeding.preserved(), seeding.loader_preserved(x):
            trial = copy.deepcopy(self)  # with the optimizer, should that be a torch optimizer of its parameters
            training = (trial._arranged(x), y if y is None else trial._arranged_targets(y), sample_weight)
            batches = trial._batches(training, Order(size, seed=0), recipe.device)
            adapt.adapt(trial, batches)
            plan = trial._plan(recipe, batches)
            pace = trial._learner.pace(recipe.optimizer, trial, f"{type(self).__name__}.profile")
            with trial._traceable() as imagined:
                found = shapes.trace(imagined, *trial._need_built("profile"), dtype=trial._input_dtypes or None)
            steps = plan.eager_step(pace), plan.step(pace)
            subject = Subject(trial.train(), *steps, pace.optimizer, batches.example(), found, recipe.device)
            result = profiled(subject, plan.execution, repeats)
        if show:
            print(result)
        return result

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
        known = {} if self._input_shapes is None or self._lacks_parameters else {self._input_shapes: self._output_shapes}
        last = self._output_shapes  # of the batch that was looked at last

        def ready(x: Inputs) -> None:
            nonlocal last
            tensors = x if isinstance(x, tuple) else (x,)
            inputs = tuple(tuple(t.shape[1:]) for t in tensors)
            if inputs not in known:
                need_main_thread()  # where the network may be training
                known[inputs] = self._run_for_shapes(inputs, tuple(t.dtype for t in tensors), seed)
            last = known[inputs]

        def prepare(y: Tensor, dtype: torch.dtype) -> Tensor:
            return self._compiled("fit").loss.along(find_axis(self)).prepare(y, self._one_output(last), dtype=dtype)

        goals = self._goals
        each = [] if goals is None else [partial(self._prepare, i, find_axis(one)) for i, one in enumerate(self._each_output())]
        converter = Converter(
            dtype=next((p.dtype for p in self.parameters() if p.is_floating_point()), torch.get_default_dtype()),
            ready=ready,
            prepare=(each or prepare) if labelled else None,
            keep_integers=self._whole_numbers(),
            arrange=self._arranged,
            arrange_targets=self._arranged_targets,
            class_weight=class_weight,
        )
        batches = make_batches(data, order, device, converter)
        if self._input_shapes is None or self._lacks_parameters:
            batches.example()  # a stream is looked into only when it is asked
        self.to(device)
        return batches

    def _whole_numbers(self) -> bool | list[bool]:
        """Return whether inputs of whole numbers stay so, for each input where `Input` has told."""
        if self._graph is None:
            return any(map(shapes.takes_whole_numbers, self.modules()))
        return [not dtype.is_floating_point for dtype in self._graph.dtypes]

    def _arranged(self, x: Any) -> Any:
        """Return the inputs of a dict or of a list of arrays, as a tuple, where `Input` has told which there are."""
        if self._graph is None or not isinstance(x, list | dict):
            return x
        several = len(x) == len(self._graph.names) > 1 and all(hasattr(t, "__array__") for t in x)
        found = self._graph.arranged(x) if isinstance(x, dict) or several else x
        return found[0] if isinstance(found, tuple) and len(found) == 1 else found

    def _arranged_targets(self, y: Any) -> Any:
        """Return the targets of several outputs as a tuple."""
        return y if self._goals is None else self._goals.arranged(y)

    def _validation(
        self, data: arguments.Triple, recipe: Recipe, plan: OnePlan | SeveralPlan
    ) -> Callable[[], dict[str, float]]:
        """Return a function that evaluates the network on `data`."""
        with about("validation_data"):
            held = self._batches(data, Order(_EVALUATED), recipe.device)

        def validate() -> dict[str, float]:
            with about("validation_data"):
                return plan.evaluate(held)

        return validate

    def _one_output(self, found: tuple[Shape, ...] | None = None) -> Shape:
        outputs = self._output_shapes if found is None else found
        if len(outputs) != 1:
            expected, received = "a network with one output, to train it with one loss", f"{len(outputs)} outputs"
            fix = "Return one tensor from forward"
            raise LayerError(complaint(type(self).__name__, expected=expected, received=received, fix=fix))
        return outputs[0]

    def _metrics(self, recipe: Recipe, head: Head) -> list[metrics.Metric]:
        return [metrics.resolve(m, self._one_output(), recipe.loss.name, axis=head.axis) for m in recipe.metrics]

    def _plan(self, recipe: Recipe, batches: Batches) -> OnePlan | SeveralPlan:
        """Return how the network is trained, evaluated and read."""
        execution = Execution(recipe.engine, computes_in_bfloat16(self, recipe.precision, recipe.device))
        lay_out(self, execution, recipe.device)
        if self._goals is not None and self._graph is not None:
            return SeveralPlan(
                self, self._goals, self._output_shapes, self._each_output(), lambda: batches.example().x, execution
            )
        head = self._find_head(recipe, batches)
        return OnePlan(self, recipe.loss, head, self._metrics(recipe, head), execution)

    def _prepare(self, number: int, axis: int | None, y: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the targets of one of several outputs as its loss takes them."""
        assert self._goals is not None
        loss = self._goals.losses[number].along(axis)
        return loss.prepare(y, self._output_shapes[number], f"y[{number}]", dtype=dtype)

    def _each_output(self) -> list[OneOutput]:
        """Return views of a network made from inputs and outputs, each through one of these."""
        assert self._graph is not None
        return [OneOutput(self, i, self._graph.tail(i)) for i in range(len(self._graph.output_names))]

    def _find_head(self, recipe: Recipe, batches: Batches) -> Head:
        axes = len(self._one_output())
        if self._head is None:
            self._head = find_head(self, recipe.loss, lambda: batches.example().x, axes)
        return self._head
