"""What a results file says as Markdown, and how it comes into the page."""

from __future__ import annotations

import doctest
import itertools
from pathlib import Path
from typing import Any

import pytest
from frameworks import document, figures, floor, markdown, table
from frameworks.__main__ import _joined
from frameworks.candidates import FRAMEWORKS
from frameworks.document import BEGIN, END, rewritten

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def _run(framework: str, round_number: int = 0, **more: Any) -> dict[str, Any]:
    run = {"network": "mlp", "framework": framework, "variant": "", "precision": "float32", "kind": "train"}
    found = {"ms": [2.0], "images_per_s": [500.0], "imported_mb": 200.0, "peak_mb": 300.0, "loss": 1.0, "steps": 100}
    if "error" in more:
        found = {}
    return {**run, **found, "parameters": 62_005, "round": round_number, **more}


def _results(*runs: dict[str, Any], missing: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "date": "2026-11-22",
        "machine": {"processor": "AMD EPYC", "cores": 2, "system": "Linux x86_64", "python": "3.11.7"},
        "threads": 2,
        "rates": {"gflops": 100.0, "gbs": 10.0},
        "minutes": 12.3,
        "networks": {"mlp": {"flops": 1e8, "bytes": 1e6}},
        "missing": missing or {},
        "runs": list(runs),
    }


def _row(text: str, section: str, which: int = 0) -> list[str]:
    """Return the cells of a row of a section's table."""
    lines = text.split(f"### {section}\n\n")[1].split("\n\n", maxsplit=1)[0].splitlines()
    return [cell.strip() for cell in lines[2 + which].strip("|").split("|")]


@pytest.mark.parametrize("module", [document, figures, floor, markdown, table])
def test_examples_in_docstrings_are_right(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.failed == 0


def test_a_ratio_is_that_of_the_same_round() -> None:
    """The machine was three times slower in the second round; the ratio does not see it."""
    runs = [_run("laminar", ms=[2.0]), _run("laminar", 1, ms=[6.0]), _run("torch", ms=[4.0]), _run("torch", 1, ms=[12.6])]
    text = table.report(_results(*runs), {})
    row = _row(text, "Training step, float32")
    assert row[0] == "MLP 3072-20-15-10 with BN"
    assert row[1:3] == ["4.00 (2.00 to 6.00)", "8.30 (4.00 to 12.6)"]
    assert row[8:] == ["**2.05** (2.00 to 2.10)", "≥ 1.1", "1.00", "4.0"]


def test_the_fastest_variant_of_a_peer_counts_and_is_named() -> None:
    runs = [_run("laminar"), _run("torch", variant="loader", ms=[5.0]), _run("torch", variant="index+channels_last", ms=[3.0])]
    row = _row(table.report(_results(*runs), {}), "Training step, float32")
    assert row[2] == "3.00; channels last"
    assert row[8] == "**1.50**"


def test_each_at_its_best_precision() -> None:
    runs = [
        _run("laminar", ms=[2.0]),
        _run("laminar", precision="bfloat16", ms=[1.0]),
        _run("torch", ms=[2.2]),
        _run("torch", precision="bfloat16", ms=[8.0]),
    ]
    row = _row(table.report(_results(*runs), {}), "Training step, each at its best precision")
    assert row[1:3] == ["1.00; bfloat16", "2.20; float32"]
    assert row[8] == "**2.20**"


def test_a_row_below_its_goal_says_so_and_why() -> None:
    runs = [_run("laminar", ms=[2.0]), _run("torch", ms=[2.1])]
    text = table.report(_results(*runs), {"mlp": {"float32": "calls take most of the step."}})
    assert _row(text, "Training step, float32")[8] == "**1.05**, below"
    assert "- MLP 3072-20-15-10 with BN, 1.05 of 1.1: calls take most of the step." in text
    assert "no reason has been written down yet" in table.report(_results(*runs), {})


def test_a_peer_that_fails_or_is_not_there_is_named() -> None:
    runs = [_run("laminar"), _run("keras-jax", error="MemoryError"), _run("torch")]
    text = table.report(_results(*runs, missing={"skorch": "ERROR: No matching distribution found"}), {})
    assert "- skorch could not be installed: ERROR: No matching distribution found" in text
    assert "- Keras on JAX (float32), training of mlp: MemoryError" in text
    assert _row(text, "Training step, float32")[3:8] == ["—"] * 5


def test_memory_and_work_are_compared_with_the_loop_by_hand() -> None:
    runs = [_run("laminar", peak_mb=301.0), _run("torch"), _run("torch", variant="index", loss=1.01), _run("skorch", loss=1.5)]
    text = table.report(_results(*runs), {})
    memory = _row(text, "Memory")
    assert memory[1:3] == ["301 (101)", "300 (100)"]
    assert memory[-1] == "**1.00**, below"
    assert "- MLP 3072-20-15-10 with BN, 1.00 of 1: no reason has been written down yet." in text
    work = _row(text, "Equal work")
    assert work[1:5] == ["62,005", "100", "1.000", "1.005"]
    assert work[6] == "1.500 ≠"


def test_another_number_of_parameters_is_told() -> None:
    text = table.report(_results(_run("laminar"), _run("torch", parameters=62_006)), {})
    assert "MLP 3072-20-15-10 with BN: 62,005 parameters were expected." in text
    assert _row(text, "Equal work")[1] == "62,005 and 62,006"


def test_cold_starts_have_a_row_for_the_first_time_on_a_machine() -> None:
    def cold(framework: str, seconds: float, variant: str = "") -> dict[str, Any]:
        return _run(framework, kind="epoch", wall_s=seconds, variant=variant)

    runs = [cold("laminar", 3.0), cold("laminar", 5.0, "first ever"), cold("torch", 4.5, "index"), cold("keras-jax", 9.0)]
    text = table.report(_results(*runs), {})
    section = "From the start of a process to the end of its first epoch"
    assert _row(text, section)[8:] == ["**1.50**", "**3.00**"]
    assert _row(text, section, 1)[0].endswith("Laminar for the first time on a machine, its kernels compiled")
    assert _row(text, section, 1)[8:] == ["**0.90**", "**1.80**"]


def test_every_table_has_a_column_for_every_framework() -> None:
    lines = table.report(_results(_run("laminar"), _run("torch")), {}).splitlines()
    headers = [line for before, line in itertools.pairwise(lines) if before == "" and line.startswith("|")]
    assert len(headers) == 5
    assert all(framework.title in header for header in headers for framework in FRAMEWORKS.values())


def test_only_what_is_between_the_markers_changes() -> None:
    page = f"# Title\n\n{BEGIN}\n\nold | table\n\n{END}\n\n## Rest\n"
    once = rewritten(page, "new")
    assert once == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\n## Rest\n"
    assert rewritten(once, "new") == once


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_a_page_without_its_markers_is_not_touched(page: str) -> None:
    with pytest.raises(ValueError, match="expected the markers"):
        rewritten(page, "new")


def test_the_page_of_the_docs_has_the_markers() -> None:
    assert "new text" in rewritten(PAGE.read_text(encoding="utf-8"), "new text")


@pytest.mark.parametrize(
    ("threads", "expected"),
    [(2, {"gflops": 150.0, "gbs": 30.0}), (4, {"gflops": 80.0, "gbs": 30.0})],
    ids=["same", "other threads"],
)
def test_figures_measured_again_stand_in_the_place_of_the_old_ones(threads: int, expected: dict[str, float]) -> None:
    """The rates of one machine are the best that have been seen of it."""

    def made(loss: float, names: list[str], threads: int, gflops: float, gbs: float) -> dict[str, Any]:
        runs = [{"network": name, "loss": loss} for name in names]
        about = {name: {"flops": loss} for name in names}
        rates = {"gflops": gflops, "gbs": gbs}
        return {"machine": {"cores": 2}, "threads": threads, "rates": rates, "minutes": 1.0, "networks": about, "runs": runs}

    joined = _joined(made(1.0, ["mlp", "digits"], 2, 150.0, 20.0), made(2.0, ["digits"], threads, 80.0, 30.0))
    assert joined["runs"] == [{"network": "mlp", "loss": 1.0}, {"network": "digits", "loss": 2.0}]
    assert joined["networks"] == {"mlp": {"flops": 1.0}, "digits": {"flops": 2.0}}
    assert joined["minutes"] == 2.0
    assert joined["rates"] == expected
