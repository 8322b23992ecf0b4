"""What the variants cost, side by side: time of training, time to a target, parameters, memory, speed of evaluation."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from laminar.comparison.intervals import t_interval
from laminar.comparison.protocol import Contrast, Protocol
from laminar.comparison.runs import Run

__all__ = ["Cost", "CostTable", "Manner", "TimeRatio", "cost_table", "pareto", "seconds_to_target"]

Priced = Literal["seconds", "to_target", "parameters", "memory"]


class Manner(NamedTuple):
    """How a run was trained: times of one manner can be compared, others cannot.

    Attributes:
        together: how many seeds in one program.
        threads: of torch.
        device: "cpu", or the GPU's name.
        host: the machine.

    >>> print(Manner(1, "2", "cpu", "barn"))
    2 threads of cpu on barn
    >>> print(Manner(20, "1", "cpu", "barn"))
    20 at once, 1 thread of cpu on barn
    """

    together: int
    threads: str
    device: str
    host: str

    def __str__(self) -> str:
        at_once = f"{self.together} at once, " if self.together > 1 else ""
        return f"{at_once}{self.threads} thread{'' if self.threads == '1' else 's'} of {self.device} on {self.host}"


@dataclass(frozen=True)
class Cost:
    """What one variant costs. Only runs that finished have a cost, and times are those of one manner of training.

    Attributes:
        variant: its name.
        finished: runs.
        failed: runs that diverged or failed.
        value: mean of the metric over the runs that finished.
        manner: how most of them were trained; None where there is none.
        others: runs that finished, but were trained in another manner: they are not in what follows.
        seconds: of training, median.
        reached: runs that reached the protocol's target in an epoch.
        missed: runs that never did.
        to_target: seconds of training until the target was reached, median over both, where one that never did takes longer
            than any; None where that leaves it open.
        evaluation: observations of the test data per second, median.
        parameters: numbers that the network holds.
        memory: bytes at the peak of one training step; None where it was not measured.
    """

    variant: str
    finished: int = 0
    failed: int = 0
    value: float | None = None
    manner: Manner | None = None
    others: int = 0
    seconds: float | None = None
    reached: int = 0
    missed: int = 0
    to_target: float | None = None
    evaluation: float | None = None
    parameters: int | None = None
    memory: int | None = None


@dataclass(frozen=True)
class TimeRatio:
    """How much longer a variant trains than its baseline, over pairs that were trained in the same manner.

    Attributes:
        variant: the one.
        baseline: the other.
        pairs: that both finished, in the same manner.
        ratio: geometric mean of (seconds of variant / seconds of baseline); None without such pairs.
        low: end of its interval, by t on the logarithms; None with fewer than two pairs.
        high: the other end.
    """

    variant: str
    baseline: str
    pairs: int = 0
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class CostTable:
    """The costs of a comparison.

    Attributes:
        costs: one for each variant, in order.
        ratios: one for each contrast, in order.
        higher_is_better: of the metric.
    """

    costs: tuple[Cost, ...]
    ratios: tuple[TimeRatio, ...]
    higher_is_better: bool

    def front(self, cost: Priced = "seconds") -> list[str]:
        """Return the variants that no other beats in both the mean of the metric and this cost; see `pareto`."""
        points = {c.variant: (c.value, getattr(c, cost)) for c in self.costs}
        return pareto(points, higher_is_better=self.higher_is_better)

    def to_dict(self) -> dict[str, Any]:
        """Return the table as values that JSON knows."""
        costs = [asdict(c) | {"manner": c.manner and c.manner._asdict()} for c in self.costs]
        return {"costs": costs, "ratios": [asdict(r) for r in self.ratios]}


def cost_table(runs: Iterable[Run], protocol: Protocol, *, level: float = 0.95) -> CostTable:
    """Return what the variants cost.

    Args:
        runs: of the comparison.
        protocol: its declaration.
        level: of the intervals.

    >>> from laminar.comparison.protocol import make_protocol
    >>> protocol = make_protocol(["small", "large"], metric="accuracy", margin=0.01, seeds=2)
    >>> seconds = {"small": [1.0, 2.0], "large": [2.0, 4.0]}
    >>> table = cost_table([Run(v, k, 7, value=0.9, seconds=s[k]) for v, s in seconds.items() for k in (0, 1)], protocol)
    >>> table.costs[0].seconds, round(table.ratios[0].ratio, 6), table.front()
    (1.5, 2.0, ['small'])
    """
    of_variant: dict[str, dict[int, Run]] = {name: {} for name in protocol.variants}
    for run in runs:
        of_variant[run.variant][run.index] = run
    return CostTable(
        tuple(_cost(name, list(found.values()), protocol) for name, found in of_variant.items()),
        tuple(_ratio(pair, of_variant, level) for pair in protocol.contrasts),
        protocol.higher_is_better,
    )


def seconds_to_target(run: Run, protocol: Protocol) -> float | None:
    """Return the seconds of training at the end of the first epoch that reached the target; infinite where none did.

    None where it was not watched: without a target, or in a run without the figure.
    """
    values: Sequence[float | None] | None = run.history.get(f"val_{protocol.metric}")
    if protocol.target is None or not values or len(values) > len(run.elapsed):
        return None
    sign = 1.0 if protocol.higher_is_better else -1.0
    reached = (i for i, v in enumerate(values) if v is not None and sign * v >= sign * protocol.target)
    first = next(reached, None)
    return math.inf if first is None else run.elapsed[first]


def pareto(points: Mapping[str, tuple[float | None, float | None]], *, higher_is_better: bool) -> list[str]:
    """Return the names that are not dominated: no other is at least as good and as cheap, and better or cheaper.

    Args:
        points: name -> (metric, cost). One without a metric or a cost is not on the front, and dominates none.
        higher_is_better: of the metric; less is better of the cost.

    >>> points = {"small": (0.90, 1.0), "large": (0.95, 4.0), "slow": (0.95, 5.0), "broken": (None, 1.0)}
    >>> pareto(points, higher_is_better=True)
    ['small', 'large']
    """
    sign = 1.0 if higher_is_better else -1.0
    known = {n: (sign * value, -cost) for n, (value, cost) in points.items() if value is not None and cost is not None}

    def dominated(mine: tuple[float, float]) -> bool:
        return any(other != mine and other[0] >= mine[0] and other[1] >= mine[1] for other in known.values())

    return [name for name, mine in known.items() if not dominated(mine)]


def _cost(name: str, runs: Sequence[Run], protocol: Protocol) -> Cost:
    finished = [run for run in runs if run.status == "finished"]
    if not finished:
        return Cost(name, failed=len(runs))
    manner = Counter(map(_manner, finished)).most_common(1)[0][0]
    alike = [run for run in finished if _manner(run) == manner]
    watched = [t for t in (seconds_to_target(run, protocol) for run in alike) if t is not None]
    to_target = _median(watched)
    return Cost(
        name,
        finished=len(finished),
        failed=len(runs) - len(finished),
        value=_mean([run.value for run in finished if run.value is not None]),
        manner=manner,
        others=len(finished) - len(alike),
        seconds=_median([run.seconds for run in alike]),
        reached=sum(math.isfinite(t) for t in watched),
        missed=sum(math.isinf(t) for t in watched),
        to_target=None if to_target is None or math.isinf(to_target) else to_target,
        evaluation=_median([run.evaluation for run in alike if run.evaluation is not None]),
        parameters=max(run.parameters for run in finished),
        memory=max((run.memory for run in finished if run.memory is not None), default=None),
    )


def _ratio(pair: Contrast, of_variant: Mapping[str, Mapping[int, Run]], level: float) -> TimeRatio:
    variant, baseline = (of_variant[name] for name in pair)
    both = ((variant[k], baseline[k]) for k in sorted(variant.keys() & baseline.keys()))
    logs = [math.log(a.seconds / b.seconds) for a, b in both if _comparable(a, b)]
    if not logs:
        return TimeRatio(*pair)
    ratio = math.exp(statistics.fmean(logs))
    if len(logs) < 2:
        return TimeRatio(*pair, len(logs), ratio)
    low, high = t_interval(logs, level)
    return TimeRatio(*pair, len(logs), ratio, math.exp(low), math.exp(high))


def _comparable(a: Run, b: Run) -> bool:
    return a.status == b.status == "finished" and _manner(a) == _manner(b) and a.seconds > 0 and b.seconds > 0


def _manner(run: Run) -> Manner:
    threads, device, host = (run.environment.get(name, "?") for name in ("threads", "device", "host"))
    return Manner(run.together, threads, device, host)


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None
