"""One long text per request, sampled once from the target, and every system's acceptance rates along it.

A drafter's decision does not change what a target would say, so one text serves all systems: each reads it as if it had
served it (``real/serving/follow.py``), from the first token on and learning on the way. What is kept of a system is the
rate Σ_y min(target, draft) at every position; from these follow steps at any draft length and any cost.

Of a mixture's parts, and of the best fixed mixture of them, the rates are kept as well (``hindsight.py``).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from re import sub
from typing import Any

import numpy as np
import torch

from real.drafters.mixture import Mixture
from real.measure.contenders import why_unfollowed
from real.models.load import quiet
from real.serving.decoder import in_order
from real.serving.follow import follow
from real.serving.ledger import Ledger
from real.serving.settings import Serving
from real.studies.hindsight import Laws
from real.systems.loaded import FAMILIES, Models
from real.systems.rows import SPECIALISTS, SYSTEMS, Method
from real.traffic.streams import Stream, domains, scheduled
from theory.learners.fixed_share import FixedShare
from theory.runs import workers
from theory.runs.files import atomic, for_user, owned
from theory.runs.trace import SettingsDiffer, plain, provenance

FORMAT = "onlinespec-replayed-1"
STARTS = {"generalist": SYSTEMS, "specialist": SPECIALISTS}
FROZEN, STATIC, SHARED, COPYING = "sd", "tv-mixture", "tv-mixture-shared", "copies-mixture"
"""The draft at rest that all others are held against; the mixture whose weights have no memory of what paid before the
last shift but their own, the one that hands a share of every weight on, and the one without a residual memory."""
SHARE = 0.08
"""A round: .002 a step, at about forty steps in a round."""
BESIDE = ("adapter-ensemble", "memory", COPYING, STATIC)
"""Systems of a recording, unless told otherwise; with ``SHARED`` where the stream shifts."""
RETURNING = ("prose", "sql", "prose", "python", "prose")
TEXT = "text.npz"
"""Beside the recordings of all starts: what they read."""
AT_ONCE = 8
"""Requests sampled side by side."""
Tell = Callable[[int, int], Any]


@dataclass(frozen=True)
class Cell:
    """One recording: a stream's texts, and systems of one start that read them.

    ``serving.max_new_tokens`` is the length of a request's text; ``systems`` are names of ``rows_of(start)``. One that
    ends with ``@n`` is told of its text n tokens at a time: what that is worth is what replay leaves open, for a step
    commits between 1 and gamma + 1.
    """

    family: str
    start: str
    schedule: str
    systems: tuple[str, ...]
    serving: Serving = Serving()
    seed: int = 1

    @property
    def name(self) -> str:
        """Its place among others: ``family/stream/start``."""
        return f"{self.family}/{stream_name(self.schedule)}/{self.start}"


@dataclass(frozen=True)
class Recording:
    """What a cell's file holds.

    Attributes:
        header: settings, provenance; of ``systems`` their rows, of ``mixtures`` what ``hindsight.py`` tells.
        lengths: tokens of each request's text ``[requests]``. units: requests of one prompt have one number
            ``[requests]``. segment: the stretch of each ``[requests]``.
        rates: of each system ``[n]``. parts: of each mixture's parts ``[n, N]``. hindsight: of the best fixed mixture
            ``[n]``.
    """

    header: dict[str, Any]
    lengths: np.ndarray
    units: np.ndarray
    segment: np.ndarray
    rates: dict[str, np.ndarray]
    parts: dict[str, np.ndarray]
    hindsight: dict[str, np.ndarray]


def stream_name(schedule: str) -> str:
    """A schedule as the name of a folder."""
    return sub(r"[^a-z0-9]+", "-", schedule.lower()).strip("-")


def rows_of(start: str) -> dict[str, Method]:
    """The systems of a start by their names in the systems' table, and the mixture that shares."""
    rows = {name.removeprefix("specialist-"): row for name, row in STARTS[start].items()}
    return rows | {SHARED: replace(rows[STATIC], learner=FixedShare(0.1, SHARE, surrogate=True))}


def system_of(name: str) -> str:
    """The system of a name that may say how it is told of its text."""
    return name.partition("@")[0]


def at_once(name: str) -> int:
    """Tokens at a time, 0 if the name does not say; −1 for what is no number of them."""
    _, at, count = name.partition("@")
    return (int(count) if count.isdecimal() and int(count) else -1) if at else 0


def cells(
    families: Sequence[str], starts: Sequence[str], schedules: Sequence[str], systems: Sequence[str] = (),
    serving: Serving = Serving(), seed: int = 1,
) -> list[Cell]:  # fmt: skip
    """One cell for each stream, family and start, the draft at rest always among its systems.

    Raises:
        ValueError: for a family, start, schedule or system that is not there, or a sampling that is greedy.
    """
    for name, given, known in (("family", families, FAMILIES), ("start", starts, STARTS)):
        for value in given:
            if value not in known:
                raise ValueError(f"{name}={value!r}: must be one of {', '.join(known)}")
    if serving.sampling.greedy:
        raise ValueError("temperature=0: a shared text is sampled, for a greedy one has no rates; take 1")
    found = []
    for schedule in schedules:
        shifts = len(scheduled(schedule, seed).names) > 1
        chosen = tuple(dict.fromkeys((FROZEN, *(systems or (*BESIDE, *((SHARED,) if shifts else ()))))))
        for start in starts:
            drafting = [name for name, row in rows_of(start).items() if row.drafter is not None]
            if strange := [name for name in chosen if system_of(name) not in drafting or at_once(name) < 0]:
                raise ValueError(f"system={strange[0]!r}: none that drafts; choose among {', '.join(drafting)}")
        found += [Cell(family, start, schedule, chosen, serving, seed) for family in families for start in starts]
    return found


def lengthened(domain: str, tokens: int, serving: Serving) -> str:
    """The schedule that stays in a domain for at least so many tokens.

    Raises:
        ValueError: for a domain that is not there, or fewer than one token.
    """
    if domain not in domains() or tokens < 1:
        raise ValueError(f"domain={domain!r}, tokens={tokens!r}: one of {', '.join(domains())}, at least one token")
    return f"{domain}:{-(-tokens // serving.max_new_tokens)}"


def returning(tokens: int, serving: Serving) -> str:
    """The schedule that leaves a domain twice and comes back to it, at least so many tokens in each stretch."""
    return ",".join(lengthened(domain, max(1, tokens), serving) for domain in RETURNING)


def record(
    chosen: Sequence[Cell], out: Path, jobs: int, tell: Callable[[Cell, int, int], Any]
) -> Iterator[tuple[Cell, bool]]:
    """Make the recordings that are not there, ``jobs`` at a time → each cell as it ends, and whether anything was run.

    ``tell`` is told (cell, requests read, requests to read in all).

    Raises:
        SettingsDiffer: if one made with other settings is in the way; nothing is overwritten.
        ValueError: for a system that cannot read a given text.
    """
    yield from workers.at_once(_record, [(cell, out) for cell in chosen], jobs, tell)


def _record(cell: Cell, out: Path, tell: Callable[[Cell, int, int], Any]) -> tuple[Cell, bool]:
    torch.set_num_threads(1)
    quiet()
    path = place(cell, out)
    with owned(path):
        models, stream = Models(family=cell.family), scheduled(cell.schedule, cell.seed)
        asked = models.encoded(stream.prompts)
        settings = _settings(models, cell, asked)
        header, arrays = _read(path) if path.exists() else (settings, {})
        methods = {name: rows_of(cell.start)[system_of(name)] for name in cell.systems}
        header = _checked(path, header, settings, methods)
        missing = [name for name in methods if name not in header["systems"]]
        if not missing:
            return cell, False
        total = len(asked) * len(missing)
        texts = _texts(models, cell, stream, asked, path.with_name(TEXT), lambda done: tell(cell, 0, total))
        arrays |= {name: texts[name] for name in ("lengths", "units", "segment")}
        ends = np.cumsum(texts["lengths"])[:-1]
        text = [part.tolist() for part in np.split(texts["tokens"], ends)]
        for i, name in enumerate(missing):
            before = i * len(asked)
            told, new = replayed(models, name, methods[name], cell, asked, text,
                                 lambda done, before=before: tell(cell, before + done, total))  # fmt: skip
            arrays |= new
            header["systems"] |= {name: plain(methods[name])}
            header["mixtures"] |= {name: told} if told else {}
            header["provenance"] = provenance(models.device)
            _write(path, header, arrays)
    return cell, True


def place(cell: Cell, out: Path) -> Path:
    """The file of a cell's recording; beside it lies the text that all starts read."""
    return out / f"{cell.name}.npz"


def _settings(models: Models, cell: Cell, asked: Sequence[list[int]]) -> dict[str, Any]:
    """What identifies a recording, whichever systems it holds: settings, models, and the prompts as they were."""
    serving = plain(asdict(cell.serving))
    prompts = sha256(json.dumps(asked).encode()).hexdigest()[:16]
    header = {"format": FORMAT, "family": cell.family, "start": cell.start, "schedule": cell.schedule}
    header |= {"segments": list(scheduled(cell.schedule, cell.seed).names), "seed": cell.seed}
    header |= {"serving": serving, "prompts": prompts}
    return header | {"models": models.names, "dtype": models.dtype}


def _checked(path: Path, header: dict[str, Any], settings: dict[str, Any], methods: Mapping[str, Method]):
    """The header of a recording, that this one may go on with.

    Raises:
        SettingsDiffer: if it was made with other settings, or of another system of that name.
    """
    ours = settings | {"systems": {name: plain(row) for name, row in methods.items()}}
    theirs = {"systems": {}, "mixtures": {}} | header
    differ = [key for key in settings if theirs.get(key) != ours[key]]
    differ += [name for name, row in theirs["systems"].items() if name in methods and row != ours["systems"][name]]
    if differ:
        raise SettingsDiffer(
            f"{path} was recorded with other settings: {', '.join(differ)}; nothing was overwritten. Choose another "
            "folder, or remove the file if it is no longer wanted"
        )
    return theirs


def _texts(
    models: Models, cell: Cell, stream: Stream, asked: list[list[int]], path: Path, tell: Callable[[int], Any]
) -> dict[str, np.ndarray]:
    """The shared texts: sampled now, or taken from their file."""
    header = {key: value for key, value in _settings(models, cell, asked).items() if key not in ("start", "models")}
    header |= {"target": models.names["target"]}
    with owned(path, wait=True):
        if path.exists():
            found, arrays = _read(path)
            _checked(path, found, header, {})
            return arrays
        decoder = models.decoder(Method(None), cell.serving, cell.seed, rows=min(AT_ONCE, len(asked)))
        served = []
        for request in in_order(decoder.serve_all(asked, Ledger())):
            served.append(request.tokens)
            tell(len(served))
        same = {prompt: i for i, prompt in reversed(list(enumerate(map(tuple, asked))))}
        arrays = {
            "tokens": np.array([token for text in served for token in text], np.int32),
            "lengths": np.array([len(text) for text in served], np.int32),
            "units": np.array([same[tuple(prompt)] for prompt in asked], np.int32),
            "segment": np.array(stream.segment, np.int32),
        }
        _write(path, header | {"provenance": provenance(models.device)}, arrays)
        return arrays


def replayed(
    models: Models, name: str, method: Method, cell: Cell, asked: Sequence[list[int]], texts: Sequence[list[int]],
    tell: Callable[[int], Any] = lambda done: None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:  # fmt: skip
    """One system reads all texts → what is told of a mixture, and arrays by their names in a recording's file.

    Raises:
        ValueError: if it cannot read a given text.
    """
    laws = Laws()
    drafter = models.drafter(method, cell.serving)
    more = {"record": laws.see} if isinstance(drafter, Mixture) else {}
    decoder = models.decoder(method, cell.serving, cell.seed, drafter, **more)
    if why := why_unfollowed(decoder):
        raise ValueError(f"system={name!r}: cannot read a given text, for {why}")
    rates = []
    for i, (prompt, text) in enumerate(zip(asked, texts, strict=True)):
        rates += follow(decoder, prompt, text, Ledger(), at_once(name))
        tell(i + 1)
    arrays = {f"rates/{name}": _as_rates(rates)}
    if not isinstance(drafter, Mixture):
        return {}, arrays
    assert decoder.learning is not None
    told, of_parts, of_best = laws.judged(decoder.learning, drafter, len(rates))
    return told, arrays | {f"parts/{name}": _as_rates(of_parts), f"hindsight/{name}": _as_rates(of_best)}


def _as_rates(rates: Any) -> np.ndarray:
    return np.clip(np.asarray(rates, np.float32), 0, 1)  # sums of float32 laws miss 1 by their rounding


def recordings(out: Path) -> list[tuple[Path, Recording]]:
    """All that are kept under ``out``, whichever call made them, in the order of their names."""
    paths = sorted(path for path in out.glob("*/*/*.npz") if path.name != TEXT)
    return [(path, load_recording(path)) for path in paths]


def load_recording(path: Path) -> Recording:
    """The recording in a file.

    Raises:
        FileNotFoundError: if it is not there.
    """
    header, arrays = _read(path)

    def under(kind: str) -> dict[str, np.ndarray]:
        return {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(f"{kind}/")}

    lengths, units, segment = (arrays[name] for name in ("lengths", "units", "segment"))
    return Recording(header, lengths, units, segment, under("rates"), under("parts"), under("hindsight"))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(str(arrays.pop("header"))), arrays


def _write(path: Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    with atomic(path) as partial, open(partial, "wb", opener=for_user) as file:  # texts are among it
        np.savez_compressed(file, header=np.array(json.dumps(plain(header))), **arrays)  # pyright: ignore[reportArgumentType]
