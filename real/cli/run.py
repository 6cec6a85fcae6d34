"""One run: a stream served by several methods side by side, and what was measured when it ends or is stopped."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from real.measure.intervals import Interval
from real.measure.served import Comparison
from real.measure.summary import Sample, break_even, by_prompt, measures
from real.serving.certify import certificates
from real.serving.feedback import hint_gain
from real.serving.settings import Serving
from real.systems.loaded import Models
from real.systems.rows import Method
from real.systems.saved import State, about, of_tenant
from real.traffic.streams import Stream
from theory.checker.certificate import Certificate
from theory.runs.trace import Trace, done
from theory.runs.users_file import users_own

AT_REST = ("plain", "frozen")
"""Methods that a run serves beside those that learn."""


@dataclass(frozen=True)
class Learned:
    """What one learner's run has besides the table's numbers.

    ``break_even_tokens``: None if it has not paid within the run. ``hint_gain``: None for a learner without hints.
    ``beside``: seconds of learning on a thread of its own; None if it was not overlapped. ``idle``: tokens served of
    the tenant that had most, where all were too few for a round to be learned; else 0. ``net``: speed over frozen's;
    None without a frozen one. ``tenants``: that were served.
    """

    break_even_tokens: float | None
    hint_gain: float | None
    beside: float | None
    idle: int
    net: Interval | None = None
    tenants: int = 1


class Short(NamedTuple):
    """Tenants whose requests are too few for one round to be learned, with the tokens that they have at most; of how
    many tenants, and the tokens that burn-in and one round take of each.
    """

    most: dict[str, int]
    tenants: int
    needed: int


@dataclass(frozen=True)
class Measured:
    """What a run measured: the methods' numbers and traces, what learners have besides, requests served and asked.

    ``unfollowed``: methods without a low-noise net, and why. ``left_out``: turns that could not be asked, and why.
    """

    methods: dict[str, dict[str, Any]]
    traces: dict[str, Trace]
    learned: dict[str, Learned]
    served: int
    asked: int
    unfollowed: dict[str, str]
    left_out: list[str]


class Run:
    """A stream and the methods that serve it side by side.

    Args:
        methods: by name, those at rest first. certify: keep what the certificate of the one that learns needs.
        low_noise: let a shared text be followed besides (``real/measure/low_noise.py``).

    Raises:
        ValueError: if no theorem covers the one to be certified.
    """

    def __init__(
        self,
        models: Models,
        methods: dict[str, Method],
        stream: Stream,
        serving: Serving,
        seed: int,
        certify: bool = False,
        low_noise: bool = False,
    ):
        with users_own(*_own(methods)):
            self.comparison = Comparison(models, methods, stream, serving, seed, certify, low_noise)
        self.learning = [name for name in methods if name not in AT_REST]
        self.after: list[Callable[[], None]] = []
        """Called when a request was done by every method."""
        self.state: State | None = None
        if certify:
            self._check_certified()

    def only(self, option: str) -> str:
        """The one method that ``option`` is about, the last if nothing learns; ValueError if several learn."""
        if len(self.learning) > 1:
            raise ValueError(f"{option} with the learners {', '.join(self.learning)}: is about one; give one --learner")
        return (self.learning or list(self.comparison.methods))[-1]

    def keep_state(self, path: Path, text: bool = False) -> None:
        """Go on from the file, if it is there, and save there after every request; with what text can be read from?

        Raises:
            ValueError: if it was saved by another learner or other models, or the requests are several tenants'.
        """
        comparison, name = self.comparison, self.only("--state")
        tenants = sorted({prompt.tenant for prompt in comparison.stream.prompts})
        if len(tenants) > 1:
            raise ValueError(
                f"--state {path}: holds what was learned from one tenant, and the prompts are of "
                f"{', '.join(map(repr, tenants))}; give each a prompts file and a state of its own"
            )
        comparison.turn_to(tenants[0])
        belongs = of_tenant(about(comparison.models, comparison.methods[name], comparison.servings[name]), tenants[0])
        decoder = comparison.decoders[name]
        take, give = partial(comparison.restore, name), partial(decoder.state, text)
        self.state = State(path, belongs, take, give, decoder.pair)
        self.state.restore()
        self.state.keep()  # a state that cannot be saved is known before the work is done
        self.after.append(self.state.keep)

    def go_on(self, folder: Path) -> None:
        """The run in the folder was taken up from its checkpoint: so is the file of its state.

        Raises:
            ValueError: if the file has learned elsewhere since; nothing is overwritten.
        """
        if self.state is not None:
            if self.state.ahead():
                raise ValueError(
                    f"--state {self.state.path}: has learned from other requests since the run in {folder} was "
                    "interrupted; nothing was overwritten. Choose another --out to begin a new run"
                )
            self.state.keep()

    def certify_every(self, rounds: int, tell: Callable[[int, dict[str, Certificate]], None]) -> None:
        """Tell the certificate so far every so many rounds; 0 waits for the end."""
        certifier = self.comparison.certifiers[self.only("--certify")]
        certifier.every, certifier.show = rounds, tell

    def keep_certificate(self, path: Path) -> None:
        """Find out whether the log can be written there.

        Raises:
            SettingsDiffer: if the log of a run with other settings is there.
        """
        done(path, self._certified_settings())

    def _certified_settings(self) -> dict[str, str]:
        name = self.only("--certify")
        return about(self.comparison.models, self.comparison.methods[name], self.comparison.servings[name])

    @property
    def certified_tenant(self) -> str | None:
        """Whose rounds the certificate is of; None where all requests are one tenant's."""
        return self.comparison.certifiers[self.only("--certify")].tenant if self.comparison.several else None

    def certified(self, path: Path) -> dict[str, Certificate]:
        """Write the certificate's log → certificates by comparator; none before the first round.

        Of several tenants' requests they are of one alone, ``certified_tenant``; the log's header names it.
        For a learner taken up from a state they are about this run alone.
        """
        certifier = self.comparison.certifiers[self.only("--certify")]
        if not certifier.rounds:
            return {}
        with users_own(*_own(self.comparison.methods)):
            log = certifier.log({"settings": self._certified_settings(), "tenant": certifier.tenant})
        log.save(path, private=True)
        return certificates(log)

    def serve(self, progress: Callable[[int, int], None]) -> bool:
        """Serve the stream; False if it was stopped by Ctrl-C, which leaves what was served by then.

        Raises:
            ValueError: if a gradient is not finite, or a user's own class fails.
            KeyboardInterrupt: if nothing was served before it.
        """
        try:
            with users_own(*_own(self.comparison.methods)):
                self.comparison.warm_up()
                self.comparison.run(progress, self._after)
        except ValueError as error:
            raise ValueError(f"{str(error).removesuffix('.')}{self._remedy(error)}") from None
        except KeyboardInterrupt:
            if not self.comparison.served:
                raise
            whole = self.comparison.served  # the request in flight was done by some methods only
            self.comparison.rows = {name: rows[:whole] for name, rows in self.comparison.rows.items()}
            return False
        return True

    def _remedy(self, error: ValueError) -> str:
        """What a user may do about it: where the state is, and which drafter of theirs has a fault."""
        drafters = {method.drafter for method in self.comparison.methods.values() if method.drafter}
        own = [spec for spec in drafters if str(error).startswith(f"{spec}:")]
        check = f". `python -m real check {own[0]}` tries it law by law" if own else ""
        return check + (f". The state from before this request is in {self.state.path}" if self.state else "")

    def _after(self) -> None:
        for one in self.after:
            one()

    def report(self) -> Measured:
        """What was measured of the requests that every method has served."""
        traces = {name: self.comparison.trace(name, {}) for name in self.comparison.methods}
        made, found = self.comparison, measures(Sample({0: traces}, units=by_prompt))
        learned = {name: self._learned(name, traces, found[name].get("relative_speedup")) for name in self.learning}
        return Measured(found, traces, learned, made.served, len(made.turns), made.unfollowed, made.left_out)

    def too_short(self) -> dict[str, Short]:
        """Learners that the stream cannot teach anything from some tenant: each tenant has a burn-in of its own."""
        made, found = self.comparison, {}
        for name in self.learning:
            learning = made.decoders[name].learning
            if self.state is not None or learning is None or not learning.learns:
                continue
            serving, most = learning.serving, Counter[str]()
            for turn in made.turns:
                most[turn.prompt.tenant] += serving.max_new_tokens
            for prompt, ids in zip(made.stream.prompts, made.asked, strict=True):
                most[prompt.tenant] += len(ids) if learning.learn_prompt else 0
            needed = serving.nu + (0 if learning.drafter.ready else serving.burn_in_rounds * serving.nu)
            short = {tenant: tokens for tenant, tokens in most.items() if tokens < needed}
            if short:
                found[name] = Short(short, len(most), needed)
        return found

    def _learned(self, name: str, traces: dict[str, Trace], net: Interval | None) -> Learned:
        decoder, takes_hints = self.comparison.decoders[name], self.comparison.methods[name].learner.takes_hints
        learning, logs = decoder.learning, decoder.logs
        idle = learning is not None and learning.learns and not any(log.rounds for log in logs)
        tokens, prompts = Counter[str](), self.comparison.stream.prompts
        for place, count in zip(*(traces[name].columns[key] for key in ("prompt", "tokens")), strict=True):
            tokens[prompts[int(place)].tenant] += int(count)
        return Learned(
            break_even({0: traces}, name) if "frozen" in traces else None,
            hint_gain(logs) if learning is not None and takes_hints else None,
            None if learning is None or learning.beside is None else learning.beside.seconds,
            max(tokens.values()) if idle else 0,
            net,
            len(tokens),
        )

    def _check_certified(self) -> None:
        name = self.only("--certify")
        if name not in self.comparison.certifiers:
            overlapped = ", overlapped" * self.comparison.servings[name].overlap
            raise ValueError(
                f"--certify with {self.comparison.methods[name]}{overlapped}: on a convex drafter OGD and "
                "OptimisticOGD with one step size and ensembles of OGD have a certificate, by forward KL on all "
                "positions, and Mixture and Hedge on a mixture; none with --overlap"
            )


def _own(methods: Mapping[str, Method]) -> list[Any]:
    """What may come from a user's files: drafters, losses, learners."""
    return [part for method in methods.values() for part in (method.drafter, method.loss, method.learner) if part]
