"""What a search has found: the winner, every trial behind it, and how much of the gain is real."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from laminar.comparison.environment import mixture
from laminar.comparison.result import Comparison, data_frame
from laminar.comparison.task import made
from laminar.comparison.units import units_of
from laminar.errors import ArgumentError, TooFewRunsError, complaint
from laminar.model import Model
from laminar.tuning.attempt import Search
from laminar.tuning.confirm import TUNED, Survival, check_confirmation, confirmed, rebuilt, survival
from laminar.tuning.live import parameters, short
from laminar.tuning.trials import Status, Tried, best_of

if TYPE_CHECKING:
    import optuna

__all__ = ["Tuning"]

_SHOWN = 10  # trials in the table of to_markdown


@dataclass(repr=False)
class Tuning:
    """The result of a search.

    Attributes:
        search: what was searched for, and with what.
        trials: every trial that counts, in the order of their places.
        study: Optuna's study with these trials, in memory, for `optuna.visualization` and the like.
        name: of the study in the store.
        store: where the trials are kept, without a password.
        where: what opens the store again; None for one in memory.
        confirmation: the comparison of the winner with the default on fresh seeds; None where there was none.
        fresh: whether the confirmation was made on data that the search has not seen.

    `str(result)` says all of it in words; in a notebook it shows itself as Markdown.
    """

    search: Search
    trials: tuple[Tried, ...]
    study: optuna.Study
    name: str
    store: str
    where: str | None = None
    confirmation: Comparison | None = None
    fresh: bool = field(default=False)

    # -- the winner -----------------------------------------------------------------------------------------------------

    @property
    def best(self) -> Tried:
        """The finished trial with the best value on the validation data.

        Raises:
            TooFewRunsError: if no trial has finished.
        """
        best = best_of(self.trials, higher_is_better=self.search.higher_is_better)
        if best is None:
            fix = "Look at Tuning.trials for what ended them, and search on"
            received = f"none of {len(self.trials)}"
            raise TooFewRunsError(complaint("Tuning.best", expected="a finished trial", received=received, fix=fix))
        return best

    @property
    def best_params(self) -> dict[str, Any]:
        """The winner's parameters."""
        return dict(self.best.params)

    @property
    def best_value(self) -> float:
        """The winner's metric on the validation data; it flatters, because it is the largest of many."""
        value = self.best.value
        assert value is not None
        return value

    @property
    def default(self) -> Tried | None:
        """The trial of the default parameters; None where none were given, or it has not been run."""
        return next((trial for trial in self.trials if trial.default), None)

    @property
    def gain(self) -> float | None:
        """What the search claims: the winner's value less the default's, positive where it is better; None without these."""
        default = self.default
        if default is None or default.value is None:
            return None
        return (self.best_value - default.value) * (1.0 if self.search.higher_is_better else -1.0)

    def best_model(self, seed: int | None = None) -> Model:
        """Return the winner's network, built anew and compiled, not trained.

        Args:
            seed: of its initial values; that of the winning trial where None.
        """
        seed = self.best.seed if seed is None else seed
        return made(lambda: rebuilt(self.search.build, self.best_params), seed, "tune(build)")

    # -- how much is real -----------------------------------------------------------------------------------------------

    @property
    def survival(self) -> Survival | None:
        """How much of the claimed gain survives on fresh seeds; None where it was not confirmed."""
        if self.confirmation is None:
            return None
        better = self.search.higher_is_better
        verdict = self.confirmation[TUNED]
        return survival(self.search.metric, self.gain, verdict, higher_is_better=better, fresh=self.fresh)

    def confirm(
        self, pairs: int = 10, *, test: Any = None, margin: float | None = None, workers: int = 1, verbose: int = 1
    ) -> Comparison | None:
        """Compare the winner with the default on fresh seeds, keep the comparison as `confirmation`, and return it.

        Args:
            pairs: trainings of each; at least 6 can lead to a verdict.
            test: data that the search has not seen. On the validation data, which are taken where it is None, what is
                confirmed is still flattered: the winner was chosen for them.
            margin: the smallest gain that matters, in units of the metric; half of the claimed one where None.
            workers: processes.
            verbose: 0 silent.

        Returns:
            None where the default itself is the winner: there is nothing to confirm.

        Raises:
            ArgumentError: if the search had no default, or `margin` is needed because the default has no value.
            TooFewRunsError: if so few pairs can lead to no verdict.
        """
        check_confirmation(self.search, pairs, margin)
        if self.best.default:
            return None
        if margin is None and not self.gain:
            fix = "Pass margin=0.005, say"
            where, expected = "Tuning.confirm(margin=)", "the smallest gain that matters, because the search claims none"
            raise ArgumentError(complaint(where, expected=expected, received="None", fix=fix))
        matters = margin if margin is not None else (self.gain or 0.0) / 2
        found = confirmed(
            self.search,
            self.best_params,
            pairs,
            test=test,
            margin=matters,
            store=self.where,
            name=self.name,
            workers=workers,
            verbose=verbose,
        )
        self.confirmation, self.fresh = found, test is not None
        return found

    # -- what mattered --------------------------------------------------------------------------------------------------

    def importance(self) -> dict[str, float]:
        """Return parameter -> share of the importance, the largest first.

        It says how far the parameter decides whether a trial is among the best tenth: PED-ANOVA, over the trials that finished.
        With fewer than 50 of these it is a rough guide.

        Raises:
            TooFewRunsError: with fewer than two finished trials.

        Source: Watanabe, Bansal and Hutter 2023, "PED-ANOVA: efficiently quantifying hyperparameter importance in arbitrary
        subspaces", as Optuna computes it.
        """
        import optuna

        finished = sum(trial.status == "finished" for trial in self.trials)
        if finished < 2:
            fix = "Search on with more trials, or pass pruner='none'"
            where, expected = "Tuning.importance", "at least 2 finished trials"
            raise TooFewRunsError(complaint(where, expected=expected, received=f"{finished}", fix=fix))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna's remark that there are few trials stands above
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            return dict(optuna.importance.get_param_importances(self.study, evaluator=evaluator))

    # -- ways out -------------------------------------------------------------------------------------------------------

    @property
    def counts(self) -> dict[Status, int]:
        """How many trials ended in which way."""
        return dict(Counter(trial.status for trial in self.trials))

    def __str__(self) -> str:
        """Return the winner, what it claims, and what survives of that, in words."""
        return "\n".join([self._headline, *self._winner(), "", *self._claims(), *self._ending])

    def __repr__(self) -> str:
        """Return what there is, in one line."""
        best = best_of(self.trials, higher_is_better=self.search.higher_is_better)
        value = "none finished" if best is None else f"best {short(best.value)}"
        return f"Tuning({self.search.metric}, {len(self.trials)} trials: {value})"

    @property
    def _headline(self) -> str:
        ended = ", ".join(f"{count} {status}" for status, count in self.counts.items())
        told = f"{len(self.trials)} trial{'' if len(self.trials) == 1 else 's'} ({ended})"
        if not self.counts.get("finished"):
            return f"No trial has finished: {told}."
        value = units_of(self.search.metric).value(self.best_value)
        return f"Best of {told}: {self.search.metric} {value} in trial {self.best.place}."

    def _winner(self) -> list[str]:
        """Return a line for each of the winner's parameters, the default's value beside it."""
        if not self.counts.get("finished"):
            return []
        default = self.search.default or {}
        width = max(map(len, self.best.params), default=0)
        return [
            f"  {name:<{width}}  {_written(value)}" + (f"  (default {_written(default[name])})" if name in default else "")
            for name, value in self.best.params.items()
        ]

    def _claims(self) -> list[str]:
        """Return what is gained, and what is known of it."""
        if self.survival is not None and self.confirmation is not None:
            return [str(self.survival), *(f"Verdict: {text}" for text in self.confirmation.sentences)]
        if self.default is None:
            return ["No default was given, so no gain can be told."]
        if self.gain is None or self.default.value is None:
            return ["The default has no value, so no gain can be told."]
        if self.best.default:
            return ["The default itself is the best: nothing was gained."]
        units = units_of(self.search.metric)
        default = units.value(self.default.value)
        return [
            f"Claimed: {units.difference(self.gain)} over the default ({default}), one training each, on the validation data.",
            "Not confirmed: the best of many trainings flatters. Type result.confirm(10, test=(x_test, y_test)).",
        ]

    @property
    def _ending(self) -> list[str]:
        lines = []
        missing = self.search.trials - len(self.trials)
        if missing > 0:
            lines.append(f"Not over: {missing} of {self.search.trials} trials are missing.")
        lines += mixture(trial.environment for trial in self.trials)
        return [*lines, f"Study {self.name!r}, kept {self.store if self.where is None else f'in {self.store}'}."]

    def to_markdown(self) -> str:
        """Return the winner, its claims, and a table of the best trials, as Markdown."""
        sign = 1.0 if self.search.higher_is_better else -1.0
        finished = [t for t in self.trials if t.value is not None]
        ranked = sorted(finished, key=lambda t: (-sign * (t.value or 0.0), t.place))[:_SHOWN]
        rows = [
            f"| {t.place}{' (default)' if t.default else ''} | {short(t.value)} | {len(t.curve)} | {t.seconds:.1f} "
            f"| {parameters(t.params)} |"
            for t in ranked
        ]
        head = [f"| trial | {self.search.metric} | epochs | seconds | parameters |", "|---:|---:|---:|---:|---|"]
        winner = [f"- {line.strip()}" for line in self._winner()]
        return "\n".join([self._headline, "", *winner, "", *_paragraphs(self._claims()), *head, *rows, "", *self._ending, ""])

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        survived = self.survival
        return {
            "name": self.name,
            "metric": self.search.metric,
            "higher_is_better": self.search.higher_is_better,
            "seed": self.search.seed,
            "default": None if self.search.default is None else dict(self.search.default),
            "trials": [trial.to_dict() for trial in self.trials],
            "survival": None if survived is None else survived.to_dict(),
            "confirmation": None if self.confirmation is None else self.confirmation.to_dict(),
        }

    def to_pandas(self) -> Any:
        """Return a data frame with one row for each trial; parameters are columns "params_units", ...

        Raises:
            MissingPackageError: if pandas is not installed: `pip install "laminar[pandas]"`.
        """
        return data_frame()([_row(trial) for trial in self.trials])


def _row(trial: Tried) -> dict[str, Any]:
    plain: Mapping[str, Any] = trial.to_dict()
    left = {name: value for name, value in plain.items() if name not in ("params", "curve", "history", "environment")}
    params = {f"params_{name}": value for name, value in trial.params.items()}
    return {**left, "epochs": len(trial.curve), **params, **trial.environment}


def _written(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _paragraphs(lines: list[str]) -> list[str]:
    return [text for line in lines for piece in line.splitlines() for text in (piece, "")]
