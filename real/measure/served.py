"""Systems served side by side on one stream, each learning as it goes: a contest that can be interrupted.

An interrupted one goes on from its last checkpoint; a finished one is skipped.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from real.measure.contenders import Asked, Online, Twin, asked_of, warm_up_online, why_unfollowed
from real.measure.contest import contest
from real.measure.low_noise import EXPECTED, expected, without
from real.models.state import load, save, under
from real.serving.certify import Certifier, certifiable, certificates
from real.serving.decoder import Decoder
from real.serving.feedback import NonFiniteGradient
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.systems.rows import Method
from real.traffic.streams import Stream
from theory.runs.trace import SettingsDiffer, Trace, done, plain, provenance, significant

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_EVERY = 8  # prompts
DIGITS = 9  # kept of what was measured: a clock's nanosecond

Progress = Callable[[int, int], None]
"""(prompts done, prompts in all)."""


class Comparison:
    """One stream, one seed, several methods.

    Args:
        models: what decodes. methods: by name. stream: what is served. seed: of every method's own randomness.
        certify: keep what certificates need of every run that the theorem covers; memory grows with the rounds.
        low_noise: let all that can follow the first method's texts too, for the low-noise net; ``unfollowed`` says why
            the others cannot. It takes a second decoder a method, whose time counts for nothing.
    """

    def __init__(
        self,
        models: Models,
        methods: dict[str, Method],
        stream: Stream,
        serving: Serving,
        seed: int = 0,
        certify: bool = False,
        low_noise: bool = False,
    ):
        self.models, self.methods, self.stream, self.serving, self.seed = models, methods, stream, serving, seed
        self.asked = models.encoded(stream.prompts)  # one that cannot be served costs no measurement
        self.contenders = {name: Online(models, method, serving, seed) for name, method in methods.items()}
        self.certifiers: dict[str, Certifier] = {}
        for name, decoder in self.decoders.items():
            if certify and decoder.learning is not None and certifiable(decoder.learning):
                self.certifiers[name] = Certifier(decoder.learning.learner)
                decoder.learning.on_round = self.certifiers[name].note
        found = {name: why_unfollowed(decoder) for name, decoder in self.decoders.items() if low_noise}
        self.unfollowed = {name: why for name, why in found.items() if why}
        self.followers = {name: Twin(models, methods[name], serving, seed) for name, why in found.items() if not why}
        self.rows: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
        self.provenance = provenance(device_name(models.device))  # the code that runs, not what it became meanwhile

    @property
    def decoders(self) -> dict[str, Decoder]:
        """What serves, by method."""
        return {name: contender.decoder for name, contender in self.contenders.items()}

    @property
    def served(self) -> int:
        """Prompts done, by those that serve and by those that follow."""
        served = min(len(rows) for rows in self.rows.values())
        return min([served, *(sum(EXPECTED in row for row in self.rows[name]) for name in self.followers)])

    def warm_up(self) -> None:
        """Decode a round with throw-away decoders, so that no method pays for first calls."""
        warm_up_online(self.models, self.methods, self.serving, self._request(0))

    def run(self, progress: Progress = lambda done, total: None, after: Callable[[], None] = lambda: None) -> None:
        """Serve what is left of the stream; ``after`` is called when a prompt is done by every method."""
        total = len(self.stream.prompts)

        def told(served: int) -> None:
            self._follow(served - 1)
            after()
            progress(served, total)

        contest(self.contenders, (self._request(i) for i in range(self.served, total)), self.rows, told)

    def _follow(self, i: int) -> None:
        """Everybody reads the text that the first method has just committed."""
        if self.followers:
            prompt, text = self._request(i).prompt, next(iter(self.contenders.values())).text
            for name, follower in list(self.followers.items()):
                try:
                    self.rows[name][i] |= expected(follower, prompt, text)
                except NonFiniteGradient as error:  # serving goes on
                    del self.followers[name]
                    self.unfollowed[name] = str(error)
                    self.rows[name] = [without(row) for row in self.rows[name]]

    def _request(self, i: int) -> Asked:
        return asked_of(self.models, self.stream, i)

    def restore(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Let a method go on from a state that one of its decoders saved."""
        self.decoders[name].restore(tensors)
        if name in self.followers:
            self.followers[name].decoder.restore(tensors)

    def save_checkpoint(self, folder: Path, settings: dict[str, Any]) -> None:
        """Write every decoder's state and the rows so far, atomically, next to the results."""
        tensors = {f"{name}/{key}": value for name, dec in self._all().items() for key, value in dec.state().items()}
        save(folder / CHECKPOINT, tensors, {"rows": json.dumps(self.rows), "settings": json.dumps(settings)})

    def load_checkpoint(self, folder: Path, settings: dict[str, Any]) -> None:
        """Go on from a checkpoint, if there is one.

        Raises:
            SettingsDiffer: if it belongs to a run with other settings.
        """
        path = folder / CHECKPOINT
        if not path.exists():
            return
        tensors, metadata = load(path)
        if json.loads(metadata["settings"]) != settings:
            raise SettingsDiffer(f"{path} belongs to a run with other settings; choose another folder, or remove it")
        for name, decoder in self._all().items():
            decoder.restore(under(f"{name}/", tensors))
            self.certifiers.pop(name, None)  # it has not seen the rounds before the interruption
        self.rows = json.loads(metadata["rows"])

    def _all(self) -> dict[str, Decoder]:
        """What serves and what follows."""
        return self.decoders | {f"{name}, following": twin.decoder for name, twin in self.followers.items()}

    def trace(self, name: str, settings: dict[str, Any]) -> Trace:
        """The method's result: one row a prompt, and in the header what made it."""
        columns = {key: np.array([row[key] for row in self.rows[name]]) for key in self.rows[name][0]}
        learning = self.decoders[name].learning
        rounds = [] if learning is None else [asdict(entry) for entry in learning.log]
        entries = rounds[0] if rounds else ()
        header = {
            "settings": settings,
            "method": name,
            "learner": plain(self.methods[name].learner),
            "segments": list(self.stream.names),
            "hint_gain": learning.hint_gain if learning is not None and learning.log else None,
            "rounds": {key: significant(np.array([entry[key] for entry in rounds]), DIGITS) for key in entries},
            "provenance": self.provenance,
        }
        certifier = self.certifiers.get(name)
        if certifier is not None and certifier.rounds:
            found = certificates(certifier.log())
            header["certificate"] = {comparator: one._asdict() for comparator, one in found.items()}
        return Trace(header, columns).rounded(DIGITS)


def device_name(device: str) -> str:
    """The GPU's name, or ``cpu`` with the number of threads."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name()
    return f"cpu, {torch.get_num_threads()} thread"


def settings_of(models: Models, method: Method, schedule: str, serving: Serving, seed: int) -> dict[str, Any]:
    """What identifies one method's run: made again with the same settings, it is skipped as done."""
    flat = plain(serving) | {"schedule": schedule, "seed": seed, "dtype": models.dtype}
    return flat | {"models": models.names, "method": plain(method)}


def run_block(
    models: Models,
    methods: dict[str, Method],
    schedule: str,
    stream: Stream,
    serving: Serving,
    seed: int,
    folder: Path,
    progress: Progress,
    certify: bool = False,
) -> bool:
    """One stream and seed into ``folder/<method>``; True if it had to be run.

    Raises:
        SettingsDiffer: if a result made with other settings is there; nothing is overwritten.
    """
    settings = {name: settings_of(models, method, schedule, serving, seed) for name, method in methods.items()}
    there = [done(folder / name, settings[name]) for name in methods]
    if all(there):
        return False
    if any(there) and not (folder / CHECKPOINT).exists():
        lacking = [name for name, present in zip(methods, there, strict=True) if not present]
        raise SettingsDiffer(
            f"{folder} holds results of other methods, and none of {', '.join(lacking)}; methods are only compared "
            "side by side, so all would be run again; nothing was overwritten. Choose another folder, or remove it"
        )
    comparison = Comparison(models, methods, stream, serving, seed, certify)
    comparison.load_checkpoint(folder, settings)
    comparison.warm_up()

    def checkpoint() -> None:
        if comparison.served % CHECKPOINT_EVERY == 0:
            comparison.save_checkpoint(folder, settings)

    comparison.run(progress, checkpoint)
    comparison.save_checkpoint(folder, settings)  # a full disk between two results loses nothing
    for name in methods:
        comparison.trace(name, settings[name]).save(folder / name)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return True
