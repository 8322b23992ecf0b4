"""Recurrent layers on a GPU: cuDNN's kernels take the weights without a warning, and give what the steps give."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from laminar import layers as L
from laminar.layers.recurrence import Recurrence

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cls", [L.SimpleRNN, L.GRU, L.LSTM])
def test_fused_equals_steps_on_the_cpu(cls: type[Recurrence], bias: bool) -> None:
    layer = cls(8, use_bias=bias, return_sequences=True)
    x = torch.randn(4, 7, 3)
    want = layer(x)
    on_gpu = copy.deepcopy(layer).cuda().eval()  # gradients are asked for in inference mode, too
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as that of weights that lie in several places
        got = on_gpu(x.cuda())
    torch.testing.assert_close(got.cpu(), want, rtol=1e-4, atol=1e-5)
    dz = torch.randn_like(want)
    wanted = torch.autograd.grad(want, list(layer.parameters()), dz)
    gotten = torch.autograd.grad(got, list(on_gpu.parameters()), dz.cuda())
    torch.testing.assert_close([g.cpu() for g in gotten], list(wanted), rtol=1e-3, atol=1e-4)
