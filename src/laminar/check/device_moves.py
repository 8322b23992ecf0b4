"""After .to(device) the whole layer is there, and it runs there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from laminar.check.base import Check, register
from laminar.check.blame import of_checker, own_line
from laminar.check.comparing import ROUNDING
from laminar.check.devices import DeviceError, SecondDevice, second_device
from laminar.check.differences import largest_difference
from laminar.check.outcome import Finding, failed, not_applicable, passed
from laminar.check.plain import Kept, class_tensors, kept, tensors_kept
from laminar.check.running import Gradients, gradients, output_gradients, run
from laminar.check.subject import Subject
from laminar.check.words import first_line

__all__ = ["DeviceMoves"]

_ON_A_GPU = 5e-3  # relative: its convolutions round to 10 bits
_DRAWS = frozenset({"random", "always random"})


class _CannotTell(Exception):
    """The stand-in for a second device does not know an operation."""


@dataclass(frozen=True)
class _Trouble:
    """What went wrong on the second device, and the line it came from."""

    found: str
    line: str = ""


@register
class DeviceMoves(Check):
    """After `.to(device)` everything is there, the layer runs there with the same result, and it comes back."""

    name = "device-moves"
    group = "placement"
    expects = "a layer that .to(device) moves as a whole"
    needs = ("deterministic",)

    def run(self, subject: Subject) -> Finding:
        device = second_device()
        trial = _Trial(subject, device)
        there = trial.moved()
        registered = [*there.named_parameters(), *there.named_buffers()]
        stayed = [repr(name) for name, t in registered if not device.holds(t)]
        expected = f"every tensor of the layer on {device.name} after .to(device)"
        if stayed:
            fix = "Leave to() and _apply() as nn.Module has them"
            return failed(expected=expected, found=f"{' and '.join(stayed)} still on the CPU", fix=fix)
        try:
            seen = trial.run(there)
        except _CannotTell as error:
            return not_applicable(f"cannot be told without a GPU: {error}")
        if isinstance(seen, _Trouble):
            cause, fix = trial.explained(seen)
            return failed(expected=expected, found=seen.found, cause=cause, fix=fix)
        worst = largest_difference(seen, trial.on_the_cpu)
        if worst.error > (ROUNDING if device.exact else _ON_A_GPU) and not (trial.draws and not device.exact):
            fix = "Compute the same on every device"
            return failed(expected="the same output and gradients on both devices", found=worst.text, fix=fix)
        device.move_back(there)
        try:
            run(there, subject.data())
        except Exception as error:
            paths = [k.path for k in tensors_kept(there) if device.holds(k.value)]
            found = f'{type(error).__name__} on the CPU, after .to(device), a call and .to("cpu")'
            cause = f"{' and '.join(paths)} stayed on {device.name}" if paths else ""
            fix = "Keep no tensor from call to call, or register it as a buffer"
            return failed(expected="a layer that also comes back from a device", found=found, cause=cause, fix=fix)
        acted = " (acted out on the CPU)" if device.exact else ""
        moved = f"{len(registered)} tensor{'s' * (len(registered) != 1)} moved to {device.name}{acted} and back"
        return passed(f"{moved}: {worst.sameness}")


class _Trial:
    """The layer on a second device."""

    def __init__(self, subject: Subject, device: SecondDevice) -> None:
        self._subject = subject
        self._device = device
        self.draws = bool(subject.traits & _DRAWS)

    def moved(self, extra: Sequence[str] = ()) -> nn.Module:
        """Return a copy that has run on the CPU and was moved then.

        Args:
            extra: paths of plain attributes that are moved as well, though .to(device) leaves them.
        """
        module = self._run_once()
        self._device.move(module)
        for found in self._staying(module):
            if found.path in extra:
                found.put(self._sent(found.value))
        return module

    def run(self, module: nn.Module, *, everything: bool = False) -> Gradients | _Trouble:
        """Return outputs and gradients, on the CPU, of a run on the device; or what went wrong.

        Args:
            module: on the device.
            everything: whether tensors that it makes on the CPU are to be there as well.

        Raises:
            _CannotTell: if the stand-in does not know an operation.
        """
        device = self._device
        xs, dz = [device.send(x) for x in self._subject.data()], self._output_gradients
        try:
            with device.active(everything=everything):
                seen = gradients(module, xs, dz=dz)
        except Exception as error:
            if of_checker(error):
                raise
            if device.exact and not isinstance(error, DeviceError | TypeError | ValueError):
                raise _CannotTell(first_line(error)) from error
            return _Trouble(first_line(error), own_line(error))
        if not all(map(device.holds, seen.outputs)):
            return _Trouble("the output on the CPU, for an input that is not")

        def fetched(t: Tensor | None) -> Tensor | None:
            return None if t is None else device.fetch(t)

        outputs = [device.fetch(z) for z in seen.outputs]
        return Gradients(outputs, [*map(fetched, seen.inputs)], {n: fetched(g) for n, g in seen.learnables.items()})

    @cached_property
    def on_the_cpu(self) -> Gradients:
        """What the same call gives on the CPU."""
        return gradients(self._run_once(), self._subject.data())

    @property
    def _output_gradients(self) -> list[Tensor]:
        floats = [z for z in self.on_the_cpu.outputs if z.is_floating_point()]
        return [self._device.send(dz) for dz in output_gradients(floats)]

    def explained(self, trouble: _Trouble) -> tuple[str, str]:
        """Return the cause, as far as taking it away mends the run, and what to change."""
        staying = self._staying(self.moved())
        paths = [k.path for k in staying]
        where = f" ({trouble.line})" if trouble.line else ""
        if paths and self._mended(paths):
            needed = [path for path in paths if not self._mended([p for p in paths if p != path])] or paths
            values = {k.path: k.value for k in staying}
            cause = f"{' and '.join(needed)} stayed on the CPU: moved as well, the layer runs"
            return cause, self._registering(needed[0], values[needed[0]])
        making = f"a tensor is made on the CPU during the call{where}: made on the device of x, the layer runs"
        on_x = "Make it where the input is: torch.zeros(..., device=x.device)"
        if self._mended([], everything=True):
            return making, on_x
        if paths and self._mended(paths, everything=True):
            return f"{' and '.join(paths)} stayed on the CPU, and {making}", f"Register the first. {on_x}"
        if "numpy" in trouble.found:
            return "", f"Compute with torch in place of NumPy, which knows no device{where}"
        return "", f"Keep every tensor of the call on the device of x{where}"

    def _mended(self, extra: Sequence[str], *, everything: bool = False) -> bool:
        module = self.moved(extra)
        try:
            return isinstance(self.run(module, everything=everything), Gradients)
        except _CannotTell:
            return False

    def _run_once(self) -> nn.Module:
        module = self._subject.built(training=self._device.exact or not self.draws)
        gradients(module, self._subject.data())
        return module

    def _staying(self, module: nn.Module) -> list[Kept]:
        found = [*tensors_kept(module), *class_tensors(module)]
        return [k for k in found if not self._device.holds(k.value)]

    def _sent(self, t: Tensor) -> Tensor:
        sent = self._device.send(t)
        return nn.Parameter(sent, t.requires_grad) if isinstance(t, nn.Parameter) else sent

    def _registering(self, path: str, value: Tensor) -> str:
        """Return how to make the attribute known to `.to(device)`."""
        fresh = self._subject.fresh()
        self._subject.build(fresh)
        attribute = path.split("[", maxsplit=1)[0]
        if any(isinstance(k.value, nn.Module) and path.startswith(k.path) for k in kept(fresh)):
            return f"Keep the modules of {attribute} in an nn.ModuleList or nn.ModuleDict"
        if isinstance(value, nn.Parameter):
            return f"Keep the learnables of {attribute} in an nn.ParameterList, or each in an attribute of its own"
        if path not in {k.path for k in [*tensors_kept(fresh), *class_tensors(fresh)]}:
            return f"Make {attribute} anew in each call, on the device of x"
        if attribute != path:
            return f"Register each tensor of {attribute} by itself, with self.register_buffer(name, tensor)"
        return f'Register it: self.register_buffer("{attribute.split(".")[-1]}", ...)'
