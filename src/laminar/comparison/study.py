"""A comparison in its store: what compare, and processes that join it, do the same way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from laminar.comparison.checked import networks
from laminar.comparison.connections import place_of
from laminar.comparison.environment import environment, mixture
from laminar.comparison.fingerprint import fingerprint, study_name
from laminar.comparison.processes import run_workers
from laminar.comparison.result import Comparison
from laminar.comparison.runs import Run, values_by_variant
from laminar.comparison.store import Store, shared_store
from laminar.comparison.task import Task
from laminar.comparison.verdicts import judge, refuse_too_few
from laminar.comparison.worker import work

__all__ = ["Study", "opened"]

Say = Callable[[str], object]


@dataclass(frozen=True)
class Study:
    """A comparison whose store is open.

    Attributes:
        task: what is compared.
        store: where its runs are.
        name: under which.
        fingerprint: of variants, data and settings.
        notes: what a reader of the result has to know.
        kept: whether the runs outlive this process.
    """

    task: Task
    store: Store
    name: str
    fingerprint: str
    notes: tuple[str, ...]
    kept: bool = True

    def runs(self) -> tuple[Run, ...]:
        """Return the runs that the comparison asks for, as far as they are there, pair after pair."""
        protocol = self.task.protocol
        place = {name: number for number, name in enumerate(protocol.variants)}
        found = [run for run in self.store.runs(self.name) if run.variant in place and run.index < protocol.seeds]
        return tuple(sorted(found, key=lambda run: (run.index, place[run.variant])))

    def run(self, workers: int, say: Say) -> None:
        """Make what is missing, a line for each run.

        Raises:
            KeyboardInterrupt: on Ctrl-C, having said how to go on.
        """
        protocol = self.task.protocol
        there = self.runs()
        count = len(there)
        total = protocol.seeds * len(protocol.variants)
        where = f" in {self._where}" if self.kept else ""
        say(
            f"Study {self.name!r}{where}: {f'{count} of ' if count else ''}{total} runs{' are there' if count else ' at most'}."
        )

        for note in mixture([*(run.environment for run in there), environment()]):
            say(note)

        def report(run: Run) -> None:
            nonlocal count
            count += 1
            say(f"[{count}/{total}] {described(run, protocol.metric)}")

        try:
            if workers == 1:
                work(self.task, self.store, self.name, report=report)
            else:
                run_workers(self.task, self.store, self.name, workers, report=report)
        except KeyboardInterrupt:
            kept = f"The runs that ended are kept in {self._where}: the same call goes on from there."
            say(f"Interrupted. {kept if self.kept else 'The runs were in memory, and are gone.'}")
            raise

    def result(self) -> Comparison:
        """Return the verdicts on the runs that are there."""
        protocol, runs = self.task.protocol, self.runs()
        values = values_by_variant(runs, higher_is_better=protocol.higher_is_better)
        where = self._where if self.kept else None
        notes = (*self.notes, *mixture(run.environment for run in runs))
        return Comparison(protocol, runs, tuple(judge(values, protocol)), self.name, where, self.fingerprint, notes)

    @property
    def _where(self) -> str:
        return place_of(self.store.where).shown


def described(run: Run, metric: str) -> str:
    """Return what a run was and what came out, in one line.

    >>> described(Run("without BN", 3, 7, value=0.98219, seconds=12.06), "accuracy")
    'without BN, seed 3: accuracy 0.9822, 12.1 s'
    """
    if run.value is None:
        outcome = f"{run.status}: {run.reason}"
    else:
        plain = 0.01 <= abs(run.value) < 1000 or run.value == 0
        outcome = f"{metric} {run.value:.4f}" if plain else f"{metric} {run.value:.4g}"
    return f"{run.variant}, seed {run.index}: {outcome}, {run.seconds:.1f} s"


@contextmanager
def opened(task: Task, store: str | Path | None, name: str | None, *, workers: int = 1, join: bool = False) -> Iterator[Study]:
    """Yield the study of `task`, made where it is not there yet; nothing has been trained before all of it was checked.

    Args:
        task: the comparison.
        store: a file or URL; None for memory, or a file that ends with the study where several processes work on it.
        name: of the study; None for one made of the variants and the fingerprint, so that what differs is another study.
        workers: how many processes there will be.
        join: whether to take seeds, margin and the like from the study, where it is there, instead of declaring them anew.

    Raises:
        TooFewRunsError: if so few seeds can never lead to a verdict.
        StoreError: if the store cannot be opened, or has something else under the name.
        LaminarError: what else is wrong with variants, metric and data.
    """
    refuse_too_few(task.protocol)
    place_of(store)  # an address that cannot be right is said before the data is looked at
    text, notes = fingerprint(task, networks(task))
    name = study_name(task, text) if name is None else name
    with shared_store(store, workers) as held:
        declared = held.declared(name)
        if join and declared:
            task = replace(task, protocol=task.protocol.continued(declared[-1]))
        held.open_study(name, task.protocol.to_dict(), text)
        yield Study(task, held, name, text, (*notes, *_changed(held.declared(name))), kept=store is not None)


def _changed(declared: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return, in a sentence, what was declared otherwise before.

    Who chooses the number of runs, or the margin, by what has come out risks more wrong verdicts than was asked for.
    """
    now = declared[-1]
    before = [
        f"{name}={json.dumps(earlier[name])}"
        for name in ("seeds", "margin", "stop", "contrasts")
        for earlier in declared[:-1]
        if earlier[name] != now[name]
    ]
    if not before:
        return []
    chances = 100 * now["alpha"]
    return [
        f"Declared before with {', '.join(dict.fromkeys(before))}: if that was changed because of what had come out, wrong "
        f"verdicts are more frequent than {chances:g} %."
    ]
