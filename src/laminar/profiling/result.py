"""The profile of a training step, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from laminar.profiling.machine import Machine
from laminar.storages import format_bytes

__all__ = ["Profile", "ProfileRow"]


@dataclass(frozen=True)
class ProfileRow:
    """One layer of the table, two that are computed at once, or what is no layer.

    Attributes:
        path: the layer's place in the network; "bn + elu" for two; "(loss)", "(update)", "(everything else)".
        layer: its class.
        forward: seconds in forward, the median over the steps.
        backward: seconds in backward, likewise.
        share: of the step's time.
        kept: bytes kept for the backward pass.
        output: bytes of what it returns.
        flops: floating-point operations, forward and backward; None where that is not known.
        moved: bytes read and written, at least; None where that is not known.
        floor: seconds that this machine takes at least: flops over its measured matrix rate, or bytes over its measured copy
            rate, whichever is more.
    """

    path: str
    layer: str
    forward: float
    backward: float
    share: float
    kept: int = 0
    output: int = 0
    flops: int | None = None
    moved: int | None = None
    floor: float | None = None

    @property
    def time(self) -> float:
        """Seconds, forward and backward."""
        return self.forward + self.backward

    @property
    def of_floor(self) -> float | None:
        """The share of its time that the floor is; 1 is as fast as it can be."""
        return None if self.floor is None or not self.time else self.floor / self.time


@dataclass(frozen=True)
class Profile:
    """Where the time and the memory of a training step go; `str` gives it as text.

    Attributes:
        title: the network, the batch, the device.
        rows: one for each layer in the order of the calls, then loss, update and everything else.
        step: seconds of a step of `fit`, measured without looking inside: the median.
        machine: what the machine can do, measured.
        hints: what to try, as far as this run shows.
    """

    title: str
    rows: tuple[ProfileRow, ...]
    step: float
    machine: Machine
    hints: tuple[str, ...]

    @property
    def total(self) -> float:
        """Seconds in all rows."""
        return sum(r.time for r in self.rows)

    @property
    def kept(self) -> int:
        """Bytes kept for the backward pass, in all rows."""
        return sum(r.kept for r in self.rows)

    def _cells(self) -> list[tuple[str, ...]]:
        header = ("path", "layer", "forward", "backward", "share", "kept", "output", "MFLOP", "MB moved", "of floor")
        body = [
            (
                r.path,
                r.layer,
                _milliseconds(r.forward),
                _milliseconds(r.backward) if r.backward else "",
                f"{r.share:.0%}",
                format_bytes(r.kept) if r.kept else "",
                format_bytes(r.output) if r.output else "",
                "" if not r.flops else f"{r.flops / 1e6:,.1f}",
                "" if not r.moved else f"{r.moved / 1e6:,.1f}",
                "" if r.of_floor is None else f"{r.of_floor:.0%}",
            )
            for r in self.rows
        ]
        forward, backward = sum(r.forward for r in self.rows), sum(r.backward for r in self.rows)
        times = (_milliseconds(forward), _milliseconds(backward), "100%")
        return [header, *body, ("total", "", *times, format_bytes(self.kept), "", "", "", "")]

    def _below(self) -> list[str]:
        rates = (
            f"{self.machine.flops / 1e9:,.0f} GFLOP/s in matrix products, {self.machine.bandwidth / 1e9:,.1f} GB/s in copies"
        )
        lines = [f"A step of fit takes {_milliseconds(self.step)}. This machine: {rates}."]
        return [*lines, *(f"Try: {hint}" for hint in self.hints)]

    def __str__(self) -> str:
        """Return the table as text."""
        header, *body, total = self._cells()
        widths = [max(len(row[i]) for row in [header, *body, total]) for i in range(len(header))]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))

        def line(cells: Sequence[str]) -> str:
            aligned = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
            return "  ".join(aligned).rstrip()

        return "\n".join([self.title, line(header), rule, *map(line, body), rule, line(total), *self._below()])

    def to_markdown(self) -> str:
        """Return the table in Markdown."""
        header, *body = self._cells()
        rows = [header, ("---", "---", *["---:"] * (len(header) - 2)), *body]
        return "\n".join([*(f"| {' | '.join(cells)} |" for cells in rows), "", *(f"- {text}" for text in self._below())])

    def __repr__(self) -> str:
        """Return one line: a shell shows it after the table itself was printed."""
        return f"<Profile: {len(self.rows)} rows, {_milliseconds(self.step)} a step>"


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"
