"""What a run leaves in a folder: per-prompt traces that figures read, the texts, acceptance by position.

OUT/real/run/<seed>/<method>.csv, .json    as the experiments in results/real: `python -m figures speed OUT`
OUT/real/run/<seed>/texts.jsonl            a line a request and method; for the user's eyes alone (mode 0600)
OUT/real/run/<seed>/run.json               every number of the table with its interval; acceptance by position

While requests are served a checkpoint lies there too: the same command goes on from it if the run was interrupted.
"""

import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from real.cli.run import Measured
from real.measure.positions import Positions
from real.measure.served import CHECKPOINT, Comparison, drop_checkpoint, settings_of
from real.serving.step import Step
from theory.runs.files import for_user, write_whole
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
    """Where a run under this seed is kept."""
    return out / "real" / STREAM / str(seed)


def check_free(out: Path, seed: int) -> None:
    """ValueError if a run under this seed is there that has ended; one that was interrupted goes on."""
    folder = folder_of(out, seed)
    if not (folder / CHECKPOINT).exists() and folder.exists() and any(folder.iterdir()):
        raise ValueError(
            f"--out {out}: holds a run under seed {seed} already; nothing was overwritten. Choose another folder, or "
            "another --seed to show both as one stream"
        )


class Kept:
    """The folder of one run, which this process owns (``theory/runs/files.py``).

    Args:
        out: where it is to be. prompts: as they were given. every: requests between checkpoints.
        comparison: the run, before it begins. It goes on from the folder's checkpoint, if there is one.

    Raises:
        ValueError: if a run under this seed is there that has ended; nothing is overwritten.
        SettingsDiffer: if one with other settings was interrupted.
    """

    def __init__(self, out: Path, comparison: Comparison, prompts: str, every: int):
        self.comparison, self.prompts, self.every = comparison, prompts, every
        self.folder = folder_of(out, comparison.seed)
        self.texts = self.folder / "texts.jsonl"
        self.watches = {name: Watch() for name in comparison.decoders}
        for name, decoder in comparison.decoders.items():
            decoder.watch = self.watches[name].note
        check_free(out, comparison.seed)
        self.resumed = (self.folder / CHECKPOINT).exists()
        self.settings = self._settings()
        for name, (examined, accepted) in (comparison.load_checkpoint(self.folder, self.settings) or {}).items():
            self.watches[name].positions = Positions(examined, accepted)
        self._cut_texts()
        self._checkpoint()

    def _settings(self) -> dict[str, Any]:
        """What must be the same for a run to go on: every method's settings, the requests, what else is measured."""
        made = self.comparison
        asked = json.dumps([(prompt.given, prompt.turns, prompt.tenant) for prompt in made.stream.prompts])
        measured = {"certified": sorted(made.certifiers), "followed": sorted(made.followers)}
        return {"methods": self._of_methods(), "requests": sha256(asked.encode()).hexdigest(), **measured}

    def _of_methods(self) -> dict[str, dict[str, Any]]:
        made = self.comparison
        return {
            name: settings_of(made.models, method, self.prompts, made.servings[name], made.seed)
            for name, method in made.methods.items()
        }

    def _cut_texts(self) -> None:
        """Leave the texts of the requests that the checkpoint has seen done."""
        if self.texts.exists():
            lines = self.texts.read_text("utf-8").split("\n")[: self.comparison.served * len(self.watches)]
            write_whole(self.texts, "".join(f"{line}\n" for line in lines), private=True)

    def _checkpoint(self) -> None:
        positions = {name: (one.positions.examined, one.positions.accepted) for name, one in self.watches.items()}
        self.comparison.save_checkpoint(self.folder, self.settings, positions)

    def add(self) -> None:
        """A request was done by every method: append its texts."""
        turn, tokenizer = self.comparison.turn(self.comparison.served - 1), self.comparison.models.pair.tokenizer
        place = {"prompt": turn.place, "question_id": turn.prompt.question_id, "turn": turn.number}
        with open(self.texts, "a", encoding="utf-8", opener=for_user) as file:
            for name, watch in self.watches.items():
                tokens = watch.done()
                line = {**place, "category": turn.prompt.category, "method": name}
                line |= {"tokens": len(tokens), "text": tokenizer.decode(tokens)}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if self.comparison.served % self.every == 0:
            self._checkpoint()

    def finish(self, report: Measured, whole: bool) -> None:
        """Write the traces and what sums them up; a ``whole`` run needs its checkpoint no more."""
        made = self.comparison
        for name, settings in self._of_methods().items():
            made.trace(name, settings).save(self.folder / name)
        content: dict[str, Any] = {"prompts": self.prompts, "asked": report.asked, "served": report.served}
        content |= {"left_out": report.left_out, "methods": report.methods, "learned": report.learned}
        content["acceptance_by_position"] = {
            name: watch.positions.rows() for name, watch in self.watches.items() if watch.positions.examined
        }
        save_json(self.folder / "run.json", stamped("run", content | {"provenance": made.provenance}))
        if whole:
            drop_checkpoint(self.folder)
