"""Systems served side by side on one stream, each learning as it goes: a contest that can be interrupted.

An interrupted one goes on from its last checkpoint; a finished one is skipped.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from real.measure.contenders import Online, Twin, warm_up_online, why_unfollowed
from real.measure.contest import contest
from real.measure.in_turn import InTurn, askable
from real.measure.low_noise import EXPECTED, expected, without
from real.models.state import Named, load, save, under
from real.serving.certify import Certifier, certifiable, certificates
from real.serving.decoder import Decoder
from real.serving.feedback import NonFiniteGradient, Updated, hint_gain
from real.serving.lawful import serving_request
from real.serving.learn import Learning
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.systems.rows import Method
from real.systems.saved import weights
from real.traffic.streams import Stream
from real.traffic.turns import Turn
from theory.runs.files import owned
from theory.runs.trace import SettingsDiffer, Trace, done, plain, provenance, significant

CHECKPOINT = "checkpoint.safetensors"
CERTIFIED = "certified-{}.safetensors"  # what certificates need of the rounds between two checkpoints
CHECKPOINT_EVERY = 8  # prompts
DIGITS = 9  # kept of what was measured: a clock's nanosecond

Progress = Callable[[int, int], None]
"""(requests done, requests in all)."""


class Comparison:
    """One stream, one seed, several methods. Every turn of a prompt is a request; ``left_out`` are those not asked.

    Args:
        models: what decodes. methods: by name. stream: what is served. seed: of every method's own randomness.
        serving: of all methods, or of each by name.
        certify: keep what certificates need of every run that the theorem covers; memory grows with the rounds.
        low_noise: let all that can follow the first method's texts too, for the low-noise net; ``unfollowed`` says why
            the others cannot. It takes a second decoder a method, whose time counts for nothing.
    """

    def __init__(
        self,
        models: Models,
        methods: dict[str, Method],
        stream: Stream,
        serving: Serving | Mapping[str, Serving],
        seed: int = 0,
        certify: bool = False,
        low_noise: bool = False,
    ):
        self.models, self.methods, self.stream, self.seed = models, methods, stream, seed
        self.servings = serving_of_each(serving, methods)
        self.turns, self.left_out = stream.turns, list[str]()
        self.asked = models.encoded(stream.prompts)  # one that cannot be served costs no measurement
        self.contenders = {name: Online(models, row, self.servings[name], seed) for name, row in methods.items()}
        self.in_turn = {name: InTurn(one, models.pair, models.chat) for name, one in self.contenders.items()}
        self.certifiers: dict[str, Certifier] = {}
        for name, decoder in self.decoders.items():
            if certify and decoder.learning is not None and certifiable(decoder.learning):
                self.certifiers[name] = Certifier(decoder.learning.learner)
                decoder.learning.on_round = partial(self._certify, name)
        found = {name: why_unfollowed(decoder) for name, decoder in self.decoders.items() if low_noise}
        self.unfollowed = {name: why for name, why in found.items() if why}
        self.followers = {
            name: Twin(models, methods[name], self.servings[name], seed) for name, why in found.items() if not why
        }
        self.rows: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
        self._kept = 0  # files of what certificates need
        self.provenance = provenance(device_name(models.device))  # the code that runs, not what it became meanwhile

    @property
    def decoders(self) -> dict[str, Decoder]:
        """What serves, by method."""
        return {name: contender.decoder for name, contender in self.contenders.items()}

    @property
    def several(self) -> bool:
        """Whether the requests are of several tenants."""
        return len({prompt.tenant for prompt in self.stream.prompts}) > 1

    @property
    def served(self) -> int:
        """Requests done, by those that serve and by those that follow."""
        served = min(len(rows) for rows in self.rows.values())
        return min([served, *(sum(EXPECTED in row for row in self.rows[name]) for name in self.followers)])

    def turn(self, served: int) -> Turn:
        """The turn that was served as so manieth, from 0."""
        row = next(iter(self.rows.values()))[served]
        place = row["prompt"], row.get("turn", 1)
        return next(turn for turn in self.turns if (turn.place, turn.number) == place)

    def warm_up(self) -> None:
        """Decode a round with throw-away decoders, so that no method pays for first calls."""
        prompt = self.turns[0].ids(self.models.pair, self.models.chat)
        for name, serving in self.servings.items():
            warm_up_online(self.models, {name: self.methods[name]}, serving, prompt)

    def run(self, progress: Progress = lambda done, total: None, after: Callable[[], None] = lambda: None) -> None:
        """Serve what is left of the stream; ``after`` is called when a request is done by every method."""
        total, done = len(self.turns), self.turn(self.served - 1).at + 1 if self.served else 0

        def told(served: int) -> None:
            self._follow(served - 1)
            after()
            progress(self.turn(served - 1).at + 1, total)

        contest(self.in_turn, askable(self.in_turn, self.turns[done:], self.left_out), self.rows, told)

    def _certify(self, name: str, updates: Sequence[Updated]) -> None:
        certifier, decoder = self.certifiers[name], self.decoders[name]
        if not certifier.rounds:
            certifier.begins(decoder.tenant or "", self._learning(name).drafter)
        certifier.note(updates)

    def _follow(self, i: int) -> None:
        """Everybody reads the text that the first method has just committed."""
        if self.followers:
            first = next(iter(self.in_turn.values()))
            for name, follower in list(self.followers.items()):
                turn = self.turn(i)
                follower.decoder.turn_to(turn.prompt.tenant)
                try:
                    with serving_request(turn.at + 1):
                        self.rows[name][i] |= expected(follower, first.asked, first.contender.text)
                except NonFiniteGradient as error:  # serving goes on
                    del self.followers[name]
                    self.unfollowed[name] = str(error)
                    self.rows[name] = [without(row) for row in self.rows[name]]

    def turn_to(self, tenant: str) -> None:
        """Every decoder serves this tenant next."""
        for decoder in self._all().values():
            decoder.turn_to(tenant)

    def restore(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Let a method go on from a state that one of its decoders saved, for the tenant that it serves next."""
        self.decoders[name].restore(tensors)
        if name in self.followers:
            self.followers[name].decoder.restore(tensors)

    def save_checkpoint(self, folder: Path, settings: dict[str, Any], about: Any = None) -> None:
        """Write every decoder's state and the rows so far, atomically, next to the results; ``about`` is kept besides.

        What certificates need is added in a file of its own, for it grows with the rounds.
        """
        rounds = _named({name: certifier.state() for name, certifier in self.certifiers.items()})
        if rounds:
            save(folder / CERTIFIED.format(self._kept), rounds, {})
            self._kept += 1
        facts = {"rows": self.rows, "settings": settings, "unfollowed": self.unfollowed, "about": about}
        facts |= {"answers": {name: one.answers for name, one in self.in_turn.items()}, "left_out": self.left_out}
        facts |= {"certified": self._kept, "certifiers": list(self.certifiers)}
        facts |= {"weights": self._weights}
        facts["certified_of"] = {name: certifier.tenant for name, certifier in self.certifiers.items()}
        facts["tenants"] = {name: decoder.tenants for name, decoder in self._all().items()}
        tensors = _named({name: _of_all_tenants(decoder) for name, decoder in self._all().items()})
        save(folder / CHECKPOINT, tensors, {name: json.dumps(fact) for name, fact in facts.items()})

    def load_checkpoint(self, folder: Path, settings: dict[str, Any]) -> Any:
        """Go on from a checkpoint, if there is one → what was kept ``about`` it; and be ready to save others.

        Raises:
            SettingsDiffer: if it belongs to a run with other settings or other weights.
        """
        for name, certifier in self.certifiers.items():
            self._learning(name).record = certifier.see
        path = folder / CHECKPOINT
        if not path.exists():
            return None
        tensors, texts = load(path)
        facts = {name: json.loads(text) for name, text in texts.items()}
        if facts["settings"] != settings:
            raise SettingsDiffer(f"{path} belongs to a run with other settings; choose another folder, or remove it")
        if facts.get("weights") != self._weights:
            raise SettingsDiffer(f"{path} belongs to a run of other weights; choose another folder, or remove it")
        self.unfollowed = facts["unfollowed"]
        self.followers = {name: twin for name, twin in self.followers.items() if name not in self.unfollowed}
        self.certifiers = {name: one for name, one in self.certifiers.items() if name in facts["certifiers"]}
        self._kept = facts["certified"]
        for name, certifier in self.certifiers.items():
            certifier.tenant = facts["certified_of"][name]
        for number in range(self._kept):  # first, for it takes the drafters; every tenant's memory comes after
            rounds, _ = load(folder / CERTIFIED.format(number))
            for name, certifier in self.certifiers.items():
                certifier.restore(under(f"{name}/", rounds), self._learning(name))
        for name, decoder in self._all().items():
            for i, tenant in enumerate(facts["tenants"][name]):
                decoder.turn_to(tenant)
                decoder.restore(under(f"{name}/{i}/", tensors))
        self.rows, self.left_out = facts["rows"], facts["left_out"]
        for name, answers in facts["answers"].items():
            self.in_turn[name].answers = answers
        return facts["about"]

    def _learning(self, name: str) -> Learning:
        learning = self.decoders[name].learning
        assert learning is not None
        return learning

    @property
    def _weights(self) -> dict[str, dict[str, str]]:
        """Which models each method decodes with."""
        return {name: weights(decoder.pair) for name, decoder in self.decoders.items()}

    def _all(self) -> dict[str, Decoder]:
        """What serves and what follows."""
        return self.decoders | {f"{name}, following": twin.decoder for name, twin in self.followers.items()}

    def trace(self, name: str, settings: dict[str, Any]) -> Trace:
        """The method's result: one row a request, and in the header what made it.

        The header's rounds are those of all tenants that are remembered, one after the other.
        """
        columns = {key: np.array([row[key] for row in self.rows[name]]) for key in self.rows[name][0]}
        decoder = self.decoders[name]
        logs = {tenant: log for tenant, log in zip(decoder.tenants, decoder.logs, strict=False) if log.rounds}
        rounds = [asdict(entry) for log in logs.values() for entry in log.lines]
        entries = rounds[0] if rounds else ()
        header = {
            "settings": settings,
            "method": name,
            "learner": plain(self.methods[name].learner),
            "segments": list(self.stream.names),
            "hint_gain": hint_gain(list(logs.values())) if rounds else None,
            "rounds": {key: significant(np.array([entry[key] for entry in rounds]), DIGITS) for key in entries},
            "provenance": self.provenance,
        }
        if len(logs) > 1:
            header["rounds_of_tenants"] = {tenant: log.rounds for tenant, log in logs.items()}
        certifier = self.certifiers.get(name)
        if certifier is not None and certifier.rounds:
            found = certificates(certifier.log())
            header["certificate"] = {comparator: one._asdict() for comparator, one in found.items()}
            if self.several:
                header["certificate_of_tenant"] = certifier.tenant
        return Trace(header, columns).rounded(DIGITS)


def _of_all_tenants(decoder: Decoder) -> Named:
    """The states of all tenants, under their places; each has its turn, and the order is what it was."""
    found = {}
    for i, tenant in enumerate(decoder.tenants):
        decoder.turn_to(tenant)
        found |= {f"{i}/{key}": part for key, part in decoder.state().items()}
    return found


def _named(parts: dict[str, Named]) -> Named:
    """The tensors of all parts, each under its part's name."""
    return {f"{name}/{key}": tensor for name, part in parts.items() for key, tensor in part.items()}


def drop_checkpoint(folder: Path) -> None:
    """Remove it, once all is written that it could be needed for."""
    for path in (folder / CHECKPOINT, *folder.glob(CERTIFIED.format("*"))):
        path.unlink(missing_ok=True)


def device_name(device: str) -> str:
    """The GPU's name, or ``cpu`` with the number of threads."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name()
    return f"cpu, {torch.get_num_threads()} thread"


def serving_of_each(serving: Serving | Mapping[str, Serving], methods: Iterable[str]) -> dict[str, Serving]:
    """The serving of every method, given as one for all or by name."""
    return {name: serving if isinstance(serving, Serving) else serving[name] for name in methods}


def settings_of(models: Models, method: Method, schedule: str, serving: Serving, seed: int) -> dict[str, Any]:
    """What identifies one method's run: made again with the same settings, it is skipped as done."""
    flat = plain(serving) | {"schedule": schedule, "seed": seed, "dtype": models.dtype}
    for name in ("lower_costs", "way_costs"):
        if not flat[name]:
            del flat[name]  # results of before say nothing of them
    return flat | {"models": models.names, "method": plain(method)}


def run_block(
    models: Models,
    methods: dict[str, Method],
    schedule: str,
    stream: Stream,
    serving: Serving | Mapping[str, Serving],
    seed: int,
    folder: Path,
    progress: Progress,
    certify: bool = False,
) -> bool:
    """One stream and seed into ``folder/<method>``; True if it had to be run.

    Raises:
        SettingsDiffer: if a result made with other settings is there; nothing is overwritten.
        Owned: if another process is serving it.
    """
    with owned(folder):
        each = serving_of_each(serving, methods)
        settings = {name: settings_of(models, row, schedule, each[name], seed) for name, row in methods.items()}
        there = [done(folder / name, settings[name]) for name in methods]
        if all(there):
            drop_checkpoint(folder)
            return False
        lacking = [name for name in methods if not (folder / f"{name}.json").exists()]
        if any(there) and lacking and not (folder / CHECKPOINT).exists():
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
        drop_checkpoint(folder)
        return True
