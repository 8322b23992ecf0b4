"""What a comparison is read as: words, tables, frames, plain values; and how a verdict is found in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from laminar.comparison.protocol import Protocol, make_protocol
from laminar.comparison.result import Comparison
from laminar.comparison.runs import Run, values_by_variant
from laminar.comparison.verdicts import judge
from laminar.comparison.words import sentence
from laminar.errors import ArgumentError, MissingPackageError, UnknownNameError

MACHINE = {"device": "cpu", "threads": "2", "platform": "Linux", "python": "3.11", "torch": "2.9", "laminar": "0.1.0"}


def made(values: Mapping[str, list[float | None]], **options: object) -> Comparison:
    """Return a comparison in which these values came out."""
    usual = {"metric": "accuracy", "margin": 0.002, "seeds": 6, "stop": "fixed", "fit": {"epochs": "30"}}
    protocol: Protocol = make_protocol(list(values), **usual | options)  # type: ignore[arg-type]  # of several kinds
    runs = [
        Run(
            variant,
            k,
            100 + k,
            "diverged" if value is None else "finished",
            value,
            "loss became nan" if value is None else None,
            figures={} if value is None else {"loss": 0.5, "accuracy": value},
            elapsed=[1.0, 2.0],
            seconds=2.0,
            parameters=1234,
            environment=MACHINE,
        )
        for variant, column in values.items()
        for k, value in enumerate(column)
    ]
    verdicts = judge(values_by_variant(runs, higher_is_better=protocol.higher_is_better), protocol)
    return Comparison(protocol, tuple(runs), tuple(verdicts), "elu", "/data/laminar.db", "networks 1, data 2, settings 3")


WITH = [0.980, 0.981, 0.982, 0.983, 0.984, 0.985]
WITHOUT: list[float | None] = [0.970, 0.972, 0.971, 0.974, 0.973, 0.976]
RESULT = made({"with BN": WITH, "without BN": WITHOUT})  # type: ignore[dict-item]  # floats are among the optional ones


def test_words_first_then_a_small_table_then_where_the_runs_are() -> None:
    assert str(RESULT).splitlines() == [
        sentence(RESULT.verdicts[0], RESULT.protocol),
        "",
        "accuracy    runs    mean      sd  failed  seconds  parameters",
        "with BN        6  0.9825  0.0019       0      2.0       1,234",
        "without BN     6  0.9727  0.0022       0      2.0       1,234",
        "",
        "12 runs of study 'elu', kept in /data/laminar.db.",
    ]
    assert str(RESULT).startswith("without BN is worse by ")
    assert repr(RESULT) == "Comparison(accuracy, 12 runs: 'without BN' worse against 'with BN')"


def test_what_is_missing_and_what_failed() -> None:
    broken = made({"with BN": WITH[:4], "without BN": [0.97, None, 0.97]})  # type: ignore[dict-item]  # see above
    assert broken.missing[0] == ("without BN", 3)
    lines = str(broken).splitlines()
    assert lines[4] == "without BN     3  0.9700  0.0000       1      2.0       1,234"
    assert "Not over: 5 of the runs are missing. Call compare again with the same arguments to go on." in lines


def test_what_was_not_decided() -> None:
    alike: list[float | None] = [0.981, 0.980, 0.9825, 0.9829, 0.985, 0.9845]
    undecided = made({"with BN": WITH, "other": alike}, margin=0.0001)  # type: ignore[dict-item]  # see above
    assert undecided["other"].word == "undecided"
    assert "Not decided by 6 pairs: 'other' against 'with BN'." in str(undecided)


def test_verdicts_by_variant_and_by_pair() -> None:
    third = [value - 0.1 for value in WITH]
    contrasts = [("b", "a"), ("c", "a"), ("c", "b")]
    result = made({"a": WITH, "b": WITHOUT, "c": third}, baseline=contrasts, seeds=10)  # type: ignore[dict-item]  # see above
    assert result["b"] is result["b", "a"] is result.verdicts[0]
    assert result["c", "b"] is result.verdicts[2]
    with pytest.raises(ArgumentError) as several:
        result["c"]
    assert (
        str(several.value)
        == "Comparison['c']: expected one verdict, received 2 verdicts on it. Name the pair: result['c', 'a']."
    )
    with pytest.raises(UnknownNameError) as unknown:
        result["a"]
    assert str(unknown.value) == "Comparison: variant with a verdict 'a' is unknown. Known: b, c."


def test_markdown() -> None:
    odd = made({"a|b": WITH, "without": WITHOUT})  # type: ignore[dict-item]  # see above
    lines = odd.to_markdown().splitlines()
    plain = [line.replace("\\", "") for line in lines]
    assert plain[0] == f"- {odd.sentences[0]}"
    assert lines[2:5] == [
        "| variant | runs | mean | sd | failed | seconds | parameters |",
        "|---|---:|---:|---:|---:|---:|---:|",
        "| a\\|b | 6 | 0.9825 | 0.0019 | 0 | 2.0 | 1,234 |",
    ]
    assert lines[7] == "12 runs of study 'elu', kept in /data/laminar.db."
    assert lines[9] == "Declared before the first run:"
    assert plain[11:] == [f"- {line}" for line in odd.again.splitlines()]
    assert odd.again.splitlines() == [
        "metric accuracy on the test data, higher is better; differences below 0.002 do not matter",
        "at most 6 pairs, stop='fixed', seed=0, level 0.05 over all verdicts together",
        "contrasts: 'without' against 'a|b'",
        "fit(epochs=30)",
        "study 'elu', fingerprint networks 1, data 2, settings 3, kept in /data/laminar.db",
        "ran on cpu, 2 threads, Linux, python 3.11, torch 2.9, laminar 0.1.0",
    ]


def test_signs_of_markdown_in_names_stand_as_they_are() -> None:
    text = made({"<b>_x_*[1]`": WITH, "without": WITHOUT}).to_markdown()  # type: ignore[dict-item]  # see above
    assert "| \\<b\\>\\_x\\_\\*\\[1\\]\\` | 6 |" in text


def test_frames() -> None:
    frame = RESULT.to_pandas()
    assert list(frame["variant"].value_counts().items()) == [("with BN", 6), ("without BN", 6)]
    assert frame["test_accuracy"].tolist() == frame["value"].tolist() == [*WITH, *WITHOUT]
    assert {"seed", "seconds", "parameters", "memory", "torch", "epochs"} <= set(frame.columns)
    verdicts = RESULT.verdicts_frame()
    assert verdicts.loc[0, ["variant", "baseline", "word"]].tolist() == ["without BN", "with BN", "worse"]


def test_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    for ask in (RESULT.to_pandas, RESULT.verdicts_frame):
        with pytest.raises(MissingPackageError) as caught:
            ask()
        assert str(caught.value) == (
            'to_pandas: expected the package pandas, received none installed. Type: pip install "laminar[pandas]".'
        )


def test_plain_values() -> None:
    plain = json.loads(json.dumps(RESULT.to_dict(), allow_nan=False))
    assert [Run.from_dict(run) for run in plain["runs"]] == list(RESULT.runs)
    assert plain["verdicts"][0]["word"] == "worse"
    assert plain["protocol"]["contrasts"] == [["without BN", "with BN"]]


def test_the_report_is_one_file(tmp_path: Path) -> None:
    path = RESULT.report(tmp_path / "elu.html")
    assert path == tmp_path / "elu.html"
    assert RESULT.sentences[0] in path.read_text(encoding="utf-8")
