"""What a run leaves in a folder: per-prompt traces that figures read, the texts, acceptance by position.

OUT/real/run/<seed>/<method>.csv, .json    as the experiments in results/real: `python -m figures speed OUT`
OUT/real/run/<seed>/texts.jsonl            a line a request and method
OUT/real/run/<seed>/run.json               every number of the table with its interval; acceptance by position
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from real.cli.run import Report
from real.measure.positions import Positions
from real.measure.served import Comparison, settings_of
from real.serving.step import Step
from theory.runs.kind import stamped
from theory.runs.trace import save_json

STREAM = "run"
"""What figures call the stream."""


@dataclass
class Watch:
    """Sees one method's steps. What belongs to the request in flight is apart until it is done by all methods."""

    positions: Positions = field(default_factory=Positions)
    tokens: list[int] = field(default_factory=list)
    steps: list[tuple[int, int]] = field(default_factory=list)

    def note(self, step: Step) -> None:
        """One step of the request in flight."""
        self.tokens += step.tokens
        self.steps.append((step.accepted + step.rejected, step.accepted))

    def done(self) -> list[int]:
        """The request is done → its tokens."""
        for examined, accepted in self.steps:
            self.positions.add(examined, accepted)
        tokens, self.tokens, self.steps = self.tokens, [], []
        return tokens


def folder_of(out: Path, seed: int) -> Path:
    """Where a run under this seed is kept; ValueError if one is there, for nothing is overwritten."""
    folder = out / "real" / STREAM / str(seed)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(
            f"--out {out}: holds a run under seed {seed} already; nothing was overwritten. Choose another folder, or "
            "another --seed to show both as one stream"
        )
    return folder


class Kept:
    """The folder of one run.

    Args:
        out: where it is to be. comparison: the run, before it begins. prompts: as they were given.

    Raises:
        ValueError: if a run under this seed is there; nothing is overwritten.
    """

    def __init__(self, out: Path, comparison: Comparison, prompts: str):
        self.comparison, self.prompts = comparison, prompts
        self.folder = folder_of(out, comparison.seed)
        self.watches: dict[str, Watch] = {}
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, decoder in comparison.decoders.items():
            self.watches[name] = Watch()
            decoder.watch = self.watches[name].note

    def add(self) -> None:
        """A request was done by every method: append its texts."""
        number = self.comparison.served - 1
        prompt, tokenizer = self.comparison.stream.prompts[number], self.comparison.models.pair.tokenizer
        with (self.folder / "texts.jsonl").open("a", encoding="utf-8") as file:
            for name, watch in self.watches.items():
                tokens = watch.done()
                line = {"prompt": number, "question_id": prompt.question_id, "category": prompt.category}
                line |= {"method": name, "tokens": len(tokens), "text": tokenizer.decode(tokens)}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def finish(self, report: Report) -> None:
        """Write the traces and what sums them up."""
        made = self.comparison
        for name, method in made.methods.items():
            settings = settings_of(made.models, method, self.prompts, made.serving, made.seed)
            made.trace(name, settings).save(self.folder / name)
        content: dict[str, Any] = {"prompts": self.prompts, "asked": report.asked, "served": report.served}
        content |= {"methods": report.methods, "learned": report.learned}
        content["acceptance_by_position"] = {
            name: watch.positions.rows() for name, watch in self.watches.items() if watch.positions.examined
        }
        save_json(self.folder / "run.json", stamped("run", content | {"provenance": made.provenance}))
