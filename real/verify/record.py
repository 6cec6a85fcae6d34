"""A recording of one frozen run with a convex drafter, from which the simulator predicts runs never made.

The contract is stated in ``sim/environments/replay.py``: features on committed prefixes, the target's laws cut to a
renormalised top k, committed tokens, prompt boundaries; one ``.npz`` without pickle.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from real.drafters import DRAFTERS, Drafter, Piece, drafter_class
from real.serving.decoder import Decoder, online_decoder
from real.serving.feedback import Counts
from real.serving.ledger import Ledger
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.systems.rows import ROWS, Method
from real.traffic.streams import Stream, scheduled
from real.verify.portable import Losses, halved, rest, save_beside, stated
from theory.loss import SoftmaxKL
from theory.runs.files import atomic, for_user, owned
from theory.runs.readout import load_readout, save_readout
from theory.runs.trace import SettingsDiffer, plain, provenance
from theory.speculation.adapter import adapter_loss, readout

FORMAT = "onlinespec-recording-1"
REPLAYED = ("token", "gumbel")
"""Rules under which a position's acceptance can be told from the text; the header names the second only."""
OPTIONAL = ("system", "features", "rule")
"""Entries of a header by which one recording may differ from another that lacks them."""


def record(
    models: Models, schedule: str, serving: Serving, seed: int, path: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    system: str = "", portable: bool = False,
) -> Path:  # fmt: skip
    """Serve a schedule frozen and write every committed position to ``path`` (.npz), laws cut to ``law_top_k`` tokens.

    It holds the text, which is its purpose. A recording made with the same settings is left as it is. ``system``: a row
    of linear heads at rest; by default it is an adapter on the specialist, whitened by a burn-in. ``portable``: write
    what can be carried elsewhere (``real/verify/portable.py``), and the readout and a JSON file beside it.

    Raises:
        SettingsDiffer: if one made with other settings is there; nothing is overwritten.
        Owned: if another process is making it.
        ValueError: if the stream is too short to hold the burn-in, a prompt to hold what the heads read, the system
            or the rule cannot be replayed, or what was recorded is not finite.
    """
    if serving.rule not in REPLAYED:
        raise ValueError(f"rule={serving.rule!r}: can be replayed of {' and '.join(REPLAYED)} only; record one of them")
    with owned(path):
        stream, method = scheduled(schedule, seed), at_rest(system)
        drafter = models.drafter(method, serving)
        assert drafter is not None
        header = _header(models, schedule, stream, serving, seed, drafter, system)
        header |= {"features": "float16"} if portable else {}
        if path.exists():
            check_same(path, header)
            if portable and not path.with_suffix(".json").exists():  # it was ended before that was written
                save_beside(path, load_header(path), models.device)
            return path
        whole, kept = replace(serving, law_top_k=0), Kept(drafter, serving, portable)
        decoder = online_decoder(models.pair_of(method), drafter, method.learner, whole, seed, record=kept.extend)
        total, lengths = _served(decoder, models.encoded(stream.prompts), progress)
        assert decoder.learning is not None
        kept.extend(decoder.learning.rounds.pieces)  # the incomplete last round is decoded too
        pieces = kept.pieces
        burn_in = header["burn_in_rounds"] * serving.nu
        if sum(lengths) < burn_in:
            raise ValueError(
                f"schedule={schedule!r}: committed {sum(lengths)} tokens, fewer than the burn-in of {burn_in}"
            )
        read = drafter.recording(pieces, burn_in)
        arrays = kept.laws() | {name: tensor.cpu().numpy() for name, tensor in read.items()}
        arrays["prompt"] = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        if "rule" in header:
            arrays["place"] = np.concatenate([np.arange(piece.start, piece.stop, dtype=np.int32) for piece in pieces])
        arrays["segment"] = np.array(stream.segment, np.int32)[arrays["prompt"]]
        header["digest"] = _digest(header, arrays)
        header |= {"tokens_per_step": total.tokens / total.steps, "alpha": total.alpha_sum / total.verified}
        if kept.losses is None:
            _write(path, header | {"provenance": provenance(models.device)}, arrays, np.savez_compressed)
            return path
        arrays, error = halved(arrays, burn_in, drafter.ridge)
        header["readout"] = save_readout(path.parent, arrays.pop("head"))
        header["stated"] = stated(arrays["law_rest"], error, kept.losses)
        path.with_suffix(".json").unlink(missing_ok=True)  # of a recording that was here before
        _write(path, header, arrays, np.savez)
        save_beside(path, header, models.device)
    return path


class Kept:
    """Committed positions as they come. Their laws are cut at once: a large vocabulary's would fill the memory."""

    def __init__(self, drafter: Drafter, serving: Serving, portable: bool):
        self.drafter, self.serving = drafter, serving
        self.losses = Losses(drafter, serving) if portable else None
        self.pieces: list[Piece] = []
        self._laws: list[dict[str, np.ndarray]] = []

    def extend(self, pieces: Sequence[Piece]) -> None:
        """Take up the pieces of a round, with whole laws."""
        for piece in pieces:
            if self.losses is not None:
                self.losses.add(piece)
            self._laws.append(_laws(piece, self.drafter, self.serving, self.losses is not None))
            self.pieces.append(replace(piece, target_probs=piece.target_probs.new_zeros(len(piece.target_probs), 0)))

    def laws(self) -> dict[str, np.ndarray]:
        """Arrays of all positions."""
        return {name: np.concatenate([laws[name] for laws in self._laws]) for name in self._laws[0]}


def _served(
    decoder: Decoder, prompts: Sequence[list[int]], progress: Callable[[int, int], None]
) -> tuple[Counts, list[int]]:
    """Serve the prompts → the counts of all, and how many tokens each was followed by."""
    total, lengths = Counts(), list[int]()
    for i, prompt in enumerate(prompts):
        tokens, counts = decoder.serve(prompt, Ledger(decoder.pair.device))
        for name, value in vars(counts).items():
            setattr(total, name, getattr(total, name) + value)
        lengths.append(len(tokens))
        progress(i + 1, len(prompts))
    return total, lengths


def _write(path: Path, header: dict[str, Any], arrays: dict[str, np.ndarray], save: Callable[..., None]) -> None:
    """Raises ValueError for arrays that are not finite; nothing is written then."""
    bad = [name for name, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
    if bad:
        raise ValueError(f"{path}: not written, for {', '.join(bad)} hold nan or infinity; record in float32")
    with atomic(path) as partial, open(partial, "wb", opener=for_user) as file:  # it holds texts
        save(file, **arrays, header=np.array(json.dumps(plain(header))))


def _digest(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """Names a recording: its settings and the text committed. Made again, it is the same, whenever and by whom."""
    told = {"settings": plain(header), **{name: arrays[name].tolist() for name in ("token", "prompt")}}
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def at_rest(system: str) -> Method:
    """The row to record, which must stand still and read the committed prefix alone.

    Raises:
        ValueError: for another row.
    """
    if not system:
        return Method("adapter")
    method = ROWS.get(system, Method(None))
    if method.drafter is None or not drafter_class(method.drafter).records or method.learner.learns:
        able = ", ".join(name for name, kind in DRAFTERS.items() if kind.records)
        raise ValueError(
            f"system={system!r}: only rows at rest can be recorded of the drafters {able}, whose features read the "
            "committed prefix alone; choose heads, or leave it out"
        )
    return method


def _laws(piece: Piece, drafter: Drafter, serving: Serving, with_rest: bool) -> dict[str, np.ndarray]:
    laws = drafter.learnable(piece.target_probs).float()
    token = torch.tensor(piece.tokens[piece.start : piece.stop])
    kept = 1 if serving.sampling.greedy else serving.law_top_k or laws.shape[-1]
    top = laws.topk(min(kept, laws.shape[-1]), dim=-1)
    return {
        "token": token.numpy().astype(np.int32),
        "token_prob": laws.gather(-1, token.to(laws.device)[:, None])[:, 0].cpu().numpy(),
        "law_index": top.indices.cpu().numpy().astype(np.int32),
        "law_prob": (top.values / top.values.sum(-1, keepdim=True)).cpu().numpy(),
    } | ({"law_rest": rest(laws, top.indices)} if with_rest else {})


def _header(
    models: Models, schedule: str, stream: Stream, serving: Serving, seed: int, drafter: Drafter, system: str
) -> dict[str, Any]:
    """What identifies a recording."""
    sampling = serving.sampling
    scalars = {"format": FORMAT, "gamma": serving.gamma, "nu": serving.nu, "temperature": sampling.temperature}
    scalars |= {"top_k": sampling.top_k, "top_p": sampling.top_p, "law_top_k": serving.law_top_k}
    burn_in_rounds = 0 if drafter.ready else serving.burn_in_rounds
    scalars |= {"burn_in_rounds": burn_in_rounds, "ridge": drafter.ridge, "radius": None, "seed": seed}
    scalars |= {"max_new_tokens": serving.max_new_tokens, "schedule": schedule, "segments": list(stream.names)}
    if serving.rule == "gumbel" and not sampling.greedy:
        scalars["rule"] = serving.rule
    if system:
        scalars |= {"system": system, "family": models.family}
    if drafter.head_weights:
        scalars["weights"] = list(drafter.head_weights)
    return scalars | {"models": models.names, "dtype": models.dtype}


def load_header(path: Path) -> dict[str, Any]:
    """The header of a recording."""
    with np.load(path, allow_pickle=False) as file:
        return json.loads(str(file["header"]))


def check_same(path: Path, settings: dict[str, object]) -> None:
    """Raise SettingsDiffer unless the recording at ``path`` was made with these settings."""
    theirs, ours = load_header(path), plain(settings)
    ours = {key: None for key in OPTIONAL if key in theirs} | ours
    differ = {key: (theirs.get(key), value) for key, value in ours.items() if theirs.get(key) != value}
    if differ:
        raise SettingsDiffer(
            f"{path} was recorded with other settings (there, here): {differ}; nothing was overwritten. "
            "Choose another file, or remove the file if it is no longer wanted"
        )


def losses(path: Path, dtype: torch.dtype) -> list[SoftmaxKL]:
    """The learner's losses of a recording, one a whole round after the burn-in, as tensors of ``dtype``."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(str(arrays.pop("header")))
    if "readout" in header:
        arrays["head"] = load_readout(path.parent, header["readout"])
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    features, head, whitener = (tensors[name].double() for name in ("features", "head", "whitener"))
    law = torch.zeros(len(features), len(head), dtype=torch.float64)
    law.scatter_(-1, tensors["law_index"].long(), tensors["law_prob"].double())
    q, _ = readout(head)
    nu, burned = header["nu"], header["burn_in_rounds"] * header["nu"]
    parts = [slice(start, start + nu) for start in range(burned, len(features) - nu + 1, nu)]
    arguments = (features, law, features @ head.T, whitener, q)
    features, law, logits, whitener, q = (tensor.to(dtype) for tensor in arguments)
    temperature = header["temperature"] or 1.0
    return [adapter_loss(features[p], law[p], logits[p], whitener, q, temperature) for p in parts]
