"""What `evaluate` returns."""

from __future__ import annotations

from laminar.names import unknown_name

__all__ = ["Figures"]


class Figures(dict[str, float]):
    """Figures by name, the loss first; by position too, as programs written for Keras take them.

    Raises:
        UnknownNameError: for a name that is none of the figures.
        IndexError: for a position that there is not.

    >>> figures = Figures(loss=0.25, accuracy=0.9)
    >>> figures["accuracy"], figures[0], figures
    (0.9, 0.25, {'loss': 0.25, 'accuracy': 0.9})
    """

    def __missing__(self, key: object) -> float:
        """Return the figure at a position."""
        if isinstance(key, int):
            return list(self.values())[key]
        raise unknown_name("figure", key, self)
