# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Tenants: nothing that one of them asked reaches another's drafts, laws, numbers or state; each goes on as before."""

from dataclasses import dataclass, field, replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import DRAFTERS, drafter_class, make_drafter  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.certify import Certifier, certificates  # noqa: E402
from real.serving.decoder import Decoder, in_order, online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.verify.lossless import BY_WAYS, random_pair, random_prompts  # noqa: E402
from theory.hints import LastGradient  # noqa: E402
from theory.learners.adam import Adam  # noqa: E402
from theory.learners.frozen import Frozen  # noqa: E402
from theory.learners.hedge import Hedge  # noqa: E402
from theory.learners.mixture import Mixture  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402
from theory.learners.optimistic import OptimisticOGD  # noqa: E402
from theory.runs.practice import ADAPTER_LEARNERS  # noqa: E402

SERVING = Serving(3, 8, Sampling(1.0), 20, burn_in=16)
PROMPTS = random_prompts(3, 512, 3)


@dataclass
class Way:
    """One way to draft and to learn."""

    drafter: str = "adapter"
    learner: object = OGD(8.0)
    settings: dict = field(default_factory=dict)
    learning: dict = field(default_factory=dict)
    serving: dict = field(default_factory=dict)


WAYS = {
    **{name: Way(name, drafter_class(name).trial if drafter_class(name).trains else Frozen()) for name in DRAFTERS},
    **{f"adapter, {name}": Way(learner=ADAPTER_LEARNERS[name]) for name in ("ensemble", "optimistic", "adam")},
    "plain": Way("", Frozen()),
    "adapter": Way(),
    "weights": Way("weights", Adam(1e-3)),
    "mixture": Way("mixture", Mixture()),
    "routing": Way("mixture", Hedge(1.0), {"mode": "route", "parts": ("independent", "ngram", "heads")}),
    "prompt hint": Way(learner=OptimisticOGD(8.0, LastGradient()), learning={"prompt_hint": 0.5}),
    "learned prompts": Way(learning={"learn_prompt": True}),
    "overlap": Way(serving={"overlap": True}),
    "by cost": Way(serving={"costs": (1.0, 1.2, 1.4, 1.6)}),
    "levels": Way("mixture", Hedge(0.3), serving={"gamma": 4, **BY_WAYS, "way_costs": ()}),
    "ways": Way("mixture", Hedge(0.3), serving={"gamma": 4, **BY_WAYS}),
    "greedy n-grams": Way("ngram", Frozen(), serving={"sampling": Sampling(0.0)}),
}
_pair: list = []


def decoder(way: Way, rows: int = 1, **more) -> Decoder:
    if not _pair:
        _pair.append(random_pair("llama", "float64"))
    serving = replace(SERVING, **way.serving)
    whitens = bool(way.drafter) and drafter_class(way.drafter).whitens
    settings = ({"burn_in": serving.burn_in} if whitens else {}) | way.settings
    made = make_drafter(way.drafter, _pair[0], **settings) if way.drafter else None
    return online_decoder(_pair[0], made, way.learner, serving, 5, rows, **way.learning, **more)


def serve(made: Decoder, tenant, prompts=PROMPTS) -> list[tuple]:
    """All that a tenant could see of its requests: every step's tokens, drafts and laws."""
    seen = []
    for request, step in made.steps(prompts, Ledger(), tenant):
        laws = [None if law is None else law.clone() for law in (step.draft_probs, step.target_probs)]
        seen.append((request.number, step.tokens, step.drafted_tokens, *laws))
    return seen


def same(one: list[tuple], other: list[tuple]) -> bool:
    def equal(a, b) -> bool:
        return torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a is b or a == b

    return len(one) == len(other) and all(
        equal(a, b) for mine, theirs in zip(one, other, strict=True) for a, b in zip(mine, theirs, strict=True)
    )


def same_state(one: Decoder, other: Decoder) -> bool:
    mine, theirs = one.state(), other.state()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


ALONE = ("prompt hint", "overlap", "by cost", *(name for name in WAYS if name.startswith("adapter,")))
EACH = [(name, rows) for name in WAYS for rows in (1, 3) if rows == 1 or name not in ALONE]


@pytest.mark.parametrize(("name", "rows"), EACH)
def test_a_tenant_is_served_as_by_a_decoder_of_its_own(name, rows):
    """Steps, laws and states, bit for bit: before, between and after another's requests for the very same texts."""
    way = WAYS[name]
    shared, own_a, own_b = (decoder(way, rows) for _ in range(3))
    assert same(serve(shared, "a"), serve(own_a, "a"))
    assert same(serve(shared, "b"), serve(own_b, "b"))
    assert same_state(shared, own_b)
    if shared.drafter is not None and shared.learning.learns:
        assert shared.learning.log.rounds > 2
    assert same(serve(shared, "a", PROMPTS[:2]), serve(own_a, "a", PROMPTS[:2]))
    assert same_state(shared, own_a)
    assert same(serve(shared, "b", PROMPTS[:1]), serve(own_b, "b", PROMPTS[:1]))


def test_requests_of_several_tenants_take_rows_in_turn():
    way, whose = WAYS["adapter"], ["a", "a", "b", "b", "b", "a", ""]
    made, prompts = decoder(way, 2), [*PROMPTS, *PROMPTS, PROMPTS[0]]
    beside: list[set] = []
    made.watch = lambda step: beside.append({whose[request.number] for request in made.requests})
    served = [request.tokens for request in in_order(made.serve_all(prompts, Ledger(), whose))]
    assert {len(together) for together in beside} == {1}
    for tenant in ("a", "b", ""):
        own = decoder(way, 2)
        for start, stop in ((0, 2), (2, 5), (5, 6), (6, 7)):
            if whose[start] == tenant:
                found = own.serve_all(prompts[start:stop], Ledger(), tenant)
                assert [request.tokens for request in in_order(found)] == served[start:stop]


def test_tenants_draw_numbers_of_their_own_and_the_default_one_those_of_the_seed():
    texts = {}
    for tenant in ("", "a", "b"):
        texts[tenant] = [decoder(WAYS["plain"], rows).serve(PROMPTS[0], Ledger(), tenant)[0] for rows in (1, 2)]
    assert texts[""][0] == decoder(WAYS["plain"]).serve(PROMPTS[0], Ledger())[0]
    for row in (0, 1):
        assert len({tuple(found[row]) for found in texts.values()}) == 3


def test_memories_are_so_many_and_whose_turn_was_longest_ago_is_forgotten():
    made, fresh = (decoder(WAYS["ngram"], tenants=2) for _ in range(2))
    first = serve(made, "a")
    for tenant in ("b", "a", "c"):
        serve(made, tenant, PROMPTS[:1])
    assert [made.remembers(tenant) for tenant in ("", "a", "b", "c")] == [False, True, False, True]
    assert same(serve(made, "b", PROMPTS[:1]), serve(fresh, "b", PROMPTS[:1]))
    assert not made.remembers("a")
    assert same(serve(made, "a"), first)
    with pytest.raises(
        ValueError, match=r"tenants=0\): must be a whole number of at least 1; so many memories are kept"
    ):
        decoder(WAYS["ngram"], tenants=0)


def test_a_memory_that_cannot_be_taken_up_is_nobodys(monkeypatch):
    """What failed half-way serves neither tenant."""
    made, own_a, own_b = (decoder(WAYS["ngram"]) for _ in range(3))
    for one, tenants in ((made, "ab"), (own_a, "a"), (own_b, "b")):
        for tenant in tenants:
            serve(one, tenant)
    with monkeypatch.context() as patch:
        patch.setattr(type(made.learning), "take_up", lambda self, learned: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            serve(made, "a")
    assert same(serve(made, "b"), serve(own_b, "b"))
    assert same(serve(made, "a"), serve(own_a, "a"))


def test_a_round_under_way_waits_for_its_tenant_and_its_sampling():
    """Another's temperature is no reason to drop it."""
    way, cold = WAYS["adapter"], replace(SERVING, sampling=Sampling(0.5))
    made, own = decoder(way), decoder(way)
    for one in (made, own):
        serve(one, "a", [[7, 8, 9]] * 2 + PROMPTS[:1])
        one.serving = replace(SERVING, max_new_tokens=3)
        serve(one, "a", PROMPTS[1:2])
        one.serving = SERVING
    assert made.learning.rounds.pieces
    made.turn_to("b")
    made.settle(cold, 1)
    serve(made, "b")
    made.turn_to("a")
    made.settle(SERVING, 1)
    assert same_state(made, own)
    made.turn_to("b")
    assert made.learning.sampling == cold.sampling
    serve(made, "b")  # now as the decoder samples
    assert made.learning.sampling == SERVING.sampling


def test_certificates_are_of_one_tenants_rounds():
    made, own = decoder(WAYS["adapter"]), decoder(WAYS["adapter"])
    for one in (made, own):
        one.learning.on_round = Certifier(one.learning.learner).note
    for tenant in ("a", "b", "a"):
        serve(made, tenant)
        if tenant == "a":
            serve(own, "a")
    found, wanted = (certificates(one.learning.on_round.__self__.log()) for one in (made, own))
    assert repr(found) == repr(wanted)  # some of it is not known, nan
    assert all(one.slack >= 0 for one in found.values())


def test_who_is_no_name_is_told():
    made = decoder(WAYS["plain"])
    for tenant in (7, None, ("a",)):
        with pytest.raises(ValueError, match=r"tenant=.*: must be a string that names whose request it is"):
            made.turn_to(tenant)
    steps = made.steps(PROMPTS, Ledger(), "a")
    next(steps)
    with pytest.raises(ValueError, match="are being served; read their stream to its end"):
        made.turn_to("b")
    steps.close()


def test_a_drafters_state_is_of_tensors(monkeypatch):
    """Told before anything is served."""
    monkeypatch.setattr(drafter_class("uniform"), "state", lambda self: {"seen": 3})
    with pytest.raises(ValueError, match=r"state entry 'seen'=3: must be a tensor; make it one in the drafter's state"):
        decoder(WAYS["uniform"])


def integers(state: dict) -> list[int]:
    whole = [part for key, part in state.items() if not key.endswith("rng") and not part.is_floating_point()]
    return [int(number) for part in whole for number in part.view(-1)]


@pytest.mark.parametrize("name", WAYS)
def test_a_state_without_text_holds_none_and_is_taken_up(name):
    """No token, law or feature of it: texts that teach nothing leave no trace at all."""
    way = WAYS[name]
    one, other, again = (decoder(way) for _ in range(3))
    one.serving = other.serving = replace(one.serving, max_new_tokens=21)  # so that a round is under way
    serve(one, "", [[401, 402, 403], *PROMPTS[:2]])
    serve(other, "", [[301, 302, 303], PROMPTS[2], PROMPTS[2]])
    state, theirs = one.state(text=False), other.state(text=False)
    assert not any(key.startswith(("rounds.", "hint")) for key in state)
    assert max(integers(state), default=0) <= 16
    if not (one.learning is not None and one.learning.learns):
        assert all(torch.equal(state[key], theirs[key]) for key in state if not key.endswith(("rng", "lengths")))
    again.restore(state)
    serve(again, "", PROMPTS[:1])
    if way.learning.get("prompt_hint") is None and name != "ngram" and one.drafter is not None:
        assert "x" not in state or torch.equal(state["x"], one.state()["x"])


def test_a_burn_in_without_text_begins_again():
    """Fewer features than the width span a space that only tokens which were read lie in, whatever is kept of it."""
    made, again = (decoder(Way(serving={"burn_in": 64})) for _ in range(2))
    made.serving = replace(made.serving, max_new_tokens=16)
    serve(made, "", PROMPTS[:2])
    assert len(made.state()["drafter.burned"]) == 32
    state = made.state(text=False)
    assert len(state["drafter.burned"]) == 0
    again.restore(state)
    again.serving = replace(again.serving, max_new_tokens=40)
    serve(again, "", [*PROMPTS, *PROMPTS])
    assert again.drafter.ready
