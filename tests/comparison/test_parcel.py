"""What goes to another process: functions of any kind, arrays beside, and what cannot go."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from laminar.comparison.parcel import pack, unpack
from laminar.errors import ArgumentError
from laminar.modules import file_module


def there_and_back(value: Any, folder: Path) -> Any:
    pack(value, folder)
    return unpack(folder)


def test_arrays_and_tensors_of_every_kind(tmp_path: Path) -> None:
    big = np.arange(30_000, dtype=np.float32).reshape(100, 300)
    numbers = np.arange(6)
    numbers.flags.writeable = False
    tensors = [
        torch.arange(12).reshape(3, 4).T,
        torch.ones(3, dtype=torch.bfloat16),
        torch.empty(0, 3),
        torch.tensor(2.5),
        torch.tensor([True, False]),
        torch.ones(2, requires_grad=True),
        torch.tensor([1 + 2j]).conj(),
    ]
    found = there_and_back({"big": big, "fortran": np.asfortranarray(big), "fixed": numbers, "tensors": tensors}, tmp_path)
    assert np.array_equal(found["big"], big)
    assert np.array_equal(found["fortran"], big)
    assert np.array_equal(found["fixed"], numbers)
    for one, other in zip(found["tensors"], tensors, strict=True):
        assert one.dtype == other.dtype
        assert one.requires_grad == other.requires_grad
        assert torch.equal(one, other)
    assert (tmp_path / "code").stat().st_size < 10_000, "the arrays lie beside"


def test_arrays_can_be_written_to_and_no_other_process_sees_it(tmp_path: Path) -> None:
    found = there_and_back(np.zeros(1000, dtype=np.float32), tmp_path)
    torch.from_numpy(found).add_(1)  # torch warns of arrays that cannot be written to
    assert found.sum() == 1000
    assert unpack(tmp_path).sum() == 0


def test_the_same_array_twice_is_there_once(tmp_path: Path) -> None:
    array = np.zeros(1000)
    first, second = there_and_back([array, array], tmp_path)
    assert first is second


def test_lambdas_closures_and_modules_that_only_this_process_knows(tmp_path: Path) -> None:
    source = "FACTOR = 3\ndef times(x):\n    return FACTOR * x\nclass Own:\n    def get(self):\n        return times(2)\n"
    (tmp_path / "study_of_mine.py").write_text(source)
    module = file_module(tmp_path / "study_of_mine.py", "here")
    three = 3
    folder = tmp_path / "parcel"
    folder.mkdir()
    try:
        pack([lambda x: x + three, module.times, module.Own()], folder)
    finally:
        del sys.modules[module.__name__]
        sys.path.remove(str(tmp_path))
    code = (
        "import sys; from pathlib import Path; from laminar.comparison.parcel import unpack; "
        "add, times, own = unpack(Path(sys.argv[1])); print(add(1), times(5), own.get())"
    )
    source_folder = Path(__file__).resolve().parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True, cwd=source_folder
    )
    assert done.stdout == "4 15 6\n"


def test_what_cannot_go(tmp_path: Path) -> None:
    lock = threading.Lock()
    with pytest.raises(ArgumentError) as caught:
        pack(lambda: lock, tmp_path)
    assert str(caught.value) == (
        "compare(workers=): expected variants, data and callbacks that can be brought to another process, "
        "received TypeError: cannot pickle '_thread.lock' object. "
        "Open files, locks and the like inside the functions, or pass workers=1."
    )
