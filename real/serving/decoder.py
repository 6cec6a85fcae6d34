"""The decoder: requests come, take steps side by side, and leave; what is learned from them is somebody else's affair.

One request at a time or several, it is the same loop around the same step. Requests draw from random numbers of their
own, so that what is sampled does not depend on the requests beside; one at a time, they share the tenant's generator.
What is remembered of requests is one tenant's (``tenants.py``).
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor

from real.drafters import Drafter
from real.models.hf import Pair
from real.models.state import check, copied, under
from real.models.text import close_up
from real.serving.arrivals import Arrivals
from real.serving.control import Control
from real.serving.feedback import Counts, Log
from real.serving.lawful import check_prompt
from real.serving.learn import Learning
from real.serving.ledger import Ledger
from real.serving.request import Request, in_order
from real.serving.settings import Serving
from real.serving.step import Session, Step, step
from real.serving.tenants import TENANTS, Aside, Memory, Own
from theory.learner import Learner

__all__ = ["Decoder", "Request", "in_order", "online_decoder"]


class Decoder:
    """Serves requests with one target and one drafter, up to ``rows`` of them at a time.

    Args:
        pair: target, draft and tokenizer. drafter: None decodes plainly. serving: lengths and sampling.
        learning: told of every step; None where nothing is learned or recorded.
        seed: of the requests' own randomness. rows: most requests at a time. watch: shown every step.
        tenants: memories that are kept; whose turn was longest ago is forgotten first.

    Attributes:
        tenant: whose memory is live; None only where taking one up has failed. own: its random numbers and draft
            lengths. aside: the others' memories.

    Raises:
        ValueError: for several rows of what takes one text only, or a hint from prompts, which is one request's.
    """

    def __init__(
        self,
        pair: Pair,
        drafter: Drafter | None,
        serving: Serving,
        learning: Learning | None = None,
        seed: int = 0,
        rows: int = 1,
        watch: Callable[[Step], Any] | None = None,
        tenants: int = TENANTS,
    ):
        self.pair, self.drafter, self.serving, self.learning = pair, drafter, serving, learning
        self.seed, self.watch, self.aside = seed, watch, Aside(tenants)
        if rows > 1 and learning is not None and learning.prompt_hint is not None:
            raise ValueError(
                f"prompt_hint={learning.prompt_hint!r}, rows={rows!r}: a hint belongs to one request, and rounds of "
                "several rows hold many; serve one text at a time, or leave the hint out"
            )
        self.session = Session(pair.target, drafter, rows)
        self.requests: list[Request] = []
        self.control = Control(serving, drafter) if serving.costs and drafter is not None else None
        self.gamma = 0 if drafter is None else serving.gamma
        self._blank = {} if drafter is None else copied(drafter.state())  # of a tenant of whom nothing is remembered
        self.tenant: str | None = ""
        self.own = Own(seed, self.tenant, self.control)
        if drafter is not None:
            drafter.work(drafter.levels - 1)
            drafter.reseed(self.own.seed)
        self._observe([])

    def serve(self, prompt: list[int], ledger: Ledger, tenant: str = "") -> tuple[list[int], Counts]:
        """Decode one request → committed tokens and counts; ``ledger`` is charged."""
        (request,) = self.serve_all([prompt], ledger, tenant)
        return request.tokens, request.counts

    def serve_all(
        self, prompts: Iterable[Sequence[int] | None], ledger: Ledger, tenant: str | Sequence[str] = ""
    ) -> Iterator[Request]:
        """Decode all requests → each when it ends, not in their order; ``ledger`` is charged for all of them.

        A prompt may be None: the next one is asked for when requests in flight have gone a step further.
        """
        for request, _ in self.steps(prompts, ledger, tenant):
            if request.text.done:
                yield request

    def steps(
        self, prompts: Iterable[Sequence[int] | None], ledger: Ledger, tenant: str | Sequence[str] = ""
    ) -> Generator[tuple[Request, Step]]:
        """The same step by step. Requests enter as rows become free; time that the caller takes is not charged.

        ``tenant``: whose requests they are, one name for all or one each. Rows are one tenant's at a time, in order of
        arrival: a request of another waits until all before it have ended.
        """
        self._between_requests()
        arrivals = Arrivals(prompts, tenant)
        try:
            while True:
                with ledger.serving():
                    while len(self.requests) < self.session.rows and (first := arrivals.first()):
                        if first.tenant != self.tenant:
                            if self.requests:
                                break
                            self._finish(ledger)
                            with ledger("learn"):
                                self.turn_to(first.tenant)
                        arrivals.taken()
                        self._enter(first.number, first.prompt, ledger)
                    if not self.requests:
                        break
                    taken = self._step(ledger)
                    self._leave_done(ledger)
                yield from taken
        finally:
            self.drop()
            with ledger.serving():
                self._finish(ledger)

    @contextmanager
    def one_text(self, prompt: Sequence[int], length: int, ledger: Ledger) -> Iterator[Session]:
        """The session with one request of ``length`` new tokens in it, for whoever takes its steps; it leaves after.

        It is alone: the caller's clock is running, and no end token ends it.
        """
        self._between_requests()
        try:
            self._enter(0, prompt, ledger, length, frozenset())
            yield self.session
            self.requests[0].text.done = True
            self._leave_done(ledger)
        finally:
            self.drop()
            self._finish(ledger)

    def finish_text(self, session: Session, ledger: Ledger) -> None:
        """Take plain or drafting steps until the one text of ``one_text`` has all its tokens."""
        while not session.texts[0].done:
            self._step(ledger)

    def turn_to(self, tenant: str) -> None:
        """Serve this tenant from now on, with what is remembered of it alone; between requests only.

        Raises:
            ValueError: for what is no name, or while a request is in flight.
        """
        if tenant == self.tenant:
            return
        if not isinstance(tenant, str):
            raise ValueError(f"tenant={tenant!r}: must be a string that names whose request it is")
        self._between_requests()
        drafter, learning = self.drafter, self.learning
        if self.tenant is not None:
            parts = (None if part is None else part.put_aside() for part in (drafter, learning))
            self.aside.put(self.tenant, Memory(self.own, *parts))
        self.tenant = None  # nobody's until all of it is taken up
        memory = self.aside.memories.get(tenant)
        self.own = Own(self.seed, tenant, self.control) if memory is None else memory.own
        if drafter is not None and memory is None:
            drafter.restore(copied(self._blank))
            drafter.reseed(self.own.seed)
        elif drafter is not None and memory is not None:
            drafter.take_up(memory.drafter)
        if learning is not None:
            learning.begin() if memory is None else learning.take_up(memory.learning)
        self._observe([])
        self.aside.taken(tenant)
        self.tenant = tenant

    @property
    def tenants(self) -> list[str]:
        """Who is remembered, whose turn was longest ago first; the last is served now."""
        return [*self.aside.memories, *([] if self.tenant is None else [self.tenant])]

    @property
    def logs(self) -> list[Log]:
        """The rounds learned of every tenant that is remembered, in the order of ``tenants``."""
        if self.learning is None:
            return []
        return [*(memory.learning.log for memory in self.aside.memories.values()), self.learning.log]

    def remembers(self, tenant: str) -> bool:
        """Whether there is a memory of this tenant."""
        return tenant == self.tenant or tenant in self.aside.memories

    def settle(self, serving: Serving, rows: int) -> None:
        """Serve otherwise from the next request on: other sampling, new tokens or rows; between requests only.

        The learner's losses are at the new temperature.

        Raises:
            ValueError: for several rows of what takes one text only, or while a request is in flight.
        """
        self._between_requests()
        if rows != self.session.rows:
            self.session = Session(self.pair.target, self.drafter, rows)
        self.serving = serving
        if self.learning is not None:
            self.learning.settle(serving)

    def drop(self) -> None:
        """Forget the requests in flight, as when one was interrupted or has failed: the memories begin anew."""
        if not (self.requests or self.session.texts):
            return
        if self.learning is not None:
            for request in self.requests:
                self.learning.rounds.end(request.text)
        self.requests.clear()
        self.session = Session(self.pair.target, self.drafter, self.session.rows)

    def _between_requests(self) -> None:
        if self.requests:
            raise ValueError(
                f"requests={len(self.requests)!r}: are being served; read their stream to its end, or close it, first"
            )

    def _enter(
        self,
        number: int,
        prompt: Sequence[int],
        ledger: Ledger,
        new: int | None = None,
        eos: frozenset[int] | None = None,
    ) -> None:
        learning, own = self.learning, self.own.entering(self.session.rows > 1)
        keep_prompt = learning is not None and learning.reads_prompts
        new = self.serving.max_new_tokens if new is None else new
        text = self.session.enter(prompt, new, eos=eos, keep_prompt=keep_prompt, clock=ledger, **own)
        text.number = number + 1
        with ledger("prefill"):
            check_prompt(text)
        self.requests.append(Request(number, text))
        self.own.entered += 1
        if learning is not None:
            learning.enter(text, len(self.requests) - 1, ledger)

    def _step(self, ledger: Ledger) -> list[tuple[Request, Step]]:
        session, serving = self.session, self.serving
        if self.control is not None and self.own.known is not None:
            with ledger("draft"):
                self.gamma = self.control.begin(self.own.known)
        learning = self.learning
        told = learning is not None and learning.collects and learning.drafter.asks_all
        if learning is not None and not told:
            learning.rest(session, ledger)
        lengths = [session.room(text, self.gamma) for text in session.texts]
        uniforms = session.uniforms(lengths, serving.sampling, self.own.rng, serving.rule)
        steps = step(session, lengths, serving.sampling, uniforms, ledger, serving.rule, serving.confidence)
        if self.control is not None:
            with ledger("draft"):
                self._observe(steps)
        with ledger("measure"):
            for request, taken in zip(self.requests, steps, strict=True):
                request.counts.add(taken)
                if self.watch:
                    self.watch(taken)
        if learning is not None and told:
            learning.note(session, steps, ledger)
        return list(zip(self.requests, steps, strict=True))

    def _observe(self, after: Sequence[Step]) -> None:
        """Take up what steps tell of what the next ones cost and gain, in units of ``Serving.costs``: with several rows
        those of so many."""
        if self.control is not None and self.own.known is not None:
            self.own.known = self.control.end(self.own.known, after)

    def _leave_done(self, ledger: Ledger) -> None:
        for row in reversed(range(len(self.requests))):
            if self.requests[row].text.done:
                if self.learning is not None and self.learning.collects:
                    self.learning.leave(self.session, row, ledger)
                with nullcontext() if self.drafter is None else ledger("draft"):
                    self.session.leave(row)
                close_up(self.requests, row)

    def _finish(self, ledger: Ledger) -> None:
        if self.learning is not None:
            self.learning.finish(ledger)

    def state(self, text: bool = True) -> dict[str, Tensor]:
        """Everything needed to go on with this tenant as if never stopped, as named tensors; between requests only.

        ``text=False`` leaves out what its text can be read from: the round under way, what drafters remember verbatim.

        Raises:
            ValueError: while a request is in flight.
        """
        self._between_requests()
        drafter, learning = self.drafter, self.learning
        kept = {} if drafter is None else drafter.state() if text else drafter.textless(drafter.state())
        return copied(self._beside_own(kept) | ({} if learning is None else learning.state(text)))

    def _beside_own(self, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        """The entries that every state of this decoder has: its randomness, and what its drafter needs besides x."""
        return self.own.state() | {f"drafter.{key}": part for key, part in kept.items()}

    def restore(self, named: dict[str, Tensor], tenant: str | None = None) -> None:
        """Take up what ``state`` gave, for the tenant whose memory is live, or turn to this one and take it up.

        All of it is looked at first: what is refused leaves everything as it was.

        Raises:
            ValueError: if it was saved by another learner or drafter, or is damaged (the entry); while a request is in
                flight.
        """
        self._between_requests()
        drafter, learning = self.drafter, self.learning
        check(self._beside_own({} if drafter is None else drafter.textless(self._blank)), named)
        self.own.restored(named)
        learned = None if learning is None else learning.restored(named)
        if drafter is not None:
            drafter.check_state(under("drafter.", named), "drafter.")
        self.turn_to(self.tenant or "" if tenant is None else tenant)
        parts = [part for part in (drafter, learning) if part is not None]
        before = [part.put_aside() for part in parts]
        try:
            if drafter is not None:
                drafter.restore(under("drafter.", named))
            if learning is not None and learned is not None:
                learning.take_up(learned)
        except Exception:  # a drafter of a user's own, whose entries nobody else knows
            for part, memory in zip(parts, before, strict=True):
                part.take_up(memory)
            raise
        self.own = self.own.restored(named)
        self._observe([])


def online_decoder(
    pair: Pair,
    drafter: Drafter | None,
    learner: Learner,
    serving: Serving,
    seed: int = 0,
    rows: int = 1,
    watch: Callable[[Step], Any] | None = None,
    tenants: int = TENANTS,
    **learning: Any,
) -> Decoder:
    """A decoder whose drafter learns as it serves; ``learning``: see ``Learning``."""
    told = None if drafter is None else Learning(drafter, learner, serving, **learning)
    return Decoder(pair, drafter, serving, told, seed, rows, watch, tenants)
