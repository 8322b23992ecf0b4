"""Optuna's samplers and pruners by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from laminar import seeding
from laminar.errors import ArgumentError, complaint
from laminar.names import Registry

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

__all__ = ["PRUNERS", "SAMPLERS", "check_pruner", "check_sampler", "make_pruner", "make_sampler", "sampler_seed"]

SAMPLERS: Registry[tuple[str, bool]] = Registry(
    "sampler",
    {
        "tpe": ("TPESampler", True),
        "random": ("RandomSampler", True),
        "gp": ("GPSampler", True),
        "qmc": ("QMCSampler", False),
        "brute_force": ("BruteForceSampler", True),
    },
    aliases={"gaussian_process": "gp", "sobol": "qmc", "exhaustive": "brute_force"},
)
"""Name -> (class of optuna.samplers, whether each trial has a sampler of its own seed). QMC has one seed for the whole
search: its points are one sequence, and all processes have to agree on it."""

PRUNERS = Registry(
    "pruner",
    {
        "median": "MedianPruner",
        "hyperband": "HyperbandPruner",
        "successive_halving": "SuccessiveHalvingPruner",
        "none": "NopPruner",
    },
    aliases={"asha": "successive_halving", "nop": "none"},
)
"""Name -> class of optuna.pruners, with Optuna's own settings."""


def sampler_seed(seed: int, place: int) -> int:
    """Return the seed of the sampler that suggests the parameters of trial `place`, in 32 bits, as Optuna wants it.

    Each trial has one of its own: a search that goes on in another process then never repeats what was suggested before,
    and is the same as one that was not interrupted.
    """
    return seeding.derive(seed, "sampler", place) % 2**32


def make_sampler(sampler: Any, seed: int, place: int) -> BaseSampler:
    """Return the sampler for trial `place`.

    Args:
        sampler: a name of `SAMPLERS`, or a sampler of Optuna's, which is returned as it is.
        seed: of the search.
        place: of the trial.

    Raises:
        UnknownNameError: if the name is none of these.
    """
    import optuna

    if not isinstance(sampler, str):
        given: BaseSampler = sampler
        return given
    kind, each = SAMPLERS[sampler]
    found: BaseSampler = _quietly(getattr(optuna.samplers, kind), seed=sampler_seed(seed, place if each else 0))
    return found


def make_pruner(pruner: Any, epochs: int) -> BasePruner:
    """Return the pruner.

    Args:
        pruner: a name of `PRUNERS`, or a pruner of Optuna's, which is returned as it is.
        epochs: of each training; Hyperband divides them among its brackets.

    Raises:
        UnknownNameError: if the name is none of these.
    """
    import optuna

    if not isinstance(pruner, str):
        given: BasePruner = pruner
        return given
    known = {"max_resource": epochs} if PRUNERS.name_of(pruner) == "hyperband" else {}
    found: BasePruner = _quietly(getattr(optuna.pruners, PRUNERS[pruner]), **known)
    return found


def check_sampler(sampler: Any) -> None:
    """Refuse what is no sampler, before anything is done with it.

    Raises:
        UnknownNameError: on an unknown name.
        ArgumentError: if it is neither name nor sampler.
    """
    import optuna

    if isinstance(sampler, str):
        SAMPLERS.name_of(sampler)
    elif not isinstance(sampler, optuna.samplers.BaseSampler):
        _refuse("sampler", sampler, 'Pass sampler="tpe", or optuna.samplers.CmaEsSampler(seed=0)')


def check_pruner(pruner: Any) -> None:
    """Refuse what is no pruner, before anything is done with it.

    Raises:
        UnknownNameError: on an unknown name.
        ArgumentError: if it is neither name nor pruner.
    """
    import optuna

    if isinstance(pruner, str):
        PRUNERS.name_of(pruner)
    elif not isinstance(pruner, optuna.pruners.BasePruner):
        _refuse("pruner", pruner, 'Pass pruner="none" to train every network to its end')


def _refuse(argument: str, received: Any, fix: str) -> None:
    expected = f"a name, or a {argument} of Optuna's"
    raise ArgumentError(complaint(f"tune({argument}=)", expected=expected, received=repr(received), fix=fix))


def _quietly(kind: Callable[..., Any], **settings: Any) -> Any:
    """Return the strategy, without Optuna's remark that it may yet change it: whoever names it has chosen it."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return kind(**settings)
