"""What can be declared, and every declaration that cannot work."""

from __future__ import annotations

import json
from typing import Any

import pytest
from comparison.small import TEST, TRAIN, compared, still, wide

from laminar.comparison.protocol import Protocol, make_protocol
from laminar.errors import ArgumentError, LaminarError, TooFewRunsError, UnknownNameError


def protocol(**options: Any) -> Protocol:
    return make_protocol(["a", "b", "c"], **{"metric": "accuracy", "margin": 0.01, "seeds": 20} | options)


def test_contrasts() -> None:
    assert protocol().contrasts == (("b", "a"), ("c", "a"))
    assert protocol(baseline="b").contrasts == (("a", "b"), ("c", "b"))
    assert protocol(baseline=[("b", "a"), ("c", "b")]).contrasts == (("b", "a"), ("c", "b"))


def test_which_way_is_better() -> None:
    assert protocol().higher_is_better
    assert not protocol(metric="loss").higher_is_better
    assert not protocol(metric="surprise", direction="min").higher_is_better


def test_seeds_differ_and_do_not_depend_on_their_number() -> None:
    seeds = [protocol().seed_of(k) for k in range(20)]
    assert len(set(seeds)) == 20
    assert seeds == [protocol(seeds=40).seed_of(k) for k in range(20)]
    assert seeds[0] != protocol(seed=1).seed_of(0)


def test_as_json_and_going_on() -> None:
    first = protocol(target=0.9, fit={"epochs": "3"})
    plain = json.loads(json.dumps(first.to_dict()))
    assert plain["contrasts"] == [["b", "a"], ["c", "a"]]
    assert protocol(seeds=9, margin=0.5, stop="fixed", baseline="c", target=0.9, fit={"epochs": "3"}).continued(plain) == first


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"metric": 3}, ArgumentError, "compare(metric=): expected the name of a figure, received 3. Pass metric=\"accuracy\", as compile(metrics=) has it."),
        ({"metric": "surprise"}, ArgumentError, "compare(direction=): expected \"min\" or \"max\", because 'surprise' does not tell which is better, received \"auto\". Pass direction=\"max\" where larger is better."),
        ({"direction": "up"}, ArgumentError, "compare(direction=): expected \"auto\", \"min\" or \"max\", received 'up'. Pass direction=\"min\" where smaller is better."),
        ({"margin": 0}, ArgumentError, "compare(margin=): expected a number above 0, received 0. Pass margin=0.002, for example."),
        ({"margin": "1 %"}, ArgumentError, "compare(margin=): expected a number above 0, received '1 %'. Pass margin=0.002, for example."),
        ({"stop": "soon"}, ArgumentError, "compare(stop=): expected \"early\" or \"fixed\", received 'soon'. Pass stop=\"early\" to end as soon as the verdicts are known."),
        ({"baseline": "d"}, UnknownNameError, "compare(baseline=): variant 'd' is unknown. Known: a, b, c."),
        ({"baseline": [("a", "a")]}, ArgumentError, "compare(baseline=): expected two variants, received ('a', 'a'). Pass baseline=\"without\", or baseline=[(\"with\", \"without\")]."),
        ({"baseline": [("a", "b"), ("a", "b")]}, ArgumentError, "compare(baseline=): expected pairs of variants, received [('a', 'b'), ('a', 'b')]. Name each pair once."),
        ({"baseline": 3}, ArgumentError, "compare(baseline=): expected two variants, received 3. Pass baseline=\"without\", or baseline=[(\"with\", \"without\")]."),
        ({"seed": 0.5}, ArgumentError, "compare(seed=): expected a whole number, received 0.5. Pass seed=0, say."),
        ({"seed": None}, ArgumentError, "compare(seed=): expected a whole number, received None. Pass seed=0, say."),
    ],
    ids=["metric", "no direction", "direction", "margin", "no number", "stop", "baseline", "itself", "twice", "no pairs", "seed", "no seed"],
)  # fmt: skip
def test_what_cannot_be_declared(options: dict[str, Any], error: type[LaminarError], message: str) -> None:
    with pytest.raises(error) as caught:
        protocol(**options)
    assert str(caught.value) == message


VARIANTS = {"wide": wide, "still": still}


@pytest.mark.parametrize(
    ("variants", "options", "error", "message"),
    [
        (wide, {}, ArgumentError, "compare(variants=): expected functions by name, received function. Pass {\"with\": make_one, \"without\": make_other}."),
        ({"wide": wide}, {}, ArgumentError, "compare(variants=): expected two or more by name, received ['wide']. Pass {\"with\": make_one, \"without\": make_other}."),
        ({1: wide, 2: still}, {}, ArgumentError, "compare(variants=): expected two or more by name, received [1, 2]. Pass {\"with\": make_one, \"without\": make_other}."),
        ({"wide": wide, "still": 3}, {}, ArgumentError, "compare(variants=): variant 'still': expected a function that builds a compiled network, received int. Pass one that takes nothing, or the seed."),
        ({"wide": wide, "two": lambda a, b: None}, {}, ArgumentError, "compare(variants=): variant 'two': expected a function that builds a compiled network, received one that needs a, b. Pass one that takes nothing, or the seed."),
        ({"wide": wide, "none": lambda: None}, {}, ArgumentError, "compare(variants=): variant 'none': expected a compiled network, received NoneType. Return lm.Sequential([...]) after its compile()."),
        (VARIANTS, {"epoch": 3}, UnknownNameError, "compare: argument 'epoch' is unknown. Did you mean 'epochs'? Known: baseline, batch_size, callbacks, class_weight, direction, drop_last, epochs, log_every, margin, metric, name, seed, seeds, shuffle, stop, store, target, test, train, validation_data, validation_split, variants, verbose, workers."),
        (VARIANTS, {"epochs": 0}, ArgumentError, "compare(epochs=): expected a whole number of at least 1, received 0. Pass 1 or more."),
        (VARIANTS, {"x": 3}, ArgumentError, "compare(x=): expected none: the data comes after the variants, received int. Write compare(variants, (x, y), (x_test, y_test), ...)."),
        (VARIANTS, {"sample_weight": [1.0]}, ArgumentError, "compare(sample_weight=): expected none: weights come with the data, received list. Pass (x, y, weight) as train."),
        (VARIANTS, {"validation_split": 0.2, "target": 0.9}, ArgumentError, "compare(validation_split=): expected none beside target=, which evaluates the test data after every epoch, received float. Leave one of them out."),
        (VARIANTS, {"validation_split": 2.0}, ArgumentError, "compare(validation_split=): expected a number above 0 and below 1, received 2.0. Pass validation_split=0.2, for example."),
        (VARIANTS, {"metric": "acuracy", "direction": "max"}, UnknownNameError, "compare(metric=): figure of variant 'wide' 'acuracy' is unknown. Did you mean 'accuracy'? Known: accuracy, loss."),
        (VARIANTS, {"seeds": 5, "stop": "fixed"}, TooFewRunsError, "5 paired seeds give at best p = 0.0625, so alpha = 0.05 cannot be reached. Run 6 or more."),
        (VARIANTS, {"workers": 0}, ArgumentError, "compare(workers=): expected a whole number of at least 1, received 0. Pass 1 or more."),
        (VARIANTS, {"name": ""}, ArgumentError, "compare(name=): expected a name or None, received ''. Pass name=\"elu\", or leave it out."),
        (VARIANTS, {"verbose": 2}, ArgumentError, "compare(verbose=): expected 0 or 1, received 2. Pass verbose=0."),
        (VARIANTS, {"shuffle": "often"}, ArgumentError, "fit(shuffle=): expected \"epoch\", \"once\" or False, received 'often'. Pass shuffle=\"epoch\"."),
    ],
    ids=["function", "one", "numbers", "no function", "two arguments", "nothing", "typo", "epochs", "x", "weights", "validation", "split", "metric", "few", "workers", "name", "verbose", "shuffle"],
)  # fmt: skip
def test_what_cannot_be_compared(variants: Any, options: dict[str, Any], error: type[LaminarError], message: str) -> None:
    with pytest.raises(error) as caught:
        compared(variants, **options)
    assert str(caught.value) == message


def test_data_that_cannot_be_used_is_said_before_anything_is_trained() -> None:
    import laminar as lm

    def said(train: Any, test: Any) -> str:
        options = {"metric": "accuracy", "margin": 0.01, "seeds": 6, "store": None, "verbose": 0}
        with pytest.raises(LaminarError) as caught:
            lm.compare(VARIANTS, train, test, **options)
        return str(caught.value)

    x, y = TRAIN
    assert said((x, y[:50]), TEST).startswith("compare(train=), variant 'wide': x and y: expected as many ")
    assert said((x * float("nan"), y), TEST).startswith("compare(train=), variant 'wide': x: ")
    assert said(TRAIN, (TEST[0], TEST[1] + 5)).startswith("compare(test=), variant 'wide': y: ")
    assert said(TRAIN, (TEST[0][:, :2], TEST[1])).startswith("compare(test=), variant 'wide': ")
    assert said((x, y, y, y), TEST) == ("compare(train=): expected (x, y) or (x, y, weight), received 4 things. Pass (x, y).")


def test_a_network_itself_is_no_variant() -> None:
    with pytest.raises(ArgumentError) as caught:
        compared({"wide": wide, "made": wide()})
    assert str(caught.value) == (
        "compare(variants=): variant 'made': expected a function that builds a compiled network, received Sequential. "
        "Write lambda: ... or def around what makes it, so that each run has a new one."
    )


def test_a_network_that_is_not_compiled() -> None:
    import laminar as lm

    with pytest.raises(LaminarError) as caught:
        compared({"wide": wide, "bare": lambda: lm.Sequential([lm.layers.Dense(2)])})
    assert str(caught.value) == (
        "compare(variants=): variant 'bare': expected a compiled network, received one without a loss. "
        "Call model.compile(...) in the function."
    )
