"""A comparison packed into a folder, from which other processes take it: functions as cloudpickle has them, arrays beside.

The arrays lie in one file that every process maps into its memory, so that they are there once, however many processes read.
"""

from __future__ import annotations

import json
import mmap
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from laminar.comparison.environment import code_version
from laminar.errors import ArgumentError, WorkerError, complaint

__all__ = ["pack", "unpack"]

_ALIGNED = 64  # bytes: what vector instructions like


def pack(value: Any, folder: Path, where: str = "compare(workers=)") -> None:
    """Write `value` into an empty folder.

    Lambdas, closures, and what was defined in a notebook, in `python -c` or in a script go by value; so does what comes from
    a module that another process could not import.

    Args:
        value: anything.
        folder: an empty one.
        where: the argument that asks for it, for messages.

    Raises:
        ArgumentError: if something in it cannot be brought to another process.
    """
    import cloudpickle

    class Packer(cloudpickle.Pickler):  # type: ignore[misc]  # the base has no types
        def reducer_override(self, thing: Any) -> Any:
            if type(thing) is Tensor and _is_plain(thing):
                return _tensor, (thing.contiguous().reshape(-1).view(torch.uint8).numpy(), thing.dtype, tuple(thing.shape))
            return super().reducer_override(thing)

    places: list[tuple[int, int]] = []
    try:
        with (folder / "code").open("wb") as code, (folder / "arrays").open("wb") as arrays, _by_value():

            def beside(buffer: pickle.PickleBuffer) -> bool:
                arrays.write(b"\0" * (-arrays.tell() % _ALIGNED))
                with buffer.raw() as raw:
                    places.append((arrays.tell(), raw.nbytes))
                    arrays.write(raw)
                return False  # written here, not there

            Packer(code, protocol=5, buffer_callback=beside).dump(value)
            arrays.write(b"\0")  # a file without a byte cannot be mapped
    except (TypeError, AttributeError, ValueError, RuntimeError, pickle.PicklingError) as error:
        expected = "variants, data and callbacks that can be brought to another process"
        fix = "Open files, locks and the like inside the functions, or pass workers=1"
        received = f"{type(error).__name__}: {str(error).strip().rstrip('.')}"
        raise ArgumentError(complaint(where, expected=expected, received=received, fix=fix)) from error
    (folder / "places").write_text(json.dumps(places), encoding="utf-8")
    (folder / "packed by").write_text(code_version(), encoding="utf-8")


def unpack(folder: Path) -> Any:
    """Return what `pack` has written into `folder`; arrays can be written to, which no other process sees.

    Raises:
        WorkerError: if Laminar's files have changed since: what other code makes of it would pass for failed runs.
    """
    packed_by = (folder / "packed by").read_text(encoding="utf-8")
    if packed_by != code_version():
        expected, received = f"laminar {packed_by}, which the comparison was packed by", f"laminar {code_version()}"
        fix = "Start the program anew: the runs that are there are kept"
        raise WorkerError(complaint("a worker process", expected=expected, received=received, fix=fix))
    with (folder / "arrays").open("rb") as arrays:
        mapped = memoryview(mmap.mmap(arrays.fileno(), 0, access=mmap.ACCESS_COPY))
    buffers = [mapped[start : start + length] for start, length in json.loads((folder / "places").read_text())]
    return pickle.loads((folder / "code").read_bytes(), buffers=buffers)


def _is_plain(tensor: Tensor) -> bool:
    """Return whether numbers, dtype and shape are all there is."""
    strange = tensor.requires_grad or tensor.is_conj() or tensor.is_neg() or tensor.is_quantized
    return tensor.device.type == "cpu" and tensor.layout is torch.strided and not strange


def _tensor(raw: np.ndarray[Any, Any], dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(raw).view(dtype).reshape(shape) if raw.size else torch.empty(shape, dtype=dtype)


@contextmanager
def _by_value() -> Iterator[None]:
    """Let modules that only this process knows be packed with what is in them."""
    import cloudpickle

    found = {module.__name__: module for name, module in list(sys.modules.items()) if _is_only_here(name, module)}
    chosen = list(found.values())  # `python -m` may list one module under two names
    for module in chosen:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in chosen:
            cloudpickle.unregister_pickle_by_value(module)


def _is_only_here(name: str, module: ModuleType) -> bool:
    """Return whether a module came from a Python file, but not by its name: another process would not find it."""
    spec = getattr(module, "__spec__", None)
    if "." in name or spec is None or spec.origin is None or not str(spec.origin).endswith(".py"):
        return False
    return all(finder.find_spec(name, None) is None for finder in sys.meta_path)
