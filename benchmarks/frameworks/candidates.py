"""Who is measured: frameworks, their variants and precisions, and the environment that each runs in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from frameworks.networks import Network

__all__ = ["FRAMEWORKS", "OURS", "Candidate", "Framework", "first_epochs", "predictors", "reduced", "spinning", "steps"]

OURS = "laminar"
FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent


@dataclass(frozen=True)
class Framework:
    """One framework.

    Attributes:
        title: what the table says.
        module: what its process runs.
        home: the environment in `.venv-bench`; "" for the one that this command runs in.
        backend: of Keras; "" elsewhere.
    """

    title: str
    module: str
    home: str = ""
    backend: str = ""


FRAMEWORKS: dict[str, Framework] = {
    OURS: Framework("Laminar", "frameworks.run_laminar"),
    "torch": Framework("PyTorch by hand", "frameworks.run_torch"),
    "lightning": Framework("Lightning", "frameworks.run_lightning", "torch"),
    "skorch": Framework("skorch", "frameworks.run_skorch", "torch"),
    "keras-tensorflow": Framework("Keras on TensorFlow", "frameworks.run_keras", "tensorflow", "tensorflow"),
    "keras-jax": Framework("Keras on JAX", "frameworks.run_keras", "jax", "jax"),
    "keras-torch": Framework("Keras on PyTorch", "frameworks.run_keras", "torch", "torch"),
}
"""Key -> framework, in the order of the table's columns."""


@dataclass(frozen=True)
class Candidate:
    """What is measured in a process of its own: a framework, in one of its variants, at one precision."""

    framework: str
    variant: str = ""
    precision: str = "float32"

    @property
    def title(self) -> str:
        """What a report says."""
        details = ", ".join(filter(None, [self.variant.replace("_", " ").replace("+", ", "), self.precision]))
        return f"{FRAMEWORKS[self.framework].title} ({details})"


_PEERS = ("lightning", "skorch", "keras-tensorflow", "keras-jax")


def _has_images(network: Network) -> bool:
    return len(network.shape) == 3


def _by_hand(network: Network, *, loader: bool = True) -> list[str]:
    """Return the variants of the loop by hand; a compiled network chooses its layouts itself."""
    layouts = ["index", "index+channels_last"] if _has_images(network) else ["index"]
    return [*(["loader"] if loader else []), *layouts, "index+compiled"]


def _keras_torch(network: Network) -> Candidate:
    """Return Keras on PyTorch with the format of images that PyTorch's convolutions are made for."""
    return Candidate("keras-torch", "channels_first" if _has_images(network) else "")


def steps(network: Network) -> list[Candidate]:
    """Return everybody at float32."""
    by_hand = [Candidate("torch", variant) for variant in _by_hand(network)]
    return [Candidate(OURS), *by_hand, *map(Candidate, _PEERS), _keras_torch(network)]


def spinning(best: Candidate) -> Candidate:
    """Return a candidate on torch with threads that spin while they wait, as torch comes."""
    return replace(best, variant="+".join(filter(None, [best.variant, "spinning"])))


def reduced(network: Network) -> list[Candidate]:
    """Return everybody who has a reduced precision; "auto" is Laminar's own choice."""
    layout = "index+channels_last" if _has_images(network) else "index"
    by_hand = [layout, "index+compiled"] if "best" in network.goals else [layout]
    peers = [*(Candidate("torch", variant) for variant in by_hand), *map(Candidate, _PEERS), _keras_torch(network)]
    ours = [Candidate(OURS, "", precision) for precision in ("bfloat16", "auto")]
    return [*ours, *(replace(peer, precision="bfloat16") for peer in peers if peer.framework != "skorch")]


def predictors(network: Network) -> list[Candidate]:
    """Return everybody for a network that is not trained here."""
    by_hand = [Candidate("torch", variant) for variant in _by_hand(network, loader=False)]
    return [Candidate(OURS), *by_hand, *map(Candidate, _PEERS), _keras_torch(network)]


def first_epochs(network: Network) -> list[Candidate]:
    """Return who is timed from a cold start; compiling by torch.compile takes longer than it saves in an epoch."""
    ours = [Candidate(OURS), Candidate(OURS, "first ever")] if network.name == "digits" else [Candidate(OURS)]
    return [*ours, Candidate("torch", "index"), *map(Candidate, _PEERS), _keras_torch(network)]
