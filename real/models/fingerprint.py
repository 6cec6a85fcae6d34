"""Which weights a model has: what tells two checkpoints apart that lie in folders of one name."""

import json
from hashlib import sha256

import torch
from torch import nn

DIGITS = 16
NO_LAW = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures", "use_cache"}
"""Settings of a configuration on which no law depends."""


def fingerprint(model: nn.Module) -> str:
    """The first ``DIGITS`` hexadecimal digits of sha256 over the configuration and all weights: names, shapes, values.

    Values are taken as bfloat16 holds them, so that a checkpoint is itself in whatever dtype it is served (float16
    apart, which rounds before). Reads every weight once: a second or two for a billion of them on a CPU.
    """
    config = {name: value for name, value in model.config.to_dict().items() if name not in NO_LAW}  # pyright: ignore
    found = sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, weight in sorted(model.state_dict().items()):
        values = weight.bfloat16() if weight.is_floating_point() else weight
        found.update(f"{name} {tuple(weight.shape)} ".encode())
        found.update(values.contiguous().flatten().view(torch.uint8).cpu().numpy())
    return found.hexdigest()[:DIGITS]
