"""Results as matplotlib figures. Nothing heavy is computed here, and matplotlib is imported when a picture is drawn.

Every function returns a `matplotlib.figure.Figure` of its own: no global state is touched, no window opens, and a notebook
shows the returned figure. With `ax=` it draws in these axes instead, several panels side by side inside them. The colours are
those of Okabe and Ito, which colour-blind people tell apart.
"""

from laminar.plots.canvas import save
from laminar.plots.confusion import confusion_matrix
from laminar.plots.curves import history
from laminar.plots.filters import feature_maps, image_kernels, kernels
from laminar.plots.functions import activations
from laminar.plots.grid import predictions
from laminar.plots.landscape import paths
from laminar.plots.ranges import range_test
from laminar.plots.rates import schedules
from laminar.plots.tuning import importance, slices, trials

__all__ = [
    "activations",
    "confusion_matrix",
    "feature_maps",
    "history",
    "image_kernels",
    "importance",
    "kernels",
    "paths",
    "predictions",
    "range_test",
    "save",
    "schedules",
    "slices",
    "trials",
]
