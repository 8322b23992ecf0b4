"""Augmentation."""

from cases.case import Case
from laminar import layers as L

CASES = [
    Case(L.Cutout, (2, 5, 6), (3,), {"fill_value": 0.5}, random=True),
    Case(L.RandomBrightness, (2, 5, 6), (0.3, (-9, 9)), random=True),
    Case(L.RandomContrast, (2, 5, 6), ((0.5, 1.0), (-9, 9)), random=True),
    Case(L.RandomCrop, (2, 5, 6), (3, 4), random=True),
    Case(L.RandomCrop, (2, 4, 4), (4, 4, 2, "reflect"), random=True),
    Case(L.RandomErasing, (2, 5, 6), (1.0, (0.3, 0.6)), random=True),
    Case(L.RandomFlip, (2, 5, 6), random=True),
    Case(L.RandomRotation, (2, 5, 6), (0.2, "nearest"), random=True),
    Case(L.RandomTranslation, (2, 5, 6), (0.4, (-0.2, 0.3), "wrap"), random=True),
    Case(L.RandomZoom, (2, 5, 6), (0.4, None, "constant", "nearest", 0.3), random=True),
]
