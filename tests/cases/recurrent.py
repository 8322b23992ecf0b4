"""Recurrent layers, and the layers around them."""

from cases.case import Case
from laminar import layers as L

ALL_OUTPUTS = {"return_sequences": True, "return_state": True}

CASES = [
    # one observation has two axes, steps and features: without a batch axis it would be a batch of one step each
    Case(L.SimpleRNN, (3, 3), (4,), draws=True, alone=False),
    Case(L.SimpleRNN, (3, 3), (2, "relu"), {"use_bias": False, "go_backwards": True, **ALL_OUTPUTS}, draws=True, alone=False),
    Case(
        L.SimpleRNN,
        (4, 3),
        (2, "softplus"),
        {"mask_value": 0.0, "recurrent_dropout": 0.5},
        draws=True,
        alone=False,
        random=True,
    ),
    Case(L.GRU, (3, 3), (4,), {"return_sequences": True}, draws=True, alone=False),
    Case(L.GRU, (3, 3), (2,), {"reset_after": False, "bias_initializer": "ones", **ALL_OUTPUTS}, draws=True, alone=False),
    Case(L.GRU, (3, 3), (2,), {"stateful": True, "go_backwards": True}, draws=True, alone=False, vmaps=False, stateful=True),
    Case(L.GRU, (3, 3), (2,), {"dropout": 0.4, "recurrent_dropout": 0.3}, draws=True, alone=False, random=True),
    Case(L.LSTM, (3, 3), (4,), draws=True, alone=False),
    Case(L.LSTM, (3, 2), (3,), {"unit_forget_bias": False, **ALL_OUTPUTS}, draws=True, alone=False),
    Case(L.LSTM, (3, 2), (3, "softplus", "hard_sigmoid"), {"use_bias": False, "go_backwards": True}, draws=True, alone=False),
    Case(L.LSTM, (3, 2), (3,), {"stateful": True, "return_state": True}, draws=True, alone=False, vmaps=False, stateful=True),
    Case(
        L.LSTM,
        (4, 2),
        (3,),
        {"dropout": 0.5, "mask_value": 0.0, "zero_output_for_mask": True},
        draws=True,
        alone=False,
        random=True,
    ),
    Case(L.Bidirectional, (3, 3), (L.LSTM(2, return_sequences=True),), draws=True, alone=False),
    Case(L.Bidirectional, (3, 3), (L.GRU(2, return_state=True), "sum"), draws=True, alone=False),
    Case(L.Bidirectional, (3, 3), (L.SimpleRNN(2), "mul", L.GRU(2, go_backwards=True)), draws=True, alone=False, loose=4),
    Case(L.Bidirectional, (3, 3), (L.SimpleRNN(2, go_backwards=True, return_sequences=True), None), draws=True, alone=False),
    Case(L.TimeDistributed, (4, 2), (L.Dense(3, "tanh"),), draws=True, alone=False),
    Case(L.TimeDistributed, (3, 2, 5, 4), (L.Conv2D(2, 3),), draws=True, alone=False),
    Case(L.TimeDistributed, (3, 2, 2), (L.LSTM(2),), draws=True, alone=False),
]
