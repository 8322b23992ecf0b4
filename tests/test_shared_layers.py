"""A layer that stands in several places of a chain runs in each of them, as in torch's `nn.Sequential`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar import losses
from laminar.fit.convert import Batch
from laminar.fit.dense_chain import dense_chain
from laminar.fit.head import find_head


def shared() -> list[nn.Module]:
    """Return a chain with one dense layer in two places and one activation in three."""
    dense, bend = L.Dense(6), L.Activation("tanh")
    return [dense, bend, L.Dense(6), bend, dense, L.BatchNormalization(), bend, L.Dense(3)]


def built(layers: list[nn.Module]) -> lm.Sequential:
    return lm.Sequential(layers).build((6,), seed=0)  # type: ignore[return-value]  # itself


def rows(n: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 6, generator=generator), torch.randint(3, (n,), generator=generator)


def test_they_run_as_in_torch() -> None:
    layers = shared()
    model, (x, _) = built(layers), rows()
    assert torch.equal(model(x), nn.Sequential(*layers)(x))
    assert len(model) == len(list(model)) == len(model.layers) == 8
    assert list(model) == model.layers == layers
    assert model[-1] is layers[-1]
    assert model[4] is layers[0]
    assert model.build((6,)).output_shape == (3,)


@pytest.mark.parametrize("engine", ["eager", "auto"])
def test_training_and_prediction(engine: str) -> None:
    layers = shared()
    model, (x, y) = built(layers), rows()
    theirs = nn.Sequential(*layers)
    start = {name: t.clone() for name, t in model.state_dict().items()}
    model.compile("sgd", "sparse_categorical_crossentropy", engine=engine, device="cpu")  # type: ignore[arg-type]
    found_losses = model.fit(x, y, epochs=3, batch_size=20, shuffle=False, verbose=0).iterations["loss"]
    trained, found = {n: t.clone() for n, t in model.state_dict().items()}, model.predict(x, batch_size=7)
    model.load_state_dict(start)
    optimizer, expected = torch.optim.SGD(theirs.parameters(), lr=0.01), []
    theirs.train()
    for _ in range(3):
        for part, labels in zip(x.split(20), y.split(20), strict=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(theirs(part), labels)
            loss.backward()
            optimizer.step()
            expected.append(loss.item())
    assert found_losses == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(model.state_dict(), trained, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found, theirs.eval()(x).softmax(1), rtol=1e-4, atol=1e-6)


def test_in_a_residual_path() -> None:
    bend = L.ReLU()
    main = [
        L.Conv2D(4, 3, padding="same"),
        L.BatchNormalization(),
        bend,
        L.Conv2D(4, 3, padding="same"),
        bend,
        L.BatchNormalization(),
    ]
    layer, x = L.Residual(main, activation="relu"), torch.randn(5, 4, 8, 8)
    model = lm.Sequential([layer, L.Flatten(), L.Dense(3)]).build((4, 8, 8), seed=0)
    torch.testing.assert_close(layer(x), (nn.Sequential(*main)(x) + x).relu())
    model.eval()
    expected = model[2](model[1]((nn.Sequential(*main)(x) + x).relu()))
    torch.testing.assert_close(model.predict(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [lambda: L.Activation("sigmoid"), nn.Sigmoid], ids=["Laminar's", "torch's"])
def test_the_activation_that_a_loss_undoes_stays_where_it_is_used_before(make: Callable[[], nn.Module]) -> None:
    """Left out for the loss's sake it would be missing in the middle, too."""
    bend = make()
    model, (x, _) = built([L.Dense(4), bend, L.Dense(1), bend]), rows()
    target = (x[:, :1] > 0).float()
    expected = nn.functional.binary_cross_entropy(model(x), target).item()
    model.compile("sgd", "binary_crossentropy", device="cpu")
    assert model.evaluate(x, target)["loss"] == pytest.approx(expected, rel=1e-5)
    assert model.fit(x, target, batch_size=40, verbose=0).iterations["loss"] == pytest.approx([expected], rel=1e-5)
    assert float(model.predict(x).max()) <= 1


def test_a_normalization_behind_a_layer_between_is_not_folded() -> None:
    """The second one would look as if it stood behind the convolution, were the first use of what is between forgotten."""
    between = nn.Tanh()
    layers = [between, L.Conv2D(4, 3), between, L.BatchNormalization()]
    model = lm.Sequential(layers).build((2, 6, 6), seed=0)
    x = torch.randn(300, 2, 6, 6)
    model(x)
    torch.testing.assert_close(model.predict(x), nn.Sequential(*layers).eval()(x), rtol=1e-4, atol=1e-5)


def test_the_same_for_a_block_that_ends_in_it() -> None:
    block = lm.Sequential([L.Dense(4), L.Activation("sigmoid")])
    model, (x, _) = built([L.Dense(4), block, block]), rows()
    target = (x[:, :4] > 0).float()
    expected = nn.functional.binary_cross_entropy(model(x), target).item()
    model.compile("sgd", "binary_crossentropy", device="cpu")
    assert model.evaluate(x, target)["loss"] == pytest.approx(expected, rel=1e-5)


def test_several_seeds_at_once_train_what_one_trains() -> None:
    """The batched program of a comparison knows the chain as it is."""
    bend = L.ReLU()
    model = built([L.Dense(8), bend, L.Dense(8), bend, L.Dense(3, "softmax")])
    tensors = {name: torch.stack([t.detach(), 2 * t.detach()]) for name, t in model.named_parameters()}
    loss, (x, y) = losses.get("sparse_categorical_crossentropy"), rows()
    at_once = dense_chain(model, tensors, loss, find_head(model, loss, lambda: x))
    assert at_once is not None
    found, _ = at_once(Batch(torch.stack([x, x]), torch.stack([y, y]), None))
    for i, value in enumerate(found):
        values = {name: t[i] for name, t in tensors.items()}
        probabilities = torch.func.functional_call(model, values, x)
        assert value.item() == pytest.approx(nn.functional.nll_loss(probabilities.log(), y).item(), rel=1e-5)
