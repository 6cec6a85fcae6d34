# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Drafters: features of committed prefixes equal a fresh forward, swaps and losses mean what they say."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import Piece, make_drafter  # noqa: E402
from real.drafters.ngram import NGram  # noqa: E402
from real.drafters.objective import Objective  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.step import Session, alone, generate  # noqa: E402
from real.systems.choose import changed  # noqa: E402
from real.systems.rows import Method  # noqa: E402

PROMPT = [5, 6, 7, 8]
SAMPLED = Sampling(0.8)


def make_pair(dtype="float32", draft_vocab=None, family="qwen3") -> Pair:
    target = random_model(family, 0, dtype)
    return Pair(target, perturbed(target, 0.03, 1, draft_vocab), None)


@pytest.fixture(scope="module")
def pair() -> Pair:
    return make_pair()


def serve(pair: Pair, drafter, new=40, gamma=3, sampling=SAMPLED, prompt=PROMPT, **kwargs) -> tuple[Session, list]:
    session = alone(pair.target, drafter, prompt, new, **kwargs)
    steps = list(generate(session, gamma, sampling, torch.Generator().manual_seed(3)))
    drafter.catch_up()
    return session, steps


def piece_of(session: Session, steps: list, drafter) -> Piece:
    start, stop = session.texts[0].prompt_length, len(session.texts[0].tokens)
    probs = torch.cat([done.target_probs for done in steps])
    return Piece(session.texts[0].tokens, start, stop, probs, drafter.features(start, stop))


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gpt_neox"])
def test_features_are_those_of_a_fresh_forward(family):
    pair = make_pair("float64", family=family)
    drafter = make_drafter("adapter", pair)
    session, _ = serve(pair, drafter)
    with torch.inference_mode():
        fresh = pair.draft.hidden(torch.tensor(session.texts[0].tokens[:-1]))
    start, stop = session.texts[0].prompt_length, len(session.texts[0].tokens)
    torch.testing.assert_close(drafter.features(start, stop), fresh[start - 1 :], rtol=1e-10, atol=1e-10)
    drafter.forget(start + 10)
    torch.testing.assert_close(drafter.features(start + 10, stop), fresh[start + 9 :], rtol=1e-10, atol=1e-10)


def test_features_survive_forgetting_between_steps(pair):
    drafter = make_drafter("adapter", pair)
    session = alone(pair.target, drafter, PROMPT, 60)
    taken, position = [], len(PROMPT)
    for done in generate(session, 3, SAMPLED, torch.Generator().manual_seed(4)):
        drafter.catch_up()
        taken.append(drafter.features(position, len(session.texts[0].tokens)))
        position += len(done.tokens)
        drafter.forget(position)
        assert sum(len(rows) for rows in drafter.states[0].parts) <= 1
    with torch.inference_mode():
        fresh = pair.draft.hidden(torch.tensor(session.texts[0].tokens[:-1]))
    torch.testing.assert_close(torch.cat(taken), fresh[len(PROMPT) - 1 :], rtol=1e-4, atol=1e-4)


def test_catching_up_changes_nothing(pair):
    texts = []
    for catch in (False, True):
        drafter = make_drafter("adapter", pair)
        session = alone(pair.target, drafter, PROMPT, 40)
        for _ in generate(session, 3, SAMPLED, torch.Generator().manual_seed(5)):
            if catch:
                drafter.catch_up()
        texts.append(session.texts[0].tokens)
    assert texts[0] == texts[1]


@pytest.mark.parametrize("draft_vocab", [None, 500, 520])
def test_adapter_serves_the_law_its_loss_describes(draft_vocab):
    """The law drafted from (head(h + B·h)) and the law in the loss (W·h + Q·Xᵀ·M·h) are the same function of x."""
    pair = make_pair(draft_vocab=draft_vocab)
    drafter = make_drafter("adapter", pair, burn_in=20)
    session, steps = serve(pair, drafter)
    drafter.absorb([piece_of(session, steps, drafter)])
    assert drafter.ready
    x = 3.0 * torch.randn(drafter.dimension, generator=torch.Generator().manual_seed(0))
    drafter.load(x)
    assert torch.equal(drafter.x, x)
    session, steps = serve(pair, drafter)
    piece = piece_of(session, steps, drafter)
    described = drafter.loss([piece], Objective(temperature=SAMPLED.temperature)).draft_probs(x)
    offset = 0
    for done in steps:
        examined = min(done.accepted + 1, done.drafted, len(done.tokens))
        got, want = done.draft_probs[:examined, : drafter.common], described[offset : offset + examined]
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-5)
        offset += len(done.tokens)


def test_adapter_is_the_frozen_draft_at_zero_and_until_the_burn_in_ends(pair):
    drafter = make_drafter("adapter", pair, burn_in=1000)
    hidden = torch.randn(3, 64)
    assert torch.equal(drafter.logits(hidden), pair.draft.head(hidden))
    drafter.load(torch.zeros(drafter.dimension))
    assert torch.equal(drafter.logits(hidden), pair.draft.head(hidden))
    session, steps = serve(pair, drafter)
    before = drafter.whitening.clone()
    drafter.absorb([piece_of(session, steps, drafter)])
    assert not drafter.ready
    assert torch.equal(before, drafter.whitening)


def test_whitened_features_have_unit_mean_square(pair):
    drafter = make_drafter("adapter", pair, burn_in=400)
    session, steps = serve(pair, drafter, new=400, sampling=Sampling(1.0))
    piece = piece_of(session, steps, drafter)
    drafter.absorb([piece])
    features = drafter.loss([piece]).features
    assert float((features**2).sum(-1).mean()) == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(drafter.q.T @ drafter.q, torch.eye(64), rtol=0, atol=1e-5)


def test_adapter_state_resumes(pair):
    drafter = make_drafter("adapter", pair, burn_in=20)
    session, steps = serve(pair, drafter)
    drafter.absorb([piece_of(session, steps, drafter)])
    drafter.load(torch.randn(drafter.dimension))
    again = make_drafter("adapter", pair, burn_in=20)
    again.load(drafter.x)
    again.restore(drafter.state())
    hidden = torch.randn(2, 64)
    assert torch.equal(again.logits(hidden), drafter.logits(hidden))
    assert again.ready


@pytest.mark.parametrize("name", ["adapter", "weights"])
def test_gradient_is_the_derivative_and_copies_are_independent(name):
    pair = make_pair()
    drafter = make_drafter(name, pair)
    session, steps = serve(pair, drafter)
    loss = drafter.loss([piece_of(session, steps, drafter)] if name == "adapter" else [_piece(session, steps)])
    rng = torch.Generator().manual_seed(1)
    x = drafter.x + 1e-3 * torch.randn(drafter.dimension, generator=rng)
    value, grad = loss.value_and_grad(x)
    direction = grad / grad.norm()
    slope = (loss.value(x + 1e-2 * direction) - loss.value(x - 1e-2 * direction)) / 2e-2
    assert float(slope) == pytest.approx(float((grad * direction).sum()), rel=0.03)
    assert float(value) > 0
    values, grads = loss.value_and_grad(torch.stack([x, x + direction]))
    torch.testing.assert_close(values[0], value)
    torch.testing.assert_close(grads[0], grad, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(grads[1], grad)


def _piece(session: Session, steps: list) -> Piece:
    probs = torch.cat([done.target_probs for done in steps])
    return Piece(session.texts[0].tokens, session.texts[0].prompt_length, len(session.texts[0].tokens), probs)


def test_gradient_descent_lowers_the_loss_of_all_weights():
    pair = make_pair()
    drafter = make_drafter("weights", pair)
    session, steps = serve(pair, drafter)
    loss = drafter.loss([_piece(session, steps)], Objective(temperature=SAMPLED.temperature))
    x = drafter.x
    first = float(loss.value(x))
    for _ in range(5):
        x = x - 0.1 * loss.grad(x)
    assert float(loss.value(x)) < first


@pytest.mark.parametrize("name", ["weights", "hydra", "eagle"])
def test_an_anchored_loss_adds_what_the_draft_has_moved_from_the_one_that_served(name):
    """λ·KL(served ‖ draft), by laws computed apart; nothing of it at the served draft, a pull towards it elsewhere."""
    pair = make_pair("float64")
    drafter = make_drafter(name, pair)
    session, steps = serve(pair, drafter)
    piece = _piece(session, steps)
    if drafter.reads_target:
        piece = replace(piece, hidden=session.texts[0].hidden[: len(piece.tokens) - 1])
    alone_, anchored = (drafter.loss([piece], Objective("tv", anchor=anchor)) for anchor in (0.0, 0.7))
    x = drafter.x
    near = x + 0.02 * torch.randn(len(x), generator=torch.Generator().manual_seed(0))
    assert float(anchored.value(x)) == pytest.approx(float(alone_.value(x)), abs=1e-9)
    torch.testing.assert_close(anchored.grad(x), alone_.grad(x), rtol=1e-4, atol=1e-7)
    drafter.load(near)  # the anchor is what served when the round began, whatever serves later
    laws = [alone_.forward(drafter.flat.parameters(point))[0] for point in (x, near)]
    apart = 0.0
    for share, served, moved in zip(alone_.shares, *laws, strict=True):
        served, moved = served.double().log_softmax(-1), moved.double().log_softmax(-1)
        apart += share * float((served.exp() * (served - moved)).sum(-1).mean())
    assert apart > 1e-4
    assert float(anchored.value(near) - alone_.value(near)) == pytest.approx(0.7 * apart, rel=1e-4)
    assert float((anchored.grad(near) - alone_.grad(near)) @ (near - x)) > 0


def test_an_anchor_is_for_deep_drafters():
    assert changed(Method("eagle"), anchor=0.1).anchor == 0.1
    for drafter in ("adapter", "heads", "mixture", "ngram"):
        with pytest.raises(ValueError, match=r"anchor=0\.1: not for the drafter"):
            changed(Method(drafter), anchor=0.1)
    for anchor in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="anchor="):
            Objective(anchor=anchor)
    assert not Objective(anchor=0.1).convex


def test_weights_swap_equals_a_fresh_model_with_those_weights():
    """After a swap in the middle of a request the draft's cache is that of the new weights."""
    pair, sampling = make_pair("float64"), Sampling(0.0)
    drafter = make_drafter("weights", pair)
    session = alone(pair.target, drafter, PROMPT, 30)
    steps = generate(session, 3, sampling)
    next(steps)
    x = drafter.x + 0.02 * torch.randn(drafter.dimension, generator=torch.Generator().manual_seed(2))
    drafter.load(x)
    length = drafter.memory.lengths[0]
    with torch.inference_mode():
        old, new = drafter.memory.cache, pair.draft.new_cache()
        drafter.model.hidden(torch.tensor(session.texts[0].tokens[:length]), new)
    for ours, fresh in zip(old.layers, new.layers, strict=True):
        torch.testing.assert_close(ours.keys[:, :, :length], fresh.keys[:, :, :length])
        torch.testing.assert_close(ours.values[:, :, :length], fresh.values[:, :, :length])
    list(steps)
    assert torch.equal(drafter.x, x.float())


@pytest.mark.parametrize("name", ["adapter", "heads"])
def test_an_output_matrix_of_dependent_columns_has_no_adapter(name):
    pair = make_pair("float32")
    for model in (pair.target, pair.draft):
        with torch.no_grad():
            model.readout.weight[:, 3] = 0
    with pytest.raises(ValueError, match="their columns depend on each other"):
        make_drafter(name, pair)


def test_tied_weights_appear_once():
    from copy import deepcopy

    model = random_model("qwen2", 0, "float32")
    tied = deepcopy(model.model)
    tied.config.tie_word_embeddings = True
    tied.tie_weights()
    from real.models.hf import CausalLM

    pair = Pair(model, CausalLM(tied), None)
    drafter = make_drafter("weights", pair)
    assert drafter.dimension == sum(weight.numel() for weight in tied.parameters())
    drafter.load(torch.randn(drafter.dimension))
    assert not torch.equal(tied.lm_head.weight, drafter.model.model.lm_head.weight)  # the pair's draft is left alone
    tied = drafter.model.model
    assert torch.equal(tied.lm_head.weight, tied.model.embed_tokens.weight)
    start = tied.lm_head.weight.data_ptr()
    assert drafter.flat._buffer.data_ptr() <= start < drafter.flat._buffer.data_ptr() + 4 * drafter.dimension
    session, steps = serve(pair, drafter, new=10)
    assert torch.isfinite(drafter.loss([_piece(session, steps)]).grad(drafter.x)).all()


def test_ngram_law_is_proper_and_learns_by_remembering():
    drafter = NGram(50, order=3)
    assert drafter.law([1, 2]).sum() == pytest.approx(1)
    tokens = [1, 2, 3, 4] * 20
    drafter.begin(tokens)
    law = drafter.law([1, 2, 3])
    assert law.sum() == pytest.approx(1, abs=1e-12)
    assert (law > 0).all()
    assert law[4] > 0.9
    again = NGram(50, order=3)
    again.restore(drafter.state())
    np.testing.assert_array_equal(again.law([9, 3, 4]), drafter.law([9, 3, 4]))


def test_ngram_matches_the_recursion_at_every_order():
    """law_k = (count + types·law_{k−1}) / (count of the context + types), from the uniform law up."""
    rng = np.random.default_rng(0)
    vocab, text = 5, rng.integers(0, 4, 60).tolist()
    drafter = NGram(vocab, order=3)
    drafter.begin(text)
    for context in ([1, 2, 3], text[-3:], [2, 4, 1], text[10:13]):
        law = np.full(vocab, 1 / vocab)
        for k in range(4):
            ends = [i for i in range(k, len(text)) if text[i - k : i] == context[3 - k :]]
            if not ends:
                break
            counts = np.bincount([text[i] for i in ends], minlength=vocab)
            types = np.count_nonzero(counts)
            law = (counts + types * law) / (counts.sum() + types)
        np.testing.assert_allclose(drafter.law(context), law, rtol=1e-12)


@pytest.mark.parametrize("when", ["drafting", "saved", "the end", "next request"])
def test_ngram_counts_what_was_committed_once_when_it_is_needed(when):
    """After plain steps nothing has been counted; then everything is, once, and never again."""
    drafter, whole = NGram(6, order=2), NGram(6, order=2)
    text, after = [0, 1, 2], [3, 4, 3, 4]
    drafter.begin(text)
    for token in after:
        text.append(token)
        drafter.commit()
    whole.begin([0, 1, 2, *after])
    for _ in range(2):
        if when == "drafting":
            drafter.logits_after([])
        elif when == "saved":
            drafter.state()
        elif when == "the end" and drafter.texts:
            drafter.leave(0)
            drafter.texts = []
        elif when == "next request":
            drafter.begin([5])
    if when == "next request":
        whole.begin([5])
        whole.begin([5])
    for context in ([2, 3], [4, 3], [1, 5]):
        np.testing.assert_array_equal(drafter.law(context), whole.law(context))


def test_ngrams_taken_up_from_a_state_forget_the_request_they_followed():
    drafter = NGram(6, order=2)
    blank, text = drafter.state(), [0, 1, 2]
    drafter.begin(text)
    text += [3, 4]
    drafter.restore(blank)
    drafter.begin([5])
    fresh = NGram(6, order=2)
    fresh.begin([5])
    np.testing.assert_array_equal(drafter.law([1, 2]), fresh.law([1, 2]))


def test_a_draft_of_ngrams_is_looked_up_along_its_own_path():
    drafter = NGram(6, order=2)
    drafter.begin([0, 1, 2, 3, 0, 1, 4, 5])
    tokens = [torch.tensor([token]) for token in (0, 1, 2)]
    for _ in range(2):
        for i in range(4):
            want = drafter.law([0, 1, 2, 3, 0, 1, 4, 5, *(0, 1, 2)[:i]][-2:])
            np.testing.assert_allclose(drafter.logits_after(tokens[:i])[0].double().exp(), want, rtol=1e-5)


def test_ngram_matches_witten_bell_by_hand():
    drafter = NGram(4, order=1)
    drafter.begin([0, 1, 0, 2, 0, 1])
    unigram = (np.array([3, 2, 1, 0]) + 3 / 4) / (6 + 3)
    np.testing.assert_allclose(drafter.law([0]), (np.array([0, 2, 1, 0]) + 2 * unigram) / (3 + 2))


ENDLESS = [("ngram", "order"), ("backoff", "longest"), ("heads", "heads"), ("hydra", "heads"), ("weights", "lora")]


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda pair: make_drafter("medusa", pair), "drafter='medusa'"),
        (lambda pair: make_drafter("adapter", Pair(pair.target, None, None)), "draft=None"),
        (lambda pair: make_drafter("adapter", pair, burn_in=0), "burn_in=0"),
        (lambda pair: make_drafter("adapter", pair, ridge=0.0), "ridge=0.0"),
        (lambda pair: make_drafter("ngram", pair, order=0), "order=0"),
        (lambda pair: make_drafter("ngram", pair).loss([]), "nothing to train"),
        *((partial(make_drafter, name, **{key: 10**8}), f"{key}={10**8}") for name, key in ENDLESS),
        *(
            (partial(make_drafter, name, **{key: 1.5}), f"^drafter='{name}': {key}=1.5: must be a whole number")
            for name, key in (*ENDLESS, ("memory", "entries"), ("ngram", "entries"), ("adapter", "burn_in"))
        ),
        *((partial(make_drafter, "weights", seed=seed), r"drafter weights\(seed=") for seed in (-1, 2**70, 1.5)),
        (lambda pair: make_drafter("ngram", pair, order=True), "order=True: must be a whole number"),
        (lambda pair: make_drafter("heads", pair, decay="much"), "decay='much': must be a number"),
        (lambda pair: make_drafter("mixture", pair, parts="ngram"), "parts='ngram': must be a list of drafters"),
        (lambda pair: make_drafter("mixture", pair, parts=3), "parts=3: must be a list of drafters"),
    ],
)
def test_errors_show_argument_and_value(pair, make, words):
    with pytest.raises(ValueError, match=words):
        make(pair)
