"""A language model in a few lines: its draft learns from what it serves.

llm = real.load(learner="ensemble")
print(llm.generate("Once upon a time", max_new_tokens=128, temperature=0.7))
print(llm.report())
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from real.build.export import export
from real.drafters import Adapter, Drafter
from real.measure.beside_plain import Served, net
from real.measure.positions import Positions
from real.measure.report import Report
from real.models.load import quiet
from real.models.pieces import Pieces
from real.models.sampling import Sampling
from real.models.text import check_length
from real.serving.certify import Certifier, certifiable, certificates
from real.serving.decoder import Decoder, Request
from real.serving.feedback import Counts, Updated
from real.serving.ledger import LINES, Ledger
from real.serving.settings import Serving
from real.serving.step import Step
from real.serving.tenants import TENANTS, of_each
from real.systems.choose import changed, method_of
from real.systems.loaded import Models, start_path
from real.systems.saved import State, about, of_tenant
from theory.require import seed as check_seed
from theory.require import whole
from theory.runs.choose import Choice
from theory.runs.files import owned

__all__ = ["LLM", "Report", "load"]

Message = Mapping[str, str]
"""``{"role": "user", "content": "…"}``, as chat templates read it."""
COMPARED = 8
"""The latest requests that are served plainly as well, for the net speed."""
CERTIFIED = 512
"""Rounds that are kept for the certificate, where the vocabulary is small; a round holds its laws."""
SMALL_VOCABULARY = 8192


class LLM:
    """A target, a drafter that follows it, and the learner of the drafter. Made by ``load``.

    A request may name its ``tenant``. What is learned and remembered of requests serves those of the same tenant alone;
    all that name none are one.

    Attributes:
        decoder: what serves. models: target, drafts and tokenizer.
    """

    def __init__(self, models: Models, decoder: Decoder, described: dict[str, str], rows: int):
        self.models, self.decoder, self.rows, self._about = models, decoder, rows, described
        self._counts, self._positions, self._requests = Counts(), Positions(), 0
        self._ledger = Ledger(models.device)
        self._latest: deque[Served] = deque(maxlen=COMPARED)
        decoder.watch = self._note
        self._certifier: Certifier | None = None
        learning = decoder.learning
        if learning is not None and models.pair.target.vocab <= SMALL_VOCABULARY and certifiable(learning):
            self._certifier = Certifier(learning.learner, most=CERTIFIED)
            learning.on_round = self._certify

    def generate(
        self,
        prompt: str | Sequence[Any],
        *,
        max_new_tokens: int = 128,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        tenant: str | Sequence[str] = "",
    ) -> Any:
        """The text that follows a prompt: a string; several prompts are served side by side, and give a list.

        Args:
            prompt: a text, which is continued as it is; chat messages, ``[{"role": "user", "content": "…"}]``, which
                are answered, where the tokenizer has a chat template; or a list of such prompts.
            max_new_tokens: at least 1.
            temperature: 0 decodes greedily.
            top_k: keep the k most likely tokens; 0 keeps all.
            top_p: keep the likeliest tokens that hold this share; 1 keeps all.
            tenant: whose prompts they are: one name for all, or one each. Those of one tenant are side by side; others
                wait for their turn.

        Raises:
            ValueError: for a prompt that is empty or too long for the target, a setting out of range, or while a stream
                is open; or, while texts are served, for logits without a law. Whatever is raised then has ``texts``:
                those that were done, None for the others.
        """
        several = isinstance(prompt, Sequence) and not isinstance(prompt, str) and not _is_chat(prompt)
        ids = [self._encoded(one) for one in (prompt if several else [prompt])]
        if not ids:
            return []
        tenants = of_each(tenant, len(ids))
        self._settle(Sampling(temperature, top_k, top_p), max_new_tokens, min(len(ids), self.rows), tenants[0])
        texts: list[str | None] = [None] * len(ids)
        try:
            for request in self._served(ids, tenants):
                texts[request.number] = self.models.pair.decode(request.tokens)
        except BaseException as error:
            vars(error)["texts"] = texts
            raise
        return texts if several else texts[0]

    def stream(
        self,
        prompt: str | Sequence[Message],
        *,
        max_new_tokens: int = 128,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        tenant: str = "",
    ) -> Iterator[str]:
        """The same for one prompt, piece by piece as it is committed, cut at whole characters."""
        ids = self._encoded(prompt)
        self._settle(Sampling(temperature, top_k, top_p), max_new_tokens, 1, *of_each(tenant, 1))
        pieces = Pieces(self.models.pair.tokenizer)
        before, request = self._ledger.total, None
        try:
            with closing(self.decoder.steps([ids], self._ledger, tenant)) as steps:
                for request, step in steps:
                    piece = pieces.add(step.tokens) + (pieces.rest() if request.text.done else "")
                    if piece:
                        yield piece
        finally:  # also if it is left before its end
            if request is not None:
                self._end(request, self._ledger.total - before)

    def report(self) -> Report:
        """What was served since the model was loaded; times the latest requests again, decoded plainly.

        Only the rounds of learning are otherwise: those of the tenants that are remembered now (``Report.rounds``).
        """
        certifier, found, tenant = self._certifier, {}, None
        if certifier is not None and certifier.rounds:
            found, tenant = certificates(certifier.log()), certifier.tenant
        tenant = tenant if len(self.decoder.tenants) > 1 else None
        shares = tuple(row["share"] for row in self._positions.rows())
        seconds = {line: self._ledger.seconds[line] for line in LINES} | {"total": self._ledger.total}
        rounds = sum(log.rounds for log in self.decoder.logs)
        speed = net(self._latest, self.models.pair)
        return Report(self._requests, replace(self._counts), rounds, shares, speed, seconds, found, tenant)

    def save(self, path: str | Path, *, tenant: str = "", keep_text: bool = False) -> Path:
        """Write what was learned from a tenant to a safetensors file of mode 0600, for ``resume`` or ``load(state=…)``
        with the same models and settings.

        It holds no text: n-grams, the round under way and a burn-in that has not ended are left out. ``keep_text``
        keeps them, to go on as if never stopped.

        Raises:
            ValueError: if nothing is remembered of the tenant, or while a stream is open.
        """
        self._turn_to(tenant)
        with owned(Path(path)):  # a run may be learning into it
            self._state(path, tenant, keep_text).keep()
        return Path(path)

    def resume(self, path: str | Path, *, tenant: str = "") -> None:
        """Go on with a tenant from what ``save`` wrote of it; what was learned from it since is forgotten.

        Raises:
            FileNotFoundError, ValueError: if there is no file, or it is another tenant's, learner's or model's.
        """
        if not Path(path).exists():
            raise FileNotFoundError(f"state={str(path)!r}: no such file; save one with LLM.save, or leave it out")
        (tenant,) = of_each(tenant, 1)
        self._state(path, tenant).restore()

    def export(self, folder: str | Path, *, tenant: str = "") -> Path:
        """Fold the adapter that a tenant's texts taught into the draft's head: a checkpoint that any engine serves.

        Raises:
            ValueError: for another drafter, a folder that is there, or before the burn-in has ended.
        """
        self._turn_to(tenant)
        drafter = self.decoder.drafter
        if not isinstance(drafter, Adapter):
            raise ValueError(f"drafter={type(drafter).__name__}: only an adapter can be folded into its draft's head")
        if not drafter.ready:
            raise ValueError("drafter: is still in its burn-in; serve more tokens first")
        return export(drafter, self.models.pair.tokenizer, Path(folder))

    def _turn_to(self, tenant: str) -> None:
        if not self.decoder.remembers(*of_each(tenant, 1)):
            raise ValueError(f"tenant={tenant!r}: nothing is remembered of it; name one that was served lately")
        self.decoder.turn_to(tenant)

    def _state(self, path: str | Path, tenant: str, text: bool = False) -> State:
        about = of_tenant(self._about, tenant)
        decoder = self.decoder
        return State(
            Path(path), about, lambda named: decoder.restore(named, tenant), lambda: decoder.state(text), decoder.pair
        )

    def _served(self, ids: list[list[int]], tenants: Sequence[str]) -> Iterator[Request]:
        before = self._ledger.total
        for request in self.decoder.serve_all(ids, self._ledger, tenants):
            now = self._ledger.total
            self._end(request, now - before)
            before = now
            yield request

    def _end(self, request: Request, seconds: float) -> None:
        """A request has ended. ``seconds``: since the one before it, so that all add up."""
        for name, value in vars(request.counts).items():
            setattr(self._counts, name, getattr(self._counts, name) + value)
        self._requests += 1
        if self.decoder.session.rows == 1:
            self._latest.append(Served(request, self.decoder.serving, seconds))

    def _certify(self, updates: Sequence[Updated]) -> None:
        certifier, decoder = self._certifier, self.decoder
        assert certifier is not None
        assert decoder.drafter is not None
        if not certifier.rounds:
            certifier.begins(decoder.tenant or "", decoder.drafter)
        certifier.note(updates)

    def _note(self, step: Step) -> None:
        self._positions.add(step.accepted + step.rejected, step.accepted)

    def _settle(self, sampling: Sampling, max_new_tokens: int, rows: int, tenant: str) -> None:
        if self.decoder.drafter is not None and self.decoder.drafter.alone:
            rows = 1
        serving = replace(self.decoder.serving, sampling=sampling, max_new_tokens=max_new_tokens)
        self.decoder.turn_to(tenant)
        self.decoder.settle(serving, rows)

    def _encoded(self, prompt: Any) -> list[int]:
        if not isinstance(prompt, str) and not _is_chat(prompt):
            raise ValueError(
                f"prompt={prompt!r}: must be a text, chat messages with 'role' and 'content', or a list of such prompts"
            )
        pair = self.models.pair
        ids = pair.encode([prompt], False) if isinstance(prompt, str) else pair.encode_chat(prompt)
        check_length(len(ids), pair.target.context)  # before the first is served
        return ids


def _is_chat(prompt: Any) -> bool:
    return (
        isinstance(prompt, Sequence)
        and not isinstance(prompt, str)
        and bool(prompt)
        and all(isinstance(message, Mapping) and {"role", "content"} <= set(message) for message in prompt)
    )


def load(
    target: str | Path = "",
    *,
    draft: str | Path = "",
    learner: Choice | None = None,
    drafter: str | type[Drafter] | Drafter = "adapter",
    loss: Any = "",
    learner_settings: Mapping[str, Any] | None = None,
    drafter_settings: Mapping[str, Any] | None = None,
    state: str | Path | None = None,
    rows: int = 8,
    seed: int = 0,
    dtype: str = "",
    device: str = "",
    family: str = "qwen3",
    trust_remote_code: str | Sequence[str] = (),
    tenants: int = TENANTS,
    **serving: Any,
) -> LLM:
    """Load a target and what drafts for it; the draft learns from all that is served.

    Args:
        target: a folder or hub name; the embedded target of ``family`` if left out, whose drafters start warmed up.
        draft: a folder or hub name of a small model with the same tokenizer; the embedded specialist if left out.
        learner: a name, ``file.py:Class``, a class or an object; None takes the drafter's customary one.
        drafter: a name, ``file.py:Class``, a class or an object.
        loss: a name, ``file.py:function``, a function or an object; the drafter's own if left out.
        learner_settings: fields of the learner.
        drafter_settings: of the drafter's constructor; not with an object.
        state: a file of ``LLM.save`` to go on from; for a tenant's by name, see ``LLM.resume``.
        rows: texts served side by side at most.
        seed: of what is sampled.
        dtype: of the models; bfloat16 on a GPU and float32 on a CPU if left out.
        device: cpu or cuda; a GPU if left out and there is one.
        family: of the embedded target: qwen3, llama or gpt_neox.
        trust_remote_code: folders or hub names of models whose own code may run; no other's does.
        tenants: of so many is remembered what was learned; whose turn was longest ago is forgotten first.
        serving: fields of ``real.serving.settings.Serving``: gamma, nu, burn_in, rule, confidence, overlap, …

    Raises:
        ValueError: for models, names, classes or settings that do not fit; the message says which and what would.
    """
    quiet()
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or ("bfloat16" if device.startswith("cuda") else "float32")
    whole("real.load", 1, rows=rows, tenants=tenants)
    check_seed("real.load", seed)
    if drafter_settings and isinstance(drafter, Drafter):
        raise ValueError(
            f"drafter_settings={dict(drafter_settings)!r}: the drafter is an object, made already; give its class"
        )
    served = _serving(serving)
    kind = type(drafter) if isinstance(drafter, Drafter) else drafter
    method = method_of(kind, learner, learner_settings)
    method = changed(method, loss, settings=drafter_settings)
    warm = replace(method, start=method.draft)
    own = target or draft or drafter_settings or not isinstance(drafter, str)
    if not own and start_path(family, warm).is_file():
        method = warm  # the embedded models come with warm-ups
    if isinstance(trust_remote_code, bool):
        raise ValueError(
            f"trust_remote_code={trust_remote_code!r}: name the folders whose code may run, as in "
            "trust_remote_code=['my/model']"
        )
    trust = (trust_remote_code,) if isinstance(trust_remote_code, str) else tuple(trust_remote_code)
    models = Models(target, draft, dtype, device, family, trust)
    made = drafter if isinstance(drafter, Drafter) else None
    decoder = models.decoder(method, served, seed, drafter=made, tenants=tenants)
    llm = LLM(models, decoder, about(models, method, served), rows)
    if state is not None:
        llm.resume(state)
    return llm


def _serving(given: Mapping[str, Any]) -> Serving:
    known = [name for name in Serving.__dataclass_fields__ if name not in ("sampling", "max_new_tokens")]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(
            f"{unknown[0]}={given[unknown[0]]!r}: no such setting of serving; there are {', '.join(known)}"
        )
    return Serving(**given)
