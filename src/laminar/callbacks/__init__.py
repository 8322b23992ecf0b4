"""Callbacks with Keras' names, arguments and defaults: what `fit` can do beside training.

Pass one, or several in a list: `model.fit(x, y, callbacks=[EarlyStopping(patience=3), CSVLogger("log.csv")])`. They run in that
order, at each hook. Where a figure is `monitor`ed, it is one of `history.history`: "loss", "val_loss", "accuracy", ...
An object may serve one fit after the other; it starts afresh at each.

For one of your own, derive from `Callback`, or pass functions to `LambdaCallback`.
"""

from laminar.callbacks.checkpoints import ModelCheckpoint
from laminar.callbacks.functions import LambdaCallback
from laminar.callbacks.logs import CSVLogger
from laminar.callbacks.rates import LearningRateScheduler, ReduceLROnPlateau
from laminar.callbacks.stopping import EarlyStopping, TerminateOnNaN
from laminar.callbacks.tensorboard import TensorBoard
from laminar.fit.callbacks import Callback

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
]
