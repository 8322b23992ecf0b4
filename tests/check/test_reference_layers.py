"""R2, R3, R11 and R27: derivatives written by hand that are right pass every check that concerns them, and none is left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch
from check import reference
from check.reference import REFERENCES, BatchNormByHand

import laminar as lm
from laminar.check.report import described

ROOT = Path(__file__).resolve().parents[2]

ALWAYS = [
    "builds",
    "described",
    "learnables-registered",
    "learnables-stable",
    "modes",
    "batch-sizes",
    "other-sizes",
    "meta-shape",
    "backward-autograd",
    "gradient-differences",
    "gradient-scale",
    "gradient-kinks",
    "gradient-layouts",
    "second-derivative",
    "used-twice",
    "dtypes",
    "autocast",
    "extreme-inputs",
    "offset-inputs",
    "nan-in",
    "large-batch",
    "deterministic",
    "observations-independent",
    "batch-order",
    "input-unchanged",
    "no-hidden-state",
    "modes-declared",
    "device-moves",
    "channels-last",
    "non-contiguous",
    "deep-copy",
    "pickle",
    "state-dict",
    "vmap",
    "compile",
]
"""Checks that concern every one of them."""

LEARNING = ["learnables-used", "frozen", "seeded-build"]
"""Checks of learnables."""

OTHERWISE = {
    "ELU, alpha fixed": dict.fromkeys(["learnables-registered", "learnables-stable"], "not applicable"),
    "ELU of Laminar, alpha switched on": {"seeded-build": "not applicable"},  # it is built already: else there is no switch
}
"""Where another status than "pass" is right, and which."""


def without_annotations(code: str) -> str:
    """Return the class ELU in `code` without what only a type checker reads, in one form."""
    (found,) = (node for node in ast.parse(code).body if isinstance(node, ast.ClassDef) and node.name == "ELU")
    for node in ast.walk(found):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    return ast.unparse(found)


def test_the_front_pages_layer_is_the_one_that_is_checked() -> None:
    page = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert without_annotations(page[0]) == without_annotations(Path(reference.__file__).read_text())


@pytest.mark.parametrize("name", REFERENCES)
def test_it_passes(name: str) -> None:
    make, shape = REFERENCES[name]
    report = lm.check_layer(make, shape, show=False)
    assert "\n".join(map(described, report.failures)) == ""
    expected = dict.fromkeys([*ALWAYS, *(LEARNING if learning(name) else [])], "pass")
    expected.update(OTHERWISE.get(name, {}))
    assert {check: report[check].status.value for check in expected} == expected


def learning(name: str) -> list[str]:
    """Return the names of the learnables of a reference layer that learn."""
    make, shape = REFERENCES[name]
    layer = make()
    layer(torch.zeros(2, *shape))
    return [n for n, p in layer.named_parameters() if p.requires_grad]


def test_running_statistics_of_the_batch_normalization_are_checked() -> None:
    report = lm.check_layer(BatchNormByHand, (6, 5, 4), checks=["running-statistics"], show=False)
    assert report["running-statistics"].status.value == "pass"
