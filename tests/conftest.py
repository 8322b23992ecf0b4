"""What every test shares: who is skipped and why, and settings that make a run repeatable on any machine."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
import torch
from hypothesis import HealthCheck, settings

from laminar.seeding import seed_all

# No window system in tests: figures go to files.
matplotlib.use("Agg")

# A shell's background job ignores Ctrl-C, and so would all that is started here; tests press it.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Sums split over another number of threads round differently: two are what the smallest machine we support has. Processes that
# test side by side have one each, or they would wait for one another.
torch.set_num_threads(1 if os.environ.get("PYTEST_XDIST_WORKER") else 2)

# `repeatable` is for CI: the same examples each time, so a red run is red again at home. `HYPOTHESIS_PROFILE=search` looks
# further, with new examples on each run. No deadline: a torch function's first call can be
# a hundred times slower than its second.
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, max_examples=30, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("search", deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_configure(config: pytest.Config) -> None:
    """Keep what tests draw or fetch out of the user's cache; it lasts from run to run beside pytest's own."""
    if getattr(config, "cache", None) is not None:
        os.environ.setdefault("LAMINAR_CACHE", str(config.cache.mkdir("laminar")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine cannot run."""
    needs = {
        "gpu": (torch.cuda.is_available(), "needs a CUDA device"),
        "data": (bool(os.environ.get("LAMINAR_DATA")), "needs real data: set LAMINAR_DATA to the folder that holds it"),
    }
    for item in items:
        for marker, (present, reason) in needs.items():
            if not present and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _same_start() -> Iterator[None]:
    """Start every test from the same global random state, and leave torch's defaults as they were found."""
    dtype, deterministic = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    seed_all(0)
    yield
    torch.set_default_dtype(dtype)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture
def data_root() -> Path:
    """Return the folder of real data; for tests marked `data`."""
    return Path(os.environ["LAMINAR_DATA"])
