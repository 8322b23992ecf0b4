"""Many seeds of one small network trained at once, in one batched program, with the results of training each alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from laminar.comparison.claims import Key
from laminar.comparison.environment import environment
from laminar.comparison.joint import Joint
from laminar.comparison.protocol import Protocol
from laminar.comparison.runs import Run
from laminar.comparison.task import Clock, Task, build, execute, finished
from laminar.comparison.trial import difference, seconds_of_steps
from laminar.comparison.verdicts import least_pairs
from laminar.errors import DivergedError
from laminar.fit.callbacks import INTERRUPTED

__all__ = ["Grouping", "can_train_together", "execute_together", "worth_it"]

_MOST = 10  # networks at once: with more, what a step costs beside arithmetic is a tenth already
_LATER = 4  # pairs at once where the next one may end the comparison
# The time that is left of a run. For less gain, runs do not come in groups: these need more memory, more is lost with a
# process that is killed, and on a busy machine a few steps cannot tell a gain of a tenth from none.
_GAIN = 0.8
_TRIFLE = 60.0  # seconds of training left, below which finding out costs more than it can save


def can_train_together(task: Task, variant: str) -> str | None:
    """Return why several seeds of a variant cannot be trained at once with the same results; None if they can.

    It is found out by trying a few steps both ways, on networks of their own; nothing else is changed.

    Args:
        task: the comparison.
        variant: whose networks.
    """
    try:
        return difference(task, variant)
    except Exception as error:  # a network that cannot be trained at all says so when its turn comes
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def worth_it(task: Task, variant: str, indexes: Sequence[int]) -> bool:
    """Return whether a run costs clearly less time when these seeds of a variant are trained at once, by timing a few steps.

    Args:
        task: the comparison.
        variant: a variant that can be trained so.
        indexes: the pairs.
    """
    alone, together = seconds_of_steps(task, variant, indexes)
    return together < _GAIN * alone


def execute_together(task: Task, variant: str, indexes: Sequence[int]) -> list[Run]:
    """Train one variant with the seeds of several pairs at once, and test each network; see `execute`.

    The results are those of `execute` to rounding. A network whose loss is not finite does not disturb the others, and is
    trained again alone, as all are where the common training fails: what is said of a failure is what `execute` says.

    Args:
        task: the comparison.
        variant: a variant that can be trained so.
        indexes: the pairs.

    Returns:
        their runs, in order; `together` says with how many each was trained.

    Raises:
        KeyboardInterrupt: if Ctrl-C ended the training.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        joint, clock = _trained(task, variant, indexes)
    except Exception:
        return [execute(task, variant, index) for index in indexes]
    if joint.history.stopped == INTERRUPTED:
        raise KeyboardInterrupt
    runs = []
    for k, index in enumerate(indexes):
        model = joint.models[k]
        model.history = joint.figures(k)
        if model.history is None:
            runs.append(execute(task, variant, index))
            continue
        seed = task.protocol.seed_of(index)
        elapsed = [seconds / len(indexes) for seconds in clock.elapsed]
        run = Run(variant, index, seed, started=started, environment=environment(), elapsed=elapsed)
        try:
            runs.append(replace(finished(task, model, task.training_data(index), run), together=len(indexes)))
        except Exception:
            runs.append(execute(task, variant, index))
    return runs


def _trained(task: Task, variant: str, indexes: Sequence[int]) -> tuple[Joint, Clock]:
    """Return the trainings, done; those whose loss was not finite at the end have no figures."""
    data = [task.training_data(index) for index in indexes]
    models = [build(task.builders[variant], task.protocol.seed_of(index), variant) for index in indexes]
    joint = Joint(
        models, data, [task.fit_arguments(variant, i, weight) for i, (_, _, weight) in zip(indexes, data, strict=True)]
    )
    clock = Clock()
    with suppress(DivergedError):  # of all of them: none has figures
        joint.train([clock])
    joint.stacked.part()
    return joint, clock


class Grouping:
    """Decides which runs of a comparison a process trains at once; each variant is tried once, where that can pay.

    Args:
        task: the comparison.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._pays: dict[str, bool] = {}

    def beside(self, first: Key, wanted: Sequence[Key], runs: Iterable[Run]) -> list[Key]:
        """Return the runs that are to be trained at once with `first`; none where that is impossible, or no gain.

        The first run of a variant is made alone: it tells how much time there is to gain.

        Args:
            first: variant and index of the next run.
            wanted: all that is still to run, the next first.
            runs: those that are there.
        """
        variant = first[0]
        indexes = [index for name, index in wanted if name == variant and index >= first[1]]
        several = indexes[: _most(self._task.protocol, indexes)]
        seconds = [run.seconds for run in runs if run.variant == variant]
        if len(several) < 2 or not seconds or statistics.median(seconds) * len(indexes) < _TRIFLE:
            return []
        return [(variant, index) for index in several[1:]] if self._pay(variant, several) else []

    def _pay(self, variant: str, indexes: Sequence[int]) -> bool:
        if variant not in self._pays:
            possible = can_train_together(self._task, variant) is None
            self._pays[variant] = possible and worth_it(self._task, variant, indexes)
        return self._pays[variant]


def _most(protocol: Protocol, indexes: Sequence[int]) -> int:
    """Return how many of the pairs that are left can be run at once without running many in vain.

    >>> from laminar.comparison.protocol import make_protocol
    >>> early, fixed = (make_protocol(["a", "b"], metric="accuracy", margin=1, seeds=24, stop=s) for s in ("early", "fixed"))
    >>> least_pairs(early), _most(early, range(1, 24)), _most(early, range(8, 24)), _most(fixed, range(24))
    (6, 5, 4, 8)
    """
    if protocol.stop == "early":
        needed = least_pairs(protocol) - indexes[0]  # before that many no verdict is possible
        return min(_MOST, needed) if needed > 1 else _LATER
    groups = -(-len(indexes) // _MOST)
    return -(-len(indexes) // groups)
