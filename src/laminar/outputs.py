"""What each layer of a network returns for given observations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from laminar.errors import LayerError, complaint
from laminar.names import unknown_name

__all__ = ["layer_outputs"]


def layer_outputs(model: nn.Module, x: Any, *paths: str) -> dict[str, Any]:
    """Return what layers return when the network is run on `x` in inference mode, without gradients.

    Args:
        model: any network; its mode is put back.
        x: a tensor or array (B, ...), or a tuple of them for several inputs; brought to the network's device.
        *paths: which layers, as `model.summary()` names them; without them every layer that holds no other.

    Returns:
        path -> output, detached, in the order of the calls; that of its last call for a layer that is called several times.

    Raises:
        UnknownNameError: on a path that is not one of the network.
        LayerError: if a layer asked for was not called.

    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    >>> {path: tuple(z.shape) for path, z in layer_outputs(model, torch.zeros(2, 3)).items()}
    {'0': (2, 4), '1': (2, 4)}
    """
    modules = {name.replace(".", "/"): sub for name, sub in model.named_modules() if name}
    for path in paths:
        if path not in modules:
            raise unknown_name("layer_outputs: layer", path, modules)
    wanted = paths or tuple(path for path, sub in modules.items() if next(sub.children(), None) is None)
    found: dict[str, Any] = {}

    def keep(path: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            found.pop(path, None)
            found[path] = torch.utils._pytree.tree_map_only(Tensor, Tensor.detach, output)

        return hook

    device = next((p.device for p in model.parameters()), None)
    modes = [(sub, sub.training) for sub in model.modules()]
    handles = [modules[path].register_forward_hook(keep(path)) for path in wanted]
    try:
        with torch.no_grad():
            model.eval()(*(torch.as_tensor(part, device=device) for part in (x if isinstance(x, tuple) else (x,))))
    finally:
        for handle in handles:
            handle.remove()
        for sub, mode in modes:
            sub.training = mode
    missing = [path for path in paths if path not in found]
    if missing:
        raise LayerError(
            complaint(
                f"layer {missing[0]!r}",
                expected="a call in the network's forward",
                received="none",
                fix=f"Ask for one of {', '.join(found) or 'those that are called'}",
            )
        )
    return found
