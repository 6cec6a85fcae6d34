# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""The certificate of live decoding: true in every round, the same from the log alone, refused without a theorem."""

from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.drafters.objective import Objective  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.certify import Certifier, certifiable, certificates  # noqa: E402
from real.serving.decoder import Decoder, online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from theory.checker.certificate import paths, sequences  # noqa: E402
from theory.hints import MovingAverage, Zero  # noqa: E402
from theory.learner import Terms  # noqa: E402
from theory.learners.adahedge import AdaHedge  # noqa: E402
from theory.learners.adam import Adam  # noqa: E402
from theory.learners.ensemble import Ensemble  # noqa: E402
from theory.learners.fixed_share import FixedShare  # noqa: E402
from theory.learners.hedge import Hedge  # noqa: E402
from theory.learners.last_loss import LastLoss  # noqa: E402
from theory.learners.mixture import Mixture  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402
from theory.learners.optimistic import OptimisticOGD  # noqa: E402
from theory.runs.trace import Trace  # noqa: E402
from theory.step_size import SelfConfident  # noqa: E402


@dataclass(frozen=True)
class Halved(OGD):
    """A learner of a user's own: it plays in its own way, and its class says what proves it."""

    certified = True

    def update(self, state, loss_t, hint=None):
        return OGD(0.5 * self.step_size, self.domain).update(state, loss_t)

    def terms(self, before, after, x_t, grad_t, hint=None, expert=None):
        return Terms(x_t, grad_t, 0.5 * self.step_size)


SERVING = Serving(gamma=3, nu=8, sampling=Sampling(1.0), max_new_tokens=60)
CASES = {
    "ogd on an adapter": ("adapter", OGD(8.0), {}),
    "ogd on heads": ("heads", OGD(8.0), {}),
    "optimistic on heads": ("heads", OptimisticOGD(8.0, MovingAverage(0.9)), {}),
    "changing steps on heads": ("heads", OptimisticOGD(SelfConfident(64.0, 1.0), MovingAverage(0.9)), {}),
    "ensemble of optimists": ("heads", Ensemble(OptimisticOGD((2.0, 8.0), MovingAverage(0.9))), {}),
    "a user's own": ("heads", Halved(16.0), {}),
    "the prompt as hint": ("heads", OptimisticOGD(8.0, Zero()), {"prompt_hint": 0.2}),
    "the prompt learned": ("heads", OGD(8.0), {"learn_prompt": True}),
    "ensemble on an adapter": ("adapter", Ensemble(OGD((2.0, 8.0, 32.0))), {}),
    "ensemble on heads": ("heads", Ensemble(OGD((2.0, 8.0)), Hedge(0.5)), {}),
    "ensemble by the last loss": ("heads", Ensemble(OGD((2.0, 8.0, 32.0)), LastLoss()), {}),
    "mixture": ("mixture", Mixture(), {}),
    "routing": ("routing", Hedge(0.5), {}),
    "mixture by total variation": ("tv", Hedge(0.3), {}),
    "the same, untuned": ("tv", AdaHedge(), {}),
    "the same, shared": ("tv", FixedShare(0.3, 0.01, surrogate=True), {}),
}
WITH_COUNTS = {"parts": ("independent", "ngram")}
EXPERTS = {"mixture": WITH_COUNTS | {"mode": "kl"}, "routing": WITH_COUNTS | {"mode": "route"}, "tv": {}}
"""Drafters that are mixtures."""
MIXTURES = ("mixture", "routing", "mixture by total variation")


@pytest.fixture(scope="module")
def pair() -> Pair:
    target = random_model("llama", 0, "float32", vocab=128)
    return Pair(target, perturbed(target, 0.1, 1), None)


def decoder(pair: Pair, drafter: str, learner, **more) -> Decoder:
    settings = {"burn_in": 16} if drafter in ("adapter", "heads") else EXPERTS.get(drafter, {})
    made = make_drafter("mixture" if drafter in EXPERTS else drafter, pair, **settings)
    return online_decoder(pair, made, learner, SERVING, 5, **more)


@pytest.mark.parametrize("name", CASES)
def test_a_certificate_holds_in_every_round_and_comes_back_from_the_log(pair, name, tmp_path):
    drafter, learner, more = CASES[name]
    made = decoder(pair, drafter, learner, **more)
    shown: list = []
    assert certifiable(made.learning)
    certifier = Certifier(learner, every=5, show=lambda rounds, found: shown.append((rounds, found)))
    served: list[float] = []

    def note(updates):
        """The losses of what was being served: the decision before the round's first update."""
        x = learner.predict(updates[0].before, updates[0].hint_t)
        served.extend(float(of.loss_t.value(x)) for of in updates)
        certifier.note(updates)

    made.learning.on_round = note
    for prompt in ([5, 6, 7, 8], [1, 2, 3, 1, 2, 3], [9, 8, 7], [4, 4, 4, 2]):
        made.serve(prompt, Ledger())
    log = certifier.log()
    experts, often = drafter in EXPERTS, drafter in ("mixture", "routing")  # the latter update once a position
    np.testing.assert_allclose(log.columns["loss"], served, rtol=1e-5, atol=1e-7)
    assert len(served) > made.learning.log.rounds if often else len(served) == made.learning.log.rounds
    if not experts:
        np.testing.assert_allclose(log.columns["loss"], [entry.loss for entry in made.learning.log.lines], rtol=1e-5)
        np.testing.assert_allclose(
            log.columns["squared_error"], [entry.hint_error for entry in made.learning.log.lines], rtol=1e-4
        )
    for sequence in sequences(log).values():
        regret, bound = paths(log, sequence)
        assert np.all(bound - regret >= -1e-6 * np.abs(bound))
    found = certificates(log)
    if not experts:
        assert found["fixed"].dynamic_regret >= found["frozen"].dynamic_regret - 1e-6, "hindsight beats standing still"
    log.save(tmp_path / "log")
    again = certificates(Trace.load(tmp_path / "log"))
    for comparator, certificate in found.items():
        np.testing.assert_allclose(again[comparator], certificate, rtol=1e-9)
    assert [rounds for rounds, _ in shown] == list(range(5, made.learning.log.rounds + 1, 5))
    assert all(of.slack >= 0 for _, each in shown for of in each.values())


def test_a_run_taken_up_from_a_state_is_certified_from_there(pair):
    """The moving average it goes on with is part of what was played."""
    learner = OptimisticOGD(8.0, MovingAverage(0.9))
    first, second = (decoder(pair, "heads", learner) for _ in range(2))
    for prompt in ([5, 6, 7, 8], [1, 2, 3, 1, 2, 3]):
        first.serve(prompt, Ledger())
    second.restore(first.state())
    before, certifier = second.learning.log.rounds, Certifier(learner)
    second.learning.on_round = certifier.note
    second.serve([9, 8, 7], Ledger())
    log = certifier.log()
    assert before > 3
    later = list(second.learning.log.lines)[before:]
    np.testing.assert_allclose(log.columns["loss"], [entry.loss for entry in later], rtol=1e-5)
    errors = [entry.hint_error for entry in later]
    np.testing.assert_allclose(log.columns["squared_error"], errors, rtol=1e-4)


@pytest.mark.parametrize("name", MIXTURES)
def test_weights_taken_up_from_a_state_are_certified_from_there(pair, name):
    """What they had learned before is where the log begins; it is not paid again."""
    drafter, learner, _ = CASES[name]
    first, second = (decoder(pair, drafter, learner) for _ in range(2))
    for prompt in ([5, 6, 7, 8], [1, 2, 3, 1, 2, 3]):
        first.serve(prompt, Ledger())
    second.restore(first.state())
    certifier = Certifier(learner)
    second.learning.on_round = certifier.note
    second.serve([9, 8, 7], Ledger())
    log = certifier.log()
    weights = learner.predict(certifier.first)
    assert float((weights - 1 / len(weights)).abs().max()) > 1e-4
    np.testing.assert_allclose(
        log.header["start"][: len(weights)],
        -weights.double().log().numpy() / learner.meta_step_size,
        rtol=1e-4,
        atol=1e-6,
    )
    assert certificates(log)["fixed"].slack >= 0


@pytest.mark.parametrize("name", ["mixture by total variation", "the same, untuned", "mixture"])
def test_weights_are_certified_against_the_best_mixture_where_the_theorem_covers_it(pair, name):
    """It is better than the best part alone, and no mixture of a grid is better than it."""
    drafter, learner, _ = CASES[name]
    made, certifier = decoder(pair, drafter, learner), Certifier(learner)
    made.learning.on_round = certifier.note
    for prompt in ([5, 6, 7, 8], [1, 2, 3, 1, 2, 3], [9, 8, 7]):
        made.serve(prompt, Ledger())
    log, parts = certifier.log(), made.drafter.dimension
    totals = log.columns["candidate_loss"].sum(0)
    assert len(totals) == parts + (not learner.experts_only)
    if learner.experts_only:
        return
    assert totals[-1] < totals[:-1].min()
    losses = [loss for updates in certifier.rounds for loss, _ in updates]
    for weights in torch.distributions.Dirichlet(torch.ones(parts, dtype=torch.float64)).sample((200,)):
        assert totals[-1] <= sum(float(loss.value(weights.float())) for loss in losses) + 1e-4 * len(losses) + 1e-5
    assert certificates(log)["fixed"].slack >= 0


def test_a_certificate_can_fail(pair):
    """A learner that steps uphill is not covered: its slack goes negative."""
    made = decoder(pair, "adapter", OGD(8.0))
    certifier = Certifier(OGD(8.0))
    made.learning.on_round = certifier.note
    for prompt in ([5, 6, 7, 8], [1, 2, 3, 1, 2, 3]):
        made.serve(prompt, Ledger())
    log = certifier.log()
    log.columns["loss"] = log.columns["frozen_loss"] + 5.0
    regret, bound = paths(log, np.ones(len(log.columns["loss"]), dtype=int))
    assert regret[-1] > bound[-1]


def test_where_no_theorem_holds_there_is_no_certificate(pair):
    assert not certifiable(decoder(pair, "weights", OGD(0.01)).learning)
    assert not certifiable(decoder(pair, "adapter", Adam(0.01)).learning)
    assert not certifiable(decoder(pair, "adapter", OGD(8.0), objective=Objective("tv")).learning)
    assert not certifiable(decoder(pair, "adapter", OGD(8.0), objective=Objective(positions="wrong")).learning)
    with pytest.raises(ValueError, match="no round was learned yet"):
        Certifier(OGD(8.0)).log()


@pytest.mark.parametrize("name", ["ogd on an adapter", "ensemble on heads", "the prompt as hint", *MIXTURES])
def test_a_run_that_was_interrupted_keeps_its_certificate(pair, name):
    """Noted, kept and taken up in two parts by other decoders, it is bit for bit that of a run that was not."""
    drafter, learner, more = CASES[name]
    prompts = ([5, 6, 7, 8], [1, 2, 3, 1, 2, 3], [9, 8, 7], [4, 4, 4, 2])
    found = []
    for cuts in ((), (1, 3)):
        made, certifier, kept = decoder(pair, drafter, learner, **more), Certifier(learner), []
        for i, prompt in enumerate(prompts):
            if i in cuts:
                kept, state = [*kept, certifier.state()], made.state()
                made, certifier = decoder(pair, drafter, learner, **more), Certifier(learner)
                made.restore(state)
                for part in kept:
                    certifier.restore(part, made.learning)
            made.learning.on_round, made.learning.record = certifier.note, certifier.see
            made.serve(prompt, Ledger())
        found.append(str(certificates(certifier.log())))  # nan is nan
    assert found[0] == found[1]
