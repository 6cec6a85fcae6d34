# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Several drafters as one: lossless in law, weights that are Bayes' own, feedback from examined positions alone."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.drafters.independent import Independent  # noqa: E402
from real.drafters.mixture import Mixture  # noqa: E402
from real.drafters.ngram import NGram  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.decoder import Decoder, online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.serving.step import alone, generate  # noqa: E402
from real.verify.lossless import reference  # noqa: E402
from tests.tabular import TabularLM, enumerate_step, output_law, total_variation  # noqa: E402
from theory.learners.hedge import Hedge  # noqa: E402
from theory.learners.mixture import Mixture as Bayes  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402

PROMPT = [0, 1, 2, 0, 1]
V = 3


@pytest.fixture(scope="module")
def pair() -> Pair:
    target = random_model("llama", 0, "float64", vocab=128)
    return Pair(target, perturbed(target, 0.05, 1), None)


class Wide(NGram):
    """An n-gram model that keeps its law in float64, so that sums are exact."""

    def logits_after(self, drafted):
        context = [*self.texts[0].tokens[-self.order :], *map(int, drafted)][-self.order :]
        return self.law(context).log()[None]


def tabular(mode: str = "kl", seed: int = 0) -> Mixture:
    made = Mixture(
        [Independent(TabularLM.random(2, V), V), Wide(V, 2), Independent(TabularLM.random(3, V), V)], mode, seed
    )
    made.load(torch.tensor([0.5, 0.2, 0.3]))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["token", "block"])
@pytest.mark.parametrize(
    "mode, sampling", [("tv", Sampling(1.0)), ("tv", Sampling(0.7, top_k=2)), ("route", Sampling(0.7, top_k=2))]
)
def test_a_step_has_the_targets_law(mode, sampling, rule):
    """By enumeration of every outcome of a step; ``route`` for each part that could have been chosen."""
    target = TabularLM.random(1, V)
    chosen = set()
    for seed in range(8):
        leaves = enumerate_step(lambda seed=seed: alone(target, tabular(mode, seed), PROMPT, 9), 2, sampling, rule)
        assert sum(mass for mass, _, _ in leaves) == pytest.approx(1)
        law = output_law(target, PROMPT, leaves, 3, sampling)
        assert total_variation(law, target.text_law(PROMPT, 3, sampling)) < 1e-12
        chosen.add(tuple(leaves[0][1].draft_probs.flatten().tolist()))
        if mode != "route":
            break
    assert len(chosen) == (1 if mode != "route" else 3)


def test_mixed_law_is_the_weighted_sum():
    made = tabular()
    made.begin(list(PROMPT))
    parts = [made.parts[0].model.table, made.parts[2].model.table]
    row = PROMPT[-2] * V + PROMPT[-1]
    laws = [parts[0][row].softmax(-1), made.parts[1].law(PROMPT[-2:]), parts[1][row].softmax(-1)]
    want = 0.5 * laws[0] + 0.2 * laws[1] + 0.3 * laws[2]
    proposal = made.propose([1], Sampling(1.0), torch.tensor([[0.4]], dtype=torch.float64))
    torch.testing.assert_close(proposal.probs[0, 0].double(), want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", ["kl", "route"])
@pytest.mark.parametrize("sampling", [Sampling(0.0), Sampling(1.0)], ids=["greedy", "sampled"])
def test_feedback_is_the_parts_laws_at_committed_prefixes(pair, mode, sampling):
    """At every examined position the remembered laws are those of a fresh forward over the committed text."""
    parts = [make_drafter("independent", pair), Independent(perturbed(pair.target, 0.1, 5), 128)]
    made = Mixture(parts, mode, seed=1)
    made.keep_features()
    session = alone(pair.target, made, [5, 6, 7, 8], 40)
    steps = list(generate(session, 3, sampling, torch.Generator().manual_seed(2)))
    got = made.features(4, len(session.texts[0].tokens))
    served = sampling if not sampling.greedy else Sampling(1.0)
    with torch.inference_mode():
        fresh = torch.stack(
            [served.law(part.model.logits(torch.tensor(session.texts[0].tokens[:-1]))) for part in parts], 1
        )
    examined = []
    for step in steps:
        examined += [i < step.drafted and i <= step.accepted for i in range(len(step.tokens))]
    for i, yes in enumerate(examined):
        assert yes == bool(got[i].any())
        if yes:
            torch.testing.assert_close(got[i].double(), fresh[3 + i].double(), rtol=1e-5, atol=1e-6)
    assert 0 < sum(examined) < len(examined)


def test_tv_learns_from_every_position_but_a_bonus_token_that_ends_its_text():
    target = random_model("llama", 0, "float64", vocab=128)
    pair = Pair(target, perturbed(target, 0.05, 1), None)

    def served(*eos):
        """(new tokens, which of them were learned from, which are bonus tokens) of one request."""
        target.eos, seen, steps = frozenset(eos), [], []
        made = Mixture([make_drafter("independent", pair), Independent(perturbed(target, 0.1, 5), 128)], "tv")
        serving = Serving(3, 8, Sampling(1.0), 40)
        decoder = online_decoder(pair, made, Hedge(0.5), serving, 0, record=seen.extend, watch=steps.append)
        tokens, _ = decoder.serve([5, 6, 7, 8], Ledger())
        pieces = [*seen, *decoder.learning.rounds.pieces]
        learned = [piece.start + i - 4 for piece in pieces for i, laws in enumerate(piece.features) if laws.any()]
        ends = np.cumsum([len(one.tokens) for one in steps]).tolist()
        bonus = [end - 1 for end, one in zip(ends, steps, strict=True) if len(one.tokens) > one.accepted == one.drafted]
        return tokens, learned, bonus

    tokens, learned, bonus = served()
    assert learned == list(range(40))
    new = [at for at, token in enumerate(tokens) if token not in tokens[:at]]
    ending = next(at for at in new if at in bonus)
    assert served(tokens[ending])[:2] == (tokens[: ending + 1], list(range(ending)))
    other = next(at for at in new if at > ending and at not in bonus)
    assert served(tokens[other])[:2] == (tokens[: other + 1], list(range(other + 1)))


def test_weights_are_bayes_weights_of_the_committed_tokens(pair):
    """Greedy: the label is the token, f = −log law(y), and ε = 1 gives p_i·Π law_i(y) over examined positions."""
    made = Mixture(
        [make_drafter("independent", pair), NGram(128, 2), Independent(perturbed(pair.target, 0.1, 5), 128)], "kl"
    )
    seen: list = []
    serving = Serving(gamma=3, nu=8, sampling=Sampling(0.0), max_new_tokens=40)
    decoder = online_decoder(pair, made, Bayes(), serving, 0, record=seen.extend)
    for prompt in ([5, 6, 7, 8], [1, 2, 3], [9, 9, 9, 1]):
        decoder.serve(prompt, Ledger())
    logs = np.zeros(3)
    for piece in seen:
        for i, laws in enumerate(piece.features):
            if laws.any():
                logs += np.log(laws[:, piece.tokens[piece.start + i]].numpy())
    weights = np.exp(logs - logs.max())
    np.testing.assert_allclose(made.x.numpy(), weights / weights.sum(), rtol=1e-3, atol=1e-6)
    assert made.x.max() > 0.5


def test_the_mixture_pays_at_most_ln_n(pair):
    """Regret to the best part ≤ ln N after any number of positions, from the learner's own state."""
    made = Mixture([make_drafter("independent", pair), Independent(perturbed(pair.target, 0.2, 5), 128)], "kl")
    total, each = [], []

    def note(updates):
        total.extend(float(of.loss_t.value(decoder.learning.learner.predict(of.before))) for of in updates)
        each.extend(of.loss_t.value(torch.eye(2)).numpy() for of in updates)

    decoder = online_decoder(pair, made, Bayes(), Serving(3, 8, Sampling(1.0), 60), 0, on_round=note)
    for prompt in ([5, 6, 7, 8], [1, 2, 3]):
        decoder.serve(prompt, Ledger())
        assert sum(total) - np.sum(each, axis=0).min() <= np.log(2) + 1e-4
    assert len(total) > 40


@pytest.mark.parametrize("mode", ["tv", "kl", "route"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt_neox"])
def test_greedy_text_is_transformers_own(mode, family):
    target = random_model(family, 0, "float64", vocab=128)
    pair = Pair(target, perturbed(target, 0.05, 1), None)
    prompts = [[9], [5, 6, 7, 8], [7, 7, 1, 2]]
    made = make_drafter("mixture", pair, parts=("independent", "ngram", "eagle"), mode=mode)
    learner = Bayes() if mode == "kl" else Hedge(0.5)
    decoder = online_decoder(pair, made, learner, Serving(3, 8, Sampling(0.0), 40), 0)
    assert [decoder.serve(prompt, Ledger())[0] for prompt in prompts] == reference(pair, prompts, 40)
    assert not torch.equal(made.x, torch.full((3,), 1 / 3))


def test_it_goes_on_where_it_stopped(pair):
    def decoder() -> Decoder:
        made = Mixture([make_drafter("independent", pair), NGram(128, 2)], "route", 3)
        return online_decoder(pair, made, Hedge(0.5), Serving(3, 8, Sampling(1.0), 40), 0)

    whole, first, second = decoder(), decoder(), decoder()
    prompts = [[5, 6, 7, 8], [1, 2, 3], [4, 4, 5]]
    texts = [whole.serve(prompt, Ledger())[0] for prompt in prompts]
    parts = [first.serve(prompts[0], Ledger())[0]]
    second.restore(first.state())
    parts += [second.serve(prompt, Ledger())[0] for prompt in prompts[1:]]
    assert parts == texts
    assert torch.equal(second.drafter.x, whole.drafter.x)


def test_refusals(pair):
    with pytest.raises(ValueError, match="two parts"):
        Mixture([make_drafter("ngram", pair)])
    with pytest.raises(ValueError, match="mode='best'"):
        make_drafter("mixture", pair, mode="best")
    with pytest.raises(ValueError, match="none negative"):
        online_decoder(pair, make_drafter("mixture", pair), OGD(5.0), Serving(3, 8, Sampling(1.0), 40)).drafter.load(
            torch.tensor([1.5, -0.5, 0.0])
        )
    with pytest.raises(ValueError, match="none negative"):
        make_drafter("mixture", pair).load(torch.tensor([torch.nan, 0.5, 0.5]))
