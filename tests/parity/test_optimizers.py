"""Optimizers against Keras': ten steps on a quadratic and on a small network, with random hyperparameters and options.

Where the two differ on purpose (docs/differences.md) the comparison keeps away from it: epsilon is small beside the gradients,
weight decay is compared where it is decoupled in both, a changing rate where momentum is not a sum of gradients.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity.support import assert_close, keras, parity
from torch import Tensor
from torch.nn import Parameter

from laminar import optimizers as O
from laminar import schedules as S
from laminar.fit.pace import Pace

K = keras.optimizers
STEPS = 10
BETAS = st.floats(0.5, 0.99)
EPSILON = 1e-16  # beside the root in ours, under it or in the rate in some of Keras'

RULES: dict[str, Callable[[st.DataObject], dict[str, Any]]] = {
    "SGD": lambda d: d.draw(
        st.sampled_from([{}, {"momentum": 0.9}, {"momentum": 0.6, "nesterov": True}]) | st.builds(dict, momentum=BETAS)
    ),
    "RMSprop": lambda d: {
        "rho": d.draw(BETAS),
        "momentum": d.draw(st.sampled_from([0.0, 0.8])),
        "epsilon": EPSILON,
        "centered": d.draw(st.booleans()),
    },
    "Adagrad": lambda d: {"initial_accumulator_value": d.draw(st.floats(0.01, 1.0)), "epsilon": EPSILON},
    "Adadelta": lambda d: {"rho": d.draw(BETAS), "epsilon": d.draw(st.floats(1e-7, 1e-3))},
    "Adam": lambda d: {
        "beta_1": d.draw(BETAS),
        "beta_2": d.draw(BETAS),
        "epsilon": EPSILON,
        "amsgrad": d.draw(st.booleans()),
    },
    "AdamW": lambda d: {
        "beta_1": d.draw(BETAS),
        "beta_2": d.draw(BETAS),
        "epsilon": EPSILON,
        "weight_decay": d.draw(st.floats(0.001, 0.1)),
    },
    "Adamax": lambda d: {"beta_1": d.draw(BETAS), "beta_2": d.draw(BETAS), "epsilon": EPSILON},
}
OPTIONS = (
    st.just({})
    | st.builds(dict, clipnorm=st.floats(0.01, 2.0))
    | st.builds(dict, global_clipnorm=st.floats(0.01, 2.0))
    | st.builds(dict, clipvalue=st.floats(0.01, 1.0))
    | st.builds(
        dict, use_ema=st.just(True), ema_momentum=st.floats(0.1, 0.99), ema_overwrite_frequency=st.none() | st.integers(1, 5)
    )
)


def quadratic(seed: int) -> tuple[list[Tensor], Callable[..., Tensor]]:
    """Return a start and a function of it: ½·wᵀAw − bᵀw, and the same again for a vector."""
    rng = torch.Generator().manual_seed(seed)
    root, b = torch.randn(6, 6, generator=rng), torch.randn(6, 2, generator=rng)
    a = root @ root.T / 6 + 0.1 * torch.eye(6)

    def loss(w: Tensor, v: Tensor) -> Tensor:
        return 0.5 * (w * (a @ w)).sum() - (b * w).sum() + ((v - 1) ** 2).sum()

    return [torch.randn(6, 2, generator=rng), torch.randn(3, generator=rng)], loss


def network(seed: int) -> tuple[list[Tensor], Callable[..., Tensor]]:
    """Return the weights of a perceptron 4-5-3 and its cross-entropy on fixed data."""
    rng = torch.Generator().manual_seed(seed)
    x, y = torch.randn(16, 4, generator=rng), torch.randint(3, (16,), generator=rng)

    def loss(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(torch.tanh(x @ w1.T + b1) @ w2.T + b2, y)

    return [torch.randn(s, generator=rng) * 0.7 for s in ((5, 4), (5,), (3, 5), (3,))], loss


def ours_after(
    description: O.Rule, start: list[Tensor], loss: Callable[..., Tensor]
) -> tuple[list[Tensor], list[Sequence[Tensor]]]:
    """Return where ten steps lead, at the rates and with the running means that `fit` would use, and the gradients on the way."""
    parameters = [Parameter(w.clone()) for w in start]
    optimizer = description.create(parameters)
    pace = Pace(optimizer, description)
    gradients = []
    for _ in range(STEPS):
        gradients.append(torch.autograd.grad(loss(*parameters), parameters))
        for p, g in zip(parameters, gradients[-1], strict=True):
            p.grad = g.clone()
        pace.begin_step()
        optimizer.step()
        pace.iterations += 1
    O.put_averages_in_place(optimizer)
    return [p.detach() for p in parameters], gradients


def keras_after(optimizer: Any, start: list[Tensor], gradients: list[Sequence[Tensor]]) -> list[Tensor]:
    """Return where Keras' steps with these gradients lead.

    They are those of our path: where a gradient is near 0, Adam and its kind make the rounding of the network as large as a step.
    """
    variables = [keras.Variable(w.numpy()) for w in start]
    optimizer.build(variables)
    for step in gradients:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of Keras' own way to NumPy
            optimizer.apply([g.clone() for g in step], variables)
    optimizer.finalize_variable_values(variables)
    return [v.value.detach().clone() for v in variables]


def both(description: O.Rule, theirs: Callable[[], Any], seed: int) -> None:
    for problem in (quadratic, network):
        start, loss = problem(seed)
        found, gradients = ours_after(description, start, loss)
        assert_close(found, keras_after(theirs(), start, gradients))
        assert not any(torch.equal(a, b) for a, b in zip(found, start, strict=True))


@pytest.mark.parametrize("name", RULES)
@parity
@given(data=st.data(), seed=st.integers(0, 1000), rate=st.floats(0.001, 0.05), options=OPTIONS)
def test_ten_steps(name: str, data: st.DataObject, seed: int, rate: float, options: dict[str, Any]) -> None:
    """Every rule, with the options that Keras has too."""
    at = 20 * rate if name == "Adadelta" else rate
    settings = {**RULES[name](data), **options}
    both(getattr(O, name)(at, **settings), lambda: getattr(K, name)(at, **settings), seed)


@pytest.mark.parametrize("name", ["SGD", "Adam", "Adagrad", "RMSprop"])
@parity
@given(data=st.data(), seed=st.integers(0, 1000), rate=st.floats(0.001, 0.05), decay=st.floats(0.01, 1.0))
def test_ten_steps_with_a_rate_that_changes(name: str, data: st.DataObject, seed: int, rate: float, decay: float) -> None:
    """A schedule of each, and `decay`, which Keras 3 has as a schedule only."""
    settings = {} if name == "SGD" else RULES[name](data)
    settings.pop("momentum", None)
    theirs = K.schedules.InverseTimeDecay(rate, 1, decay)
    both(getattr(O, name)(S.InverseTimeDecay(rate, 1, decay), **settings), lambda: getattr(K, name)(theirs, **settings), seed)
    both(getattr(O, name)(rate, decay=decay, **settings), lambda: getattr(K, name)(theirs, **settings), seed)


@parity
@given(seed=st.integers(0, 1000), rate=st.floats(0.001, 0.1), decay=st.floats(0.001, 0.5))
def test_weight_decay_of_plain_sgd(seed: int, rate: float, decay: float) -> None:
    """Without momentum an L2 penalty and decoupled decay are the same step."""
    both(O.SGD(rate, weight_decay=decay), lambda: K.SGD(rate, weight_decay=decay), seed)


@parity
@given(seed=st.integers(0, 1000), rate=st.floats(0.001, 0.05), beta_1=BETAS, beta_2=BETAS)
def test_nadam_but_for_the_growth_of_its_momentum(seed: int, rate: float, beta_1: float, beta_2: float) -> None:
    """Keras' momentum is β₁·(1 − 0.96ᵗ/2); with its 0.96ᵗ in place of the paper's 0.96^(t/250) ours takes the same steps."""

    class Fast(O.Nadam):
        def _make(self, groups: Any, fused: bool) -> torch.optim.Optimizer:
            optimizer = super()._make(groups, fused)
            for group in optimizer.param_groups:
                group["momentum_decay"] = 1.0
            return optimizer

    both(Fast(rate, beta_1, beta_2, EPSILON), lambda: K.Nadam(rate, beta_1, beta_2, EPSILON), seed)


@parity
@given(
    seed=st.integers(0, 1000), rate=st.floats(0.001, 0.05), momentum=BETAS, nesterov=st.booleans(), decay=st.floats(0.001, 0.5)
)
def test_muon_but_for_its_bfloat16(seed: int, rate: float, momentum: float, nesterov: bool, decay: float) -> None:
    """Vectors by AdamW within rounding; matrices to the digits of torch's Muon, on gradients without tiny singular values.

    Those it brings up to 1 as well, and the rounding of bfloat16 with them.
    """
    rng = torch.Generator().manual_seed(seed)
    start = [torch.randn(s, generator=rng) for s in ((5, 4), (3,))]
    u, _, v = torch.linalg.svd(torch.randn(5, 4, generator=rng), full_matrices=False)
    gradients = [u @ torch.diag(torch.tensor([2.0, 1.5, 1.2, 1.0])) @ v, torch.randn(3, generator=rng)]
    settings = {"momentum": momentum, "nesterov": nesterov, "weight_decay": decay}

    parameters = [Parameter(w.clone()) for w in start]
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = g.clone()
    ours = O.Muon(rate, epsilon=EPSILON, **settings).create(parameters)
    variables = [keras.Variable(w.numpy()) for w in start]
    theirs = K.Muon(rate, epsilon=EPSILON, adam_weight_decay=decay, **settings)
    theirs.build(variables)
    for _ in range(3):
        ours.step()
        with torch.no_grad():
            theirs.apply(gradients, variables)
    (matrix, vector), (want, wanted) = parameters, [v.value.detach() for v in variables]
    assert_close([vector], [wanted])
    three_steps = 3 * rate * 0.2 * 5**0.5 * 4**0.5  # the norm of a 5×4 matrix whose singular values are 1 is 2
    assert float((matrix.detach() - want).norm()) < 0.05 * three_steps


def test_defaults_are_those_of_keras() -> None:
    """But for those of the list of differences."""
    known = {
        ("Adadelta", "learning_rate"): (1.0, 0.001),
        ("Adagrad", "learning_rate"): (0.01, 0.001),
        ("AdamW", "weight_decay"): (0.01, 0.004),
    }
    found = {}
    for name in ("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Adamax", "Nadam", "Muon"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of Keras' own way to NumPy
            ours, theirs = getattr(O, name)(), getattr(K, name)().get_config()
        for key, value in theirs.items():
            if not hasattr(ours, key):
                continue
            own = getattr(ours, key)
            if key == "weight_decay" and not own:
                own = None
            if isinstance(value, float):
                value = round(value, 9)  # it went through float32
            if own != value:
                found[name, key] = (own, value)
    assert found == known
