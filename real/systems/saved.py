"""The file in which a learner's state is kept between runs, and what it belongs to."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from real.models.hf import Pair
from real.models.state import load, save
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.systems.rows import Method
from theory.runs.trace import plain
from theory.runs.users_file import source


def about(models: Models, method: Method, serving: Serving) -> dict[str, str]:
    """What a learner's state belongs to; costs are measured anew, and no part of what was learned."""
    served = plain(replace(serving, costs=(), switch_cost=0.0, lower_costs=(), way_costs=()))
    del served["lower_costs"], served["way_costs"]  # older states say nothing of them
    named = {"target": models.names["target"], "draft_model": models.names[method.draft], **plain(method)}
    named |= {f"serving.{name}": value for name, value in served.items()}
    named |= source(method.drafter, "drafter") | source(method.loss, "loss")
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in named.items()}


def of_tenant(about: dict[str, str], tenant: str) -> dict[str, str]:
    """The same, and whose it is; the default tenant's says nothing of that."""
    return about | ({"tenant": tenant} if tenant else {})


def weights(pair: Pair) -> dict[str, str]:
    """Which weights the models have: a state fits no others, whatever their folders are called."""
    models = {"target": pair.target, "draft": pair.draft}
    return {f"{name}_weights": model.fingerprint for name, model in models.items() if model is not None}


class State:
    """A file in which a state is kept between runs.

    Args:
        path: the safetensors file. about: what must be the same for a state to be taken up (``about``).
        take: takes the tensors up, between requests. give: what is to be kept, between requests.
        pair: whose weights must be the same too. They are read when the file is first looked for or written.
    """

    def __init__(
        self,
        path: Path,
        about: dict[str, str],
        take: Callable[[dict[str, Tensor]], Any],
        give: Callable[[], dict[str, Tensor]],
        pair: Pair,
    ):
        self.path, self.about, self.take, self.give, self.pair = path, about, take, give, pair

    @property
    def belongs(self) -> dict[str, str]:
        """What the file says of itself."""
        return self.about | weights(self.pair)

    def restore(self) -> None:
        """Go on from the file, if it is there.

        Raises:
            ValueError: if it was saved by another learner or other models, or does not say which weights they had.
        """
        if not self.path.exists():
            return
        (tensors, theirs), here = load(self.path), self.belongs
        if theirs != here:
            keys = {**theirs, **here}
            both = {key: (theirs.get(key), here.get(key)) for key in keys if theirs.get(key) != here.get(key)}
            raise ValueError(f"{self.path}: saved with other settings (there, here): {both}; use another file")
        self.take(tensors)

    def ahead(self) -> bool:
        """Whether the file holds what is not to be kept now: as many requests or more, and another state."""
        theirs, ours = load(self.path)[0], self.give()
        same = theirs.keys() == ours.keys() and all(torch.equal(theirs[key], ours[key].cpu()) for key in ours)
        return not same and int(theirs["entered"]) >= int(ours["entered"])

    def keep(self) -> None:
        """Write the file."""
        save(self.path, self.give(), self.belongs)
