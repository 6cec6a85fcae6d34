"""The file in which a learner's state is kept between runs, and what it belongs to."""

import json
from dataclasses import replace
from pathlib import Path

from real.measure.served import Comparison
from real.models.state import load, save
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.systems.rows import Method
from theory.runs.trace import plain
from theory.runs.users_file import source


def about(models: Models, method: Method, serving: Serving) -> dict[str, str]:
    """What a learner's state belongs to; costs are measured anew, and no part of what was learned."""
    served = plain(replace(serving, costs=(), switch_cost=0.0))
    named = {"target": models.names["target"], "draft_model": models.names[method.draft], **plain(method)}
    named |= {f"serving.{name}": value for name, value in served.items()}
    named |= source(method.drafter or "", "drafter") | source(method.loss, "loss")
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in named.items()}


class State:
    """The state of one method of a comparison in a file.

    Args:
        about: what must be the same for a state to be taken up.
    """

    def __init__(self, path: Path, comparison: Comparison, name: str, about: dict[str, str]):
        self.path, self.comparison, self.name, self.about = path, comparison, name, about

    def restore(self) -> None:
        """Go on from the file, if it is there.

        Raises:
            ValueError: if it was saved by another learner or other models.
        """
        if not self.path.exists():
            return
        tensors, theirs = load(self.path)
        if theirs != self.about:
            both = {key: (theirs.get(key), value) for key, value in self.about.items() if theirs.get(key) != value}
            raise ValueError(f"--state {self.path}: saved with other settings (there, here): {both}; use another file")
        self.comparison.restore(self.name, tensors)

    def keep(self) -> None:
        """Write the file; the decoder is between requests."""
        save(self.path, self.comparison.decoders[self.name].state(), self.about)
