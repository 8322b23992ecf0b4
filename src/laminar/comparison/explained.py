"""What the report says in words: the question, the meaning of each statistic, and how the verdicts were reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from laminar.comparison.permutation import EXACT_UP_TO
from laminar.comparison.protocol import Protocol
from laminar.comparison.tables import DASH, Table, amount, number
from laminar.comparison.units import Units
from laminar.comparison.verdicts import LOOKING, Verdict

__all__ = ["declared", "detail", "meanings", "measure", "method", "sources", "statistics_table"]


@dataclass(frozen=True)
class _Statistic:
    """One number of a verdict: its name, what it means to somebody who has not studied statistics, and its text."""

    name: str
    meaning: str
    text: Callable[[Verdict, Units], str]
    has_unit: bool = False  # that of a difference, which then stands beside the name


_STATISTICS = (
    _Statistic(
        "Verdict",
        "Better or worse: there is a difference. Equivalent: be there one or not, it is surely smaller than the margin. "
        "Undecided: the runs so far allow neither. Invalid: too few pairs are usable to ever decide.",
        lambda v, u: v.word,
    ),
    _Statistic(
        "Pairs looked at",
        "Two runs with the same seed, one of either variant, are a pair. Pairs that were run but not needed any more are not "
        "looked at.",
        lambda v, u: f"{v.pairs}" + (f" (+{v.unused} unused)" if v.unused else ""),
    ),
    _Statistic(
        "Better, equal, worse",
        "In how many of these pairs the variant did better than the baseline, the same, and worse. A run that failed is worse "
        "than any that did not.",
        lambda v, u: f"{v.wins}, {v.ties}, {v.losses}",
    ),
    _Statistic(
        "Failed runs",
        "How many runs diverged or raised an error: of the variant, and of the baseline.",
        lambda v, u: f"{v.failed} and {v.baseline_failed}",
    ),
    _Statistic(
        "Mean difference",
        "Variant minus baseline, averaged over the pairs in which both finished.",
        lambda v, u: u.bare(v.difference),
        has_unit=True,
    ),
    _Statistic(
        "Interval",
        "The true differences that the data do not contradict. It belongs to the verdict: it is the outcome of the same test, "
        "allows for looking after every pair and for several contrasts, and is therefore mostly the widest of the three.",
        lambda v, u: u.between(v.low, v.high).removesuffix(u.of_differences),
        has_unit=True,
    ),
    _Statistic(
        "Student's interval",
        "What a paired t-test would give at LEVEL if the number of pairs had been fixed before, for this contrast alone. "
        "Assumes differences that are normally distributed.",
        lambda v, u: u.between(v.t_low, v.t_high).removesuffix(u.of_differences),
        has_unit=True,
    ),
    _Statistic(
        "Bootstrap interval",
        "The same at LEVEL by drawing from the differences themselves again and again (BCa, widened for few pairs); assumes no "
        "shape.",
        lambda v, u: u.between(v.bca_low, v.bca_high).removesuffix(u.of_differences),
        has_unit=True,
    ),
    _Statistic(
        "p",
        "How easily pure chance would show as much as was seen, if there were no difference. Small values speak for one.",
        lambda v, u: number(v.p, 2),
    ),
    _Statistic(
        "p over all contrasts",
        "The same, raised by Holm's method because many contrasts are many opportunities for chance. The verdict goes by it.",
        lambda v, u: number(v.p_holm, 2),
    ),
    _Statistic(
        "p of equivalence",
        "How easily chance would show so small a difference, if the true one were as large as the margin. Small values say "
        "that the difference does not matter. It is 1 where a pair was lost because one of its runs failed.",
        lambda v, u: number(v.p_equivalence, 2),
    ),
    _Statistic(
        "Probability of superiority",
        "How likely a run of the variant does better than the baseline's run of the same seed, with its interval. 50 % means "
        "that one cannot tell.",
        lambda v, u: "{:.0f} % ({:.0f} to {:.0f} %)".format(*(100 * share for share in v.superiority)),
    ),
    _Statistic(
        "Effect",
        "The mean difference in units of seed noise: 1 means as large as the standard deviation of runs that differ in nothing "
        "but the seed.",
        lambda v, u: number(v.effect, 3),
    ),
    _Statistic(
        "Noise of the differences",
        "Standard deviation of the difference from pair to pair.",
        lambda v, u: u.size(v.noise).removesuffix(u.of_differences),
        has_unit=True,
    ),
    _Statistic(
        "Pairs needed",
        "How many pairs a paired t-test needs to find a true difference as large as the margin four times out of five.",
        lambda v, u: DASH if v.needed is None else f"{v.needed:,}",
    ),
)


def measure(protocol: Protocol, units: Units) -> str:
    """Return by what the question is decided."""
    better = "higher" if protocol.higher_is_better else "lower"
    return (
        f"Measured by {protocol.metric} on the test data ({better} is better), in up to {amount(protocol.seeds, 'pair')} of "
        f"runs that share their seeds. Differences of less than {units.size(protocol.margin)}, the margin, do not matter. All "
        "this was declared before the first run."
    )


def declared(protocol: Protocol, units: Units) -> list[tuple[str, str]]:
    """Return what was declared before the first run, as terms and facts."""
    better = "higher" if protocol.higher_is_better else "lower"
    looks = (
        "as soon as the verdicts are known, looking after every pair" if protocol.stop == "early" else "when all pairs have run"
    )
    count = len(protocol.contrasts)
    over = f", over all {count} contrasts together" if count > 1 else ""
    facts = [
        ("Variants", "; ".join(protocol.variants)),
        ("Metric", f"{protocol.metric} on the test data; {better} is better"),
        ("Margin", f"{units.size(protocol.margin)}: smaller differences do not matter"),
        ("Pairs", f"{protocol.seeds} at most; the runs of a pair share their seed, and with it every source of chance"),
        ("It ends", looks),
        ("Errors", f"a difference is found where there is none in at most {100 * protocol.alpha:g} % of such studies{over}"),
    ]
    if protocol.target is not None:
        facts.append(("Timed until", f"{protocol.metric} reaches {units.value(protocol.target)}"))
    if protocol.fit:
        facts.append(("Training", ", ".join(f"{name}={text}" for name, text in protocol.fit.items())))
    for variant, own in (protocol.own or {}).items():
        facts.append((f"Training of {variant}", "with " + ", ".join(f"{name}={text}" for name, text in own.items())))
    return facts


def detail(verdict: Verdict, protocol: Protocol) -> str:
    """Return the numbers that stand under a verdict in words."""
    several = " over all contrasts" if len(protocol.contrasts) > 1 else ""
    if verdict.word == "equivalent":
        parts = [f"p of equivalence {number(verdict.p_equivalence, 2)}{several}"]
    else:
        parts = [f"p {number(verdict.p_holm, 2)}{several}"]
    pairs = f"{verdict.pairs} of {amount(protocol.seeds, 'pair')}"
    early = verdict.decided and verdict.pairs < protocol.seeds
    parts.append(f"decided after {pairs}" if early else f"{pairs}, not over yet" if not verdict.decided else pairs)
    if verdict.effect is not None:
        parts.append(f"{number(abs(verdict.effect), 2)} times the noise between seeds")
    return "; ".join(parts) + "."


def statistics_table(verdicts: Sequence[Verdict], units: Units) -> Table:
    """Return every statistic of every contrast: a row for each statistic."""
    unit = units.of_differences and f", in{units.of_differences}"
    return Table(
        "table-statistics",
        "Every statistic, for each contrast",
        ["Statistic", *(f"{v.variant} against {v.baseline}" for v in verdicts)],
        [[s.name + unit * s.has_unit, *(s.text(v, units) for v in verdicts)] for s in _STATISTICS],
    )


def meanings(protocol: Protocol) -> list[tuple[str, str]]:
    """Return the name of each statistic, and what it says in plain language."""
    level = f"{100 * (1 - protocol.alpha):g} %"
    return [(s.name, s.meaning.replace("LEVEL", level)) for s in _STATISTICS]


def method(protocol: Protocol) -> list[str]:
    """Return how the verdicts were reached, in paragraphs."""
    paired = (
        "Runs are paired: all variants of one pair start from the same seed, so that initial values, the order of the "
        "data, augmentation and dropout are as alike as the networks allow, and from pair to pair all of them differ. What is "
        "judged is the difference within each pair."
    )
    flips = (
        "The test of all pairs is the sign-flip test: if there were no difference, the sign of each pair's difference would be "
        f"as good as a toss of a coin. All ways in which the coins could have fallen are counted (random ones above "
        f"{EXACT_UP_TO} pairs), and p is the share that lies as far out as what was seen. It assumes no normal distribution."
    )
    early = (
        f"Looking after every pair makes an ordinary test find differences that are not there. So {100 * LOOKING:.0f} % of "
        "the error allowed is spent on a bet instead: before each pair, part of a capital of 1 is staked on the sign of its "
        "difference. If there is no difference, nobody can win at this in the mean, and the chance that the capital ever "
        "reaches 1/a is at most a, however often one looks and whenever one stops. The rest of the error allowed goes to the "
        "test of all pairs, if it comes to that."
    )
    equal = (
        "Equivalence is the same test asked at plus and minus the margin: both must be rejected. The interval holds every "
        "difference that the test does not reject, so that word, p and interval cannot contradict each other. A run that "
        "diverged or failed counts as worse than any number."
    )
    holm = "Holm's method keeps the error over all contrasts together below the level that was declared."
    return [paired, *([early] if protocol.stop == "early" else []), flips, equal + (f" {holm}" if _several(protocol) else "")]


def sources(protocol: Protocol) -> list[str]:
    """Return what the method rests on."""
    early = [
        "Ville (1939), Étude critique de la notion de collectif.",
        "Shafer (2021), Testing by betting. Journal of the Royal Statistical Society A 184.",
        "Ramdas, Grünwald, Vovk and Shafer (2023), Game-theoretic statistics and safe anytime-valid inference. Statistical "
        "Science 38.",
        "Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting. Journal of the Royal "
        "Statistical Society B 86.",
    ]
    return [
        "Bouthillier et al. (2021), Accounting for variance in machine learning benchmarks. Proceedings of MLSys 3.",
        "Fisher (1935), The Design of Experiments, section 21.",
        *(early if protocol.stop == "early" else []),
        *(
            ["Holm (1979), A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6."]
            * _several(protocol)
        ),
        "Efron (1987), Better bootstrap confidence intervals. Journal of the American Statistical Association 82; Hesterberg "
        "(2015), What teachers should know about the bootstrap. The American Statistician 69.",
        "Clopper and Pearson (1934), The use of confidence or fiducial limits. Biometrika 26.",
        "Vargha and Delaney (2000), A critique and improvement of the CL common language effect size statistics. Journal of "
        "Educational and Behavioral Statistics 25.",
    ]


def _several(protocol: Protocol) -> bool:
    return len(protocol.contrasts) > 1
