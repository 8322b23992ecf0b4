"""Embeddings."""

from cases.case import Case
from laminar import layers as L

CASES = [
    Case(L.Embedding, (6,), (9, 4), whole=9, draws=True),
    Case(L.Embedding, (3, 2), (5, 3, "normal"), {"mask_zero": True}, whole=5, draws=True),
]
