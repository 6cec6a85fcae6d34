"""Between host and device: what is sent without waiting, and the one place that waits.

A step (``real/serving/step.py``) reads its outcome back once; anything else that waited
would leave the device idle. N-grams, looked up on the host, wait for every token that they draft. What measures, the
ledger above all, waits as well: a clock has to.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def sent(values: Tensor | Sequence, device: torch.device) -> Tensor:
    """A tensor made on the host, on ``device``; a GPU fetches it when it gets there, and the host goes on."""
    made = values if isinstance(values, Tensor) else torch.tensor(values)
    return made.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else made.to(device)


def drain(device: torch.device | str) -> None:
    """Wait until a GPU has done all that this thread's stream asked of it; a CPU has already."""
    if torch.device(device).type == "cuda":
        torch.cuda.current_stream(device).synchronize()
