"""Which weights a model has: what tells two checkpoints apart that lie in folders of one name."""

from hashlib import sha256

import torch
from torch import nn

DIGITS = 16


def fingerprint(model: nn.Module) -> str:
    """The first ``DIGITS`` hexadecimal digits of sha256 over all weights: names, shapes and values, by name.

    Values are taken as bfloat16 holds them, so that a checkpoint is itself in whatever dtype it is served (float16
    apart, which rounds before). Reads every weight once: a second or two for a billion of them on a CPU.
    """
    found = sha256()
    for name, weight in sorted(model.state_dict().items()):
        values = weight.bfloat16() if weight.is_floating_point() else weight
        found.update(f"{name} {tuple(weight.shape)} ".encode())
        found.update(values.contiguous().flatten().view(torch.uint8).cpu().numpy())
    return found.hexdigest()[:DIGITS]
