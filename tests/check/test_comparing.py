"""How far two outputs, or two runs, are apart: complex numbers, infinities and NaN count for what they are."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar.check.comparing import gap
from laminar.check.differences import largest_difference

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("found", "right", "count"),
    [
        ([1.0, NAN], [1.0, NAN], 0),
        ([INF, -INF], [INF, -INF], 0),
        ([1.0, NAN], [1.0, 2.0], 1),
        ([1.0, 2.0], [INF, NAN], 2),
        ([INF, 1.0], [-INF, 1.0], 1),
        ([NAN, INF], [INF, INF], 1),
    ],
)
def test_what_is_not_finite(found: list[float], right: list[float], count: int) -> None:
    one, other = [torch.tensor(found)], [torch.tensor(right)]
    difference = largest_difference(one, other)
    assert gap(one, other).difference == difference.error == (INF if count else 0.0)
    if count:
        assert difference.text == f"the output has {count} number{'s' * (count > 1)} NaN or infinite in one run alone"


def test_the_imaginary_part_counts() -> None:
    one, other = [torch.tensor([1 + 2j, 4j])], [torch.tensor([1 + 1j, 4j])]
    assert gap(one, other).difference == 1
    assert largest_difference(one, other).text == "the output differs by up to 1, its largest number is 4"
    assert largest_difference(one, one).error == 0


def test_conjugates_that_torch_only_notes() -> None:
    z = torch.tensor([1 + 2j])
    assert z.conj().is_conj()
    assert gap([z.conj()], [z]).difference == 4
    assert largest_difference([z.conj()], [z]).error == 2


class Spectrum(nn.Module):
    """The conjugate of a Fourier transform."""

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = torch.fft.fft(x).conj()
        return z


class Contiguous(Spectrum):
    """The same, with another imaginary part where the input has gaps in memory."""

    def forward(self, x: Tensor) -> Tensor:
        z = super().forward(x)
        return z if x.is_contiguous() else z.conj()


def test_a_layer_with_complex_outputs() -> None:
    groups = ["contract", "numerics", "behaviour", "placement"]
    assert [o.found for o in lm.check_layer(Spectrum(), (6,), checks=groups, show=False).failures] == []
    assert not lm.check_layer(Contiguous(), (6,), checks=["non-contiguous"], show=False)
