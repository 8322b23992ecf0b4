"""Where the kernels come from, and what happens where they cannot be had: torch's operations, and a reason."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import laminar as lm
from laminar import cli
from laminar import layers as L
from laminar.kernels import calls as kernel_calls
from laminar.kernels import library as lib
from laminar.kernels.parts import Part
from laminar.kernels.switch import enabled, serve
from laminar.kernels.trust import first_disagreement

needs_compiler = pytest.mark.skipif(lib.library(torch.float32) is None, reason=f"no kernels here: {lib.reason_without()}")


def test_where_a_compiler_works_the_kernels_compile(tmp_path: Path) -> None:
    """All tests of kernels are skipped where there are none: nobody would hear of a kernel that no compiler takes."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or os.environ.get("LAMINAR_KERNELS") == "0":
        pytest.skip("none are asked for here")
    (tmp_path / "one.c").write_text("int one(void) { return 1; }")
    if subprocess.run([compiler, "-fopenmp", "-shared", "-fPIC", "one.c"], cwd=tmp_path, check=False).returncode:
        pytest.skip("no compiler that works")
    assert {lib.reason_without(dtype, part) for dtype in (torch.float32, torch.float64) for part in Part} == {None}


@pytest.fixture
def afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and a process that has not looked for kernels yet."""
    monkeypatch.setenv("LAMINAR_CACHE", str(tmp_path / "cache"))
    for known in (lib._loaded, lib._tell):
        known.cache_clear()
    yield tmp_path / "cache" / "kernels"
    monkeypatch.undo()
    for known in (lib._loaded, lib._tell):
        known.cache_clear()


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilations that take a second: the same functions, slower."""
    monkeypatch.setattr(lib, "_FLAGS", tuple("-O1" if flag == "-O3" else flag for flag in lib._FLAGS))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("LAMINAR_KERNELS", "0", "LAMINAR_KERNELS=0 turns them off"),
        ("CC", "no-such-compiler -O2", "there is no C compiler (no-such-compiler)"),
        ("PATH", "", "there is no C compiler (cc, gcc or clang)"),
        ("CC", "false", "/false failed: exit status 1"),
        ("CC", "true", "/true failed: exit status 0"),
    ],
)
def test_without_kernels_there_is_a_reason(
    name: str, value: str, reason: str, afresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv(name, value)
    with caplog.at_level(logging.INFO, "laminar.kernels"):
        assert lib.library(torch.float32) is None
    found = lib.reason_without()
    assert found is not None
    assert found.endswith(reason)
    assert caplog.messages == [f"Training runs without Laminar's own CPU kernels: {found}."]
    assert not afresh.exists()
    with enabled():
        assert not any(serve(torch.zeros(1 << 15), part=part) for part in Part)
    assert len(caplog.messages) == 1


def test_a_dtype_that_there_are_no_kernels_for() -> None:
    assert lib.reason_without(torch.float16) == "they are made for float32 and float64"
    with enabled():
        assert not serve(torch.zeros(1 << 15, dtype=torch.float16), part=Part.CONTIGUOUS)


@needs_compiler
def test_they_are_compiled_once(afresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: calls.append(a) or run(*a, **k))
    assert lib.library(torch.float32) is not None
    first = len(calls)
    lib._loaded.cache_clear()
    assert lib.library(torch.float32) is not None
    assert 0 < first == len(calls)
    assert [p.suffix for p in afresh.iterdir()] == [".so"]


@needs_compiler
@pytest.mark.parametrize("processors", [None, 1, 2])
def test_however_many_units_are_compiled_side_by_side(
    processors: int | None, afresh: Path, quickly: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    assert lib.reason_without(torch.float64) is None


@needs_compiler
def test_every_kernel_is_in_one_part() -> None:
    libraries = [lib.library(torch.float32, part) for part in Part]
    for name in (*kernel_calls._SIGNATURES, *kernel_calls._ROOMS):
        assert sum(hasattr(library, name) for library in libraries) == 1
    units = [unit for part in Part for unit in part.value]
    assert sorted(units) == list(range(1, len(units) + 1))


@needs_compiler
def test_what_is_not_needed_is_not_compiled(afresh: Path, quickly: None) -> None:
    """R5's network takes images as torch lays them out; a perceptron is a part of its own."""
    model = lm.Sequential([L.Conv2D(20, 5), L.BatchNormalization(), L.ELU("uniform", learnable=True), L.Flatten(), L.Dense(10)])
    model.compile("sgd", "sparse_categorical_crossentropy", device="cpu")
    model.fit(torch.rand(64, 1, 28, 28), torch.randint(10, (64,)), verbose=0)
    assert {path.name.split("-")[0] for path in afresh.iterdir()} == {"contiguous"}
    model = lm.Sequential([L.Dense(5, "relu"), L.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", device="cpu")
    model.fit(torch.rand(64, 7), torch.randint(3, (64,)), verbose=0)
    assert {path.name.split("-")[0] for path in afresh.iterdir()} == {"contiguous", "perceptron"}


@needs_compiler
def test_a_damaged_file_is_made_again(afresh: Path, quickly: None) -> None:
    lib._built("float", Part.DROPOUT)
    (kept,) = afresh.iterdir()
    whole = kept.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:1000], b"", whole[:5000] + b"x" + whole[5001:]):
        kept.unlink()  # it is loaded: that file itself must stay as it is
        kept.write_bytes(damaged)
        lib._built("float", Part.DROPOUT)
        assert len(kept.read_bytes()) > len(whole) // 2
        assert lib._whole(kept)


@needs_compiler
def test_a_cache_that_cannot_be_written_costs_a_compilation_only(afresh: Path, quickly: None) -> None:
    afresh.parent.write_text("a file, where a folder is to be")
    assert lib.library(torch.float32) is not None


@needs_compiler
@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("y > 0 ? y : below", "y > 0 ? y : below * (REAL)1.001", "normalization with ELU"),
        ("tilt = (REAL)(sums[1]", "tilt = (REAL)(0.999 * sums[1]", "gradient of a normalization with IDENTITY"),
        ("second[k] += d2 * v", "second[k] += d1 * v", "gradient of a kernel"),
        ("sums[f][v] += in[v] * weights[t][f]", "sums[f][v] -= in[v] * weights[t][f]", "convolution"),
    ],
)
def test_kernels_that_compute_something_else_are_not_used(
    right: str,
    wrong: str,
    named: str,
    afresh: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    changed = tmp_path / "source"
    shutil.copytree(lib._SOURCES, changed)
    found = 0
    for path in changed.iterdir():
        text = path.read_text(encoding="utf-8")
        found += text.count(right)
        path.write_text(text.replace(right, wrong), encoding="utf-8")
    assert found
    monkeypatch.setattr(lib, "_SOURCES", changed)
    with caplog.at_level(logging.INFO, "laminar.kernels"):
        assert lib.library(torch.float32) is None
    reason = f"this compiler's {named} does not agree with torch's"
    assert lib.reason_without() == reason
    assert caplog.messages == [f"Training runs without some of Laminar's own CPU kernels: {reason}."]
    kernels = cli._information()["kernels"]
    assert kernels.startswith("Laminar's own, compiled for this processor, but for some: ")
    assert reason in kernels


@needs_compiler
def test_a_perceptron_s_prediction_is_asked_for_too(
    afresh: Path, quickly: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, wrong = "if (!s->own) mean[k] = p->mean[k]", "if (!s->own) mean[k] = 0"
    changed = tmp_path / "source"
    shutil.copytree(lib._SOURCES, changed)
    text = (changed / "perceptron.h").read_text(encoding="utf-8")
    assert right in text
    (changed / "perceptron.h").write_text(text.replace(right, wrong), encoding="utf-8")
    monkeypatch.setattr(lib, "_SOURCES", changed)
    found = {lib.reason_without(dtype, Part.PERCEPTRON) for dtype in (torch.float32, torch.float64)}
    assert found == {"this compiler's perceptron's prediction does not agree with torch's"}


@needs_compiler
def test_right_ones_agree() -> None:
    for dtype in (torch.float32, torch.float64):
        for part in Part:
            assert first_disagreement(lib.library(dtype, part), dtype, part) is None


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="its vectors cannot be made shorter by a flag")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_short_vectors(dtype: torch.dtype, afresh: Path, quickly: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As processors without AVX have them, and ARM's."""
    monkeypatch.setenv("CC", f"{lib._compiler()[0]} -mno-avx")
    assert {lib.reason_without(dtype, part) for part in Part} == {None}


@needs_compiler
def test_processes_that_compile_at_once_each_get_a_whole_library(afresh: Path) -> None:
    code = "import torch; from laminar.kernels.library import reason_without as r; print(r())"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=100)[0] for process in running] == ["None\n"] * 3
    assert len(list(afresh.iterdir())) == 1
