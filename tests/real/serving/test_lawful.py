# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Logits that give no law stop the step that would choose from them, with the request and the position."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters.adapter import Adapter  # noqa: E402
from real.drafters.independent import Independent  # noqa: E402
from real.drafters.mixture import Mixture  # noqa: E402
from real.drafters.uniform import Uniform  # noqa: E402
from real.models.hf import CausalLM, Pair  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.decoder import Decoder, in_order, online_decoder  # noqa: E402
from real.serving.lawful import NoLaw  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import RULES, Serving  # noqa: E402
from real.serving.step import alone, generate  # noqa: E402
from real.verify.lossless import random_pair, reference  # noqa: E402
from tests.tabular import TabularLM  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402

V = 8
BAD = {
    "nan": lambda row: row.index_fill_(0, torch.tensor([3]), torch.nan),
    "all nan": lambda row: row.fill_(torch.nan),
    "+inf": lambda row: row.index_fill_(0, torch.tensor([3]), torch.inf),
    "all -inf": lambda row: row.fill_(-torch.inf),
}
SAMPLINGS = {
    "greedy": Sampling(0.0),
    "sampled": Sampling(1.0),
    "cut": Sampling(0.7, 3, 0.9),
    "near greedy": Sampling(1e-39),
}


def counting(shift: int = 1) -> TabularLM:
    """After token t comes t + shift, nearly surely; ids 0 and 7 are never said by the other of two shifts."""
    table = torch.full((V, V, V), -torch.inf, dtype=torch.float64)
    for token in range(V):
        table[:, token, (token + shift) % V] = 60.0
        table[:, token, (token + shift + 1) % V] = 0.0
    return TabularLM(table.reshape(V * V, V))


def spoilt(model: TabularLM, before: int, last: int, how: str) -> TabularLM:
    """The same with no law after these two tokens."""
    table = model.table.clone()
    BAD[how](table[before * V + last])
    return TabularLM(table)


def served(target, drafter, sampling, rule="token"):
    """The text of 8 new tokens after 0, 1, as far as it came, and the error if any."""
    session = alone(target, drafter, [0, 1], 8, key=0)
    try:
        for _ in generate(session, 3, sampling, torch.Generator().manual_seed(0), rule=rule):
            pass
    except NoLaw as error:
        return session.texts[0].tokens, str(error)
    return session.texts[0].tokens, ""


TEXT = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]
DRAFTERS = {
    "plain": lambda draft: None,
    "independent": lambda draft: Independent(draft, V),
    "mixture": lambda draft: Mixture([Independent(draft, V), Uniform(V)]),
}


@pytest.mark.parametrize("how", BAD)
@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
@pytest.mark.parametrize("drafter", DRAFTERS)
@pytest.mark.parametrize("rule", RULES)
def test_a_target_without_a_law_says_where_and_commits_only_what_came_before(how, sampling, drafter, rule):
    text, error = served(spoilt(counting(), 4, 5, how), DRAFTERS[drafter](counting()), sampling, rule)
    assert "target: no law of token 6 of the text, for its logits are NaN or +inf, or all are -inf; serve" in error
    assert text == TEXT[: len(text)]
    assert 3 <= len(text) <= 6
    if drafter == "plain":
        assert len(text) == 6


@pytest.mark.parametrize("how", BAD)
@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
@pytest.mark.parametrize("drafter", ["independent", "mixture"])
def test_a_drafter_without_a_law_is_named(how, sampling, drafter):
    made = DRAFTERS[drafter](spoilt(counting(), 4, 5, how))
    text, error = served(counting(), made, sampling)
    assert f"drafter={type(made).__name__}: no law of token 6 of the text" in error
    assert "the text before it is the target's own" in error
    assert text == TEXT[: len(text)]


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_minus_infinity_is_a_law_s_own_and_a_path_that_was_refused_may_have_none(sampling, drafter):
    """The draft counts by twos: what the target would say after 1, 3 is never needed."""
    text, error = served(spoilt(counting(), 1, 3, "nan"), DRAFTERS[drafter](counting(2)), sampling)
    assert (text, error) == (TEXT, "")


@pytest.fixture(scope="module")
def pair():
    """Any text with the token 9 in it has no law from there on."""
    made = random_pair("llama", "float64")
    made.target.model.get_input_embeddings().weight.data[9] = torch.nan
    return made


PROMPTS = [[5, 6, 7], [5, 9, 6], [7, 8]]


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("sampling", [Sampling(0.0), Sampling(1.0)], ids=["greedy", "sampled"])
def test_the_request_is_named_and_what_served_it_serves_others_after(pair, rows, sampling):
    serving = Serving(3, 8, sampling, 4)
    decoder = Decoder(pair, Independent(pair.draft, pair.target.vocab), serving, rows=rows)
    with pytest.raises(NoLaw, match="target: no law of token 3 of request 2, for"):
        list(decoder.serve_all(PROMPTS, Ledger()))
    (request,) = decoder.serve_all(PROMPTS[:1], Ledger())
    assert len(request.tokens) == 4


@pytest.mark.parametrize("drafted", [True, False])
def test_a_generation_config_that_leaves_no_token_is_named(drafted):
    """Not before, for it depends on the text: 20 ids are left, each once."""
    model = random_model("llama", 0).model
    model.generation_config.no_repeat_ngram_size = 1
    model.generation_config.suppress_tokens = list(range(20, 512))
    target = CausalLM(model, "target")
    pair = Pair(target, perturbed(target, 0.03, 1), None)

    def decoder(new: int) -> Decoder:
        drafter = Independent(pair.draft, target.vocab) if drafted else None
        return Decoder(pair, drafter, Serving(3, 8, Sampling(0.0), new))

    (request,) = decoder(20).serve_all([[30]], Ledger())
    assert sorted(request.tokens) == list(range(20))
    with pytest.raises(
        NoLaw, match=r"no law of token 21 of request 1, .*its generation config shapes .*suppress_tokens"
    ):
        list(decoder(21).serve_all([[30]], Ledger()))


def test_a_prompt_s_positions_are_not_learned_from_where_they_have_no_law(pair):
    made = Adapter(pair.draft, pair.target.vocab, burn_in=4)
    decoder = online_decoder(pair, made, OGD(1.0), Serving(3, 8, Sampling(1.0), 4), learn_prompt=True)
    with pytest.raises(NoLaw, match=r"target: no law of token \d of request 2, for"):
        list(decoder.serve_all(PROMPTS, Ledger()))


def test_a_temperature_too_small_to_divide_by_is_greedy():
    for temperature in (1e-39, 1e-320, 5e-324):
        assert Sampling(temperature, 3, 0.9) == Sampling(0.0, 3, 0.9)
        assert Sampling(temperature).greedy
    logits = torch.tensor([[3.0, 8e6, -1.0]])
    for temperature in (1e-31, 1e-30, 1e-10):
        sampling = Sampling(temperature)
        assert not sampling.greedy
        assert sampling.law(logits).tolist() == [[0, 1, 0]]


def test_at_a_temperature_too_small_to_divide_by_the_text_is_the_greedy_one():
    pair = random_pair("llama", "float32")
    decoder = Decoder(pair, Independent(pair.draft, pair.target.vocab), Serving(3, 8, Sampling(1e-39), 20))
    texts = [request.tokens for request in in_order(decoder.serve_all(PROMPTS, Ledger()))]
    assert texts == reference(pair, PROMPTS, 20)
