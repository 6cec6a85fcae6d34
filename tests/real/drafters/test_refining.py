# pyright: reportArgumentType=false, reportOptionalMemberAccess=false
"""The residual memory and the copy tables draft from the laws in their docstrings; and mixtures of them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.drafters.backoff import SCOPES, Backoff  # noqa: E402
from real.drafters.blend import laid_out  # noqa: E402
from real.drafters.copies import MOST, Followed, in_text, with_copies  # noqa: E402
from real.drafters.independent import Independent  # noqa: E402
from real.drafters.memory import ResidualMemory, _ratio  # noqa: E402
from real.drafters.mixture import Mixture  # noqa: E402
from real.drafters.uniform import Uniform  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.decoder import online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.serving.step import alone, generate, step  # noqa: E402
from real.verify.on_trial import pair_of  # noqa: E402
from theory.learners.frozen import Frozen  # noqa: E402
from theory.learners.hedge import Hedge  # noqa: E402

V = 128


@pytest.fixture(scope="module")
def pair() -> Pair:
    return pair_of()


def backed_off(base, entries, last, least, longest):
    """The recursion in the docstring, an order at a time; entries are (tokens before, law of what followed)."""
    law = base.astype(float)
    for k in range(least, longest + 1):
        met = [after for before, after in entries if len(before) >= k <= len(last) and before[-k:] == last[-k:]]
        if met:
            law = (np.sum(met, 0) + law) / (len(met) + 1)
    return law


@pytest.mark.parametrize(("least", "longest"), [(2, 6), (1, 1), (3, 4)])
def test_copies_of_one_text_are_those_of_the_recursion(least, longest):
    rng = np.random.default_rng(0)
    made = Backoff(Uniform(5), "local", least, longest)
    for length in (1, 2, 3, 40):
        text = rng.integers(0, 5, length).tolist()
        made.begin(list(text))
        drafted: list[int] = []
        for _ in range(4):
            whole = [*text, *drafted]
            entries = [(text[:i], np.eye(5)[text[i]]) for i in range(1, len(text))]
            wanted = backed_off(np.full(5, 0.2), entries, whole, least, longest)
            found = made.logits_after([torch.tensor([token]) for token in drafted]).softmax(-1)[0]
            np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5)
            drafted.append(int(rng.integers(0, 5)))


def test_where_one_token_repeats_the_newest_places_count():
    """A text of one token matches everywhere in full: no more places are gone through than tell its law."""
    text, others = [7] * 900, [1, 2, 3, 7, 7, 9]
    found = in_text(text, len(text), [7] * 6, 2, 6, 1024)
    assert list(found.ids) == [7] * MOST
    assert found.share + sum(found.weights) == pytest.approx(1)
    few = in_text([*others, *text[:20]], 26, [7] * 6, 2, 6, 1024)
    assert 9 in few.ids  # what matches in part still counts where little matches in full
    assert few.share + sum(few.weights) == pytest.approx(1)


def test_a_table_holds_the_newest_positions_alone():
    text = [1, 2, 3, 1, 2, 4, 0, 0, 0, 0, 1, 2]
    made = Backoff(Uniform(5), "local", 2, 2, entries=8)
    made.begin(list(text))
    entries = [(text[:i], np.eye(5)[text[i]]) for i in range(len(text) - 8, len(text))]
    wanted = backed_off(np.full(5, 0.2), entries, text, 2, 2)
    np.testing.assert_allclose(made.logits_after([]).softmax(-1)[0].numpy(), wanted, rtol=1e-5)
    assert wanted[3] < 0.2 < wanted[4]


def test_what_followed_in_other_texts_is_the_targets_law(pair):
    made = make_drafter("backoff", pair, scope="global")
    entries = []
    for prompt in ([5, 6, 7, 8], [1, 2, 3, 1, 2, 3]):
        session = alone(pair.target, made, prompt, 20)
        (text,) = session.texts
        for done in generate(session, 3, Sampling(0.7), torch.Generator().manual_seed(1)):
            for i, law in enumerate(done.logits.float().softmax(-1)):
                top = law.topk(16)
                at = len(text.tokens) - len(done.tokens) + i
                kept = torch.zeros(V).scatter(0, top.indices, top.values / top.values.sum())
                entries.append((text.tokens[:at], kept.numpy()))
        session.leave(0)
    before = entries[4][0]
    with torch.inference_mode():
        base = pair.draft.logits(torch.tensor(before))[-1].softmax(-1).numpy()
        made.begin([*before])
        found = made.logits_after([]).softmax(-1)[0].numpy()
    np.testing.assert_allclose(found, backed_off(base, entries, before, *SCOPES["global"][:2]), rtol=1e-4, atol=1e-7)
    assert abs(found - base).max() > 1e-3


@pytest.mark.parametrize("entries", [3, 10, 100])
def test_a_table_of_many_texts_counts_the_newest_entries_and_is_taken_up_again(entries, monkeypatch):
    """Against the recursion over all that a ring of so many holds; five at most are counted after a context."""
    monkeypatch.setattr("real.drafters.copies.MOST", 5)
    rng, table, kept = np.random.default_rng(0), Followed(2, 4, entries, 3), []
    for i in range(40):
        several = rng.integers(1, 6)  # more than a small table has room for
        contexts = [tuple(rng.integers(0, 2, rng.integers(0, 5)).tolist()) for _ in range(several)]
        ids = np.stack([rng.permutation(6)[:3] for _ in contexts])
        probs = rng.dirichlet(np.ones(3), several).astype(np.float32)
        table.add(contexts, ids, probs)
        told = zip(contexts, ids, probs, strict=True)
        kept += [(list(context[::-1]), np.bincount(one, law, 6)) for context, one, law in told]
        kept = kept[-entries:]
        if i % 7 == 0:
            again = Followed(2, 4, entries, 3)
            again.take_up(
                table.contexts, table.ids[: len(table.contexts)], table.probs[: len(table.contexts)], table.count
            )
            table = again
        last = rng.integers(0, 2, 4).tolist()
        met = [entry for entry in kept if len(entry[0]) >= 2 and entry[0][-2:] == last[::-1][-2:]][-5:]
        law = torch.full((1, 6), 1 / 6, dtype=torch.float64)
        wanted = backed_off(law[0].numpy(), met, last[::-1], 2, 4)
        np.testing.assert_allclose(with_copies(law, [table.after(last)])[0].numpy(), wanted, rtol=1e-5)


class Watched:
    """Serves requests with a memory and keeps all that it should remember, in the order it was committed."""

    def __init__(self, pair: Pair, memory: ResidualMemory, new: int = 40, seed: int = 3):
        self.memory, self.laws, self.states = memory, [], []
        for i, prompt in enumerate(([5, 6, 7, 8], [1, 2, 3, 1, 2, 3])):
            session = alone(pair.target, memory, prompt, new)
            steps = list(generate(session, 3, Sampling(1.0), torch.Generator().manual_seed(seed + i)))
            memory.catch_up()
            (text,) = session.texts
            tokens = list(text.tokens)
            session.leave(0)
            with torch.inference_mode():
                hidden = memory.draft.model.hidden(torch.tensor(tokens[:-1]))
            self.states.append(hidden[text.prompt_length - 1 :])
            self.laws.append(torch.cat([done.logits for done in steps]))

    def residual(self, hidden, projection, nearest):
        """R of states ``[n, d]`` by the formula."""
        states, target = torch.cat(self.states), torch.cat(self.laws).log_softmax(-1)
        draft = self.memory.draft.logits(states).log_softmax(-1)
        d = (target.clamp(min=np.log(1e-6)) - draft.clamp(min=np.log(1e-6))).clamp(-4, 4)

        def key(rows):
            rows = rows @ projection
            rows = rows - rows.mean(-1, keepdim=True)
            return rows / rows.norm(dim=-1, keepdim=True)

        scores = (key(hidden) @ key(states).T - 1) / 0.05  # what is remembered in one step has one age
        best, at = scores.topk(nearest, -1)
        weights = best.exp()
        return ((weights / (weights.sum(-1, keepdim=True) + 0.01))[:, None] @ d[at])[:, 0]


@pytest.mark.parametrize("burn_in", [16, 400], ids=["whitened", "not yet whitened"])
def test_the_memory_corrects_by_the_log_ratios_near_by(pair, burn_in, monkeypatch):
    """With every age alike; the order in which bonus positions are remembered does not matter then."""
    monkeypatch.setattr("real.drafters.memory.AGE", 1e9)
    memory = ResidualMemory(Independent(pair.draft, V), burn_in=burn_in, nearest=8)
    seen = Watched(pair, memory)
    assert memory.filled == sum(map(len, seen.states)) == 80
    with torch.inference_mode():
        hidden = pair.draft.hidden(torch.tensor([7, 7, 3, 9, 1, 2, 3]))
        logits = memory.draft.logits(hidden)
        found = memory._corrected(logits, hidden)
        wanted = logits + seen.residual(hidden, memory._projection.double(), 8)
    assert memory.whitener.ready == (burn_in == 16)
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=2e-4)
    assert (found - logits).abs().max() > 0.1


def test_a_law_kept_but_for_one_token_is_kept_whole(pair):
    """``top`` = V − 1: the others are one token, whose ratio is its own; what is corrected is the same law."""
    laws = []
    for top in (0, V - 1):
        memory = ResidualMemory(Independent(pair.draft, V), burn_in=16, top=top)
        Watched(pair, memory)
        with torch.inference_mode():
            hidden = pair.draft.hidden(torch.tensor([7, 7, 3, 9, 1, 2, 3]))
            laws.append(memory._corrected(memory.draft.logits(hidden), hidden).softmax(-1))
    np.testing.assert_allclose(laws[0].numpy(), laws[1].numpy(), atol=1e-3)


def test_a_large_vocabulary_is_served_by_its_likeliest_tokens():
    vocab = 151_936
    target = random_model("qwen3", 0, "float32", vocab=vocab)
    big = Pair(target, perturbed(target, 0.02, 1), None)
    made = make_drafter("mixture", big)
    decoder = online_decoder(big, made, Hedge(0.3), Serving(3, 8, Sampling(0.0), 12), 0)
    plain = online_decoder(big, None, Hedge(0.3), Serving(3, 8, Sampling(0.0), 12), 0)
    for prompt in ([5, 6, 7, 8], [70_000, 9, 70_000, 9]):
        assert decoder.serve(prompt, Ledger())[0] == plain.serve(prompt, Ledger())[0]
    memory = made.parts[1]
    assert memory._values.shape[1] == 32
    assert memory.filled >= 20


def test_memory_is_bounded_and_the_oldest_go_first(pair):
    memory = ResidualMemory(Independent(pair.draft, V), entries=24, nearest=4, burn_in=8)
    seen = Watched(pair, memory)
    assert memory.filled <= 24
    assert memory.count == 80
    with torch.inference_mode():
        last = memory._key(torch.cat(seen.states)[-6:].float())
        gaps = (memory._keys[: memory.filled, None] - last).abs().amax(-1)
    assert (gaps.amin(0) < 1e-4).all()


@pytest.mark.parametrize("at_once", [1, 3, 7, 50])
def test_a_burn_in_as_long_as_the_memory_ends_with_every_position_in_its_place(pair, at_once):
    """However many positions come at once, those kept stand beside the values they had, and none where nothing is."""
    memory = ResidualMemory(Independent(pair.draft, V), entries=24, nearest=4, burn_in=24)
    rng, states, values = torch.Generator().manual_seed(0), [], []
    for _ in range(-(-60 // at_once)):
        hidden, own, target = (torch.randn(at_once, n, generator=rng) for n in (pair.draft.width, V, V))
        memory._fresh.append((hidden, own, target))
        states, values = [*states, hidden], [*values, _residual(own, target)]
        memory._remember()
    assert memory.whitener.ready
    keys, wanted = memory._key(torch.cat(states)), torch.cat(values)
    assert memory.filled == min(24, memory.count)
    for key, value in zip(memory._keys[: memory.filled], memory._values[: memory.filled], strict=True):
        place = int((keys - key).abs().amax(-1).argmin())
        torch.testing.assert_close(keys[place], key)
        torch.testing.assert_close(wanted[place], value)
    assert not bool(memory._keys[memory.entries].isnan().any())
    torch.testing.assert_close(memory._values[memory.entries], torch.zeros(V).to(memory._values))


def _residual(own, target):
    return _ratio(target.float().log_softmax(-1), own.float().log_softmax(-1))


def test_parts_say_in_a_mixture_what_they_say_alone(pair):
    """One forward of the draft serves all parts; each law is that of the same drafter on a draft of its own."""
    made = make_drafter("mixture", pair)
    alone_made = [make_drafter("independent", pair), make_drafter("memory", pair)]
    alone_made.append(Backoff(make_drafter("memory", pair)))
    alone_made.append(Backoff(Backoff(make_drafter("memory", pair)), "global"))
    for drafter in (made, *alone_made):
        drafter.begin([1, 2, 3, 1, 2, 3, 1, 2])
    drafted: list = []
    with torch.inference_mode():
        for token in (3, 1, 9):
            laws = laid_out([(made._said(drafted, Sampling(1.0)), 0)])[0]
            for law, drafter in zip(laws, alone_made, strict=True):
                torch.testing.assert_close(law, drafter.logits_after(drafted).softmax(-1)[0], rtol=1e-5, atol=1e-7)
            drafted.append(torch.tensor([token]))


@pytest.mark.parametrize("learns", [True, False])
def test_laws_are_kept_for_rounds_alone(pair, learns):
    """A mixture that nobody learns from holds the laws of one step, however long the text: each is V numbers."""
    made = make_drafter("mixture", pair)
    serving, held = Serving(3, 8, Sampling(1.0), 100), []
    decoder = online_decoder(
        pair, made, Hedge(0.3) if learns else Frozen(), serving, watch=lambda _: held.append(len(made._laws[0]))
    )
    decoder.serve([5, 6, 7, 8], Ledger())
    assert len(held) > 20
    assert max(held) <= (serving.nu + 2 * serving.gamma if learns else serving.gamma)
    assert max(held) > 1


@pytest.mark.parametrize("rows", [1, 3])
def test_weights_learn_from_every_committed_position(pair, rows):
    """Bonus positions too: their laws are those that the parts would have drafted from under the same memory."""
    made = make_drafter("mixture", pair)
    pieces, bonus = [], []

    def watch(done):
        bonus.append(done.accepted == done.drafted > 0)

    serving = Serving(3, 8, Sampling(1.0), 40)
    decoder = online_decoder(pair, made, Hedge(0.3), serving, 0, rows, watch, record=pieces.extend)
    tokens = sum(
        len(request.tokens) for request in decoder.serve_all([[5, 6, 7, 8], [1, 2, 3], [9, 9, 9, 1], [4]], Ledger())
    )
    assert sum(bonus) > 3
    laws = torch.cat([piece.features for piece in pieces])
    assert len(laws) >= tokens - serving.nu - 4  # but for the round under way, and the end of each of four texts
    torch.testing.assert_close(laws.sum(-1), torch.ones_like(laws[..., 0]), rtol=1e-4, atol=1e-4)
    for piece in pieces:
        with torch.inference_mode():
            hidden = pair.draft.hidden(torch.tensor(piece.tokens[: piece.stop - 1]))[piece.start - 1 :]
            fresh = pair.draft.head(hidden).softmax(-1)
        torch.testing.assert_close(piece.features[:, 0].double(), fresh.double(), rtol=1e-4, atol=1e-6)


def test_a_bonus_position_is_learned_under_the_memory_it_was_committed_with(pair):
    made = make_drafter("mixture", pair)
    made.keep_features()
    memory = made.parts[1]
    session = alone(pair.target, made, [1, 2, 3, 1, 2, 3], 60)
    (text,), rng, seen = session.texts, torch.Generator().manual_seed(0), 0
    while not text.done:
        lengths = [session.room(text, 2)]
        (done,) = step(session, lengths, Sampling(1.0), session.uniforms(lengths, Sampling(1.0), rng))
        if done.accepted < done.drafted or len(done.tokens) <= done.drafted or text.done:
            continue
        at, kept = len(text.tokens) - 1, {name: part.clone() for name, part in memory.state().items()}
        lengths = [session.room(text, 2)]
        step(session, lengths, Sampling(1.0), session.uniforms(lengths, Sampling(1.0), rng))
        before = make_drafter("memory", pair)
        before.restore(kept)
        with torch.inference_mode():
            hidden = pair.draft.hidden(torch.tensor(text.tokens[:at]))[-1:]
            wanted = before._corrected(before.draft.logits(hidden), hidden).softmax(-1)[0]
        torch.testing.assert_close(made.features(at, at + 1)[0, 1].double(), wanted.double(), rtol=1e-4, atol=1e-6)
        seen += 1
    assert seen > 2


@pytest.mark.parametrize("parts", [("independent", "backoff@independent"), ("independent", "memory@independent")])
def test_all_committed_positions_are_learned_from(pair, parts):
    """Also those after a draft that was accepted whole, which no draft was made for; but one at the end of a text."""
    seen, steps = [], []
    made = make_drafter("mixture", pair, parts=parts)
    decoder = online_decoder(pair, made, Hedge(0.3), Serving(2, 8, Sampling(1.0), 60), seed=1, record=seen.extend)
    decoder.watch = steps.append
    for prompt in ([5, 6, 7, 8], [1, 2, 3, 1, 2, 3]):
        decoder.serve(prompt, Ledger())
    known = torch.cat([piece.features.sum((-1, -2)) > 0 for piece in seen])
    assert sum(step.accepted == step.drafted for step in steps) > 4
    assert int((~known).sum()) <= 2


def test_refusals(pair):
    for name, settings, rule in (
        ("memory", {"nearest": 0}, "nearest=0"),
        ("memory", {"entries": 2}, "entries=2"),
        ("memory", {"width": 0}, "width=0"),
        ("memory", {"burn_in": 5000}, "burn_in=5000"),
        ("memory", {"top": V}, "top=128"),
        ("memory", {"base": "ngram"}, "base=NGram"),
        ("backoff", {"scope": "mine"}, "scope='mine'"),
        ("backoff", {"least": 7}, "least=7"),
        ("backoff", {"entries": -1}, "entries=-1"),
        ("mixture", {"parts": ("memory@independent", "independent")}, "builds on 'independent'"),
        ("mixture", {"parts": ("independent", "backoff@independent", "memory@backoff")}, "base=Backoff"),
    ):
        with pytest.raises(ValueError, match=rule):
            make_drafter(name, pair, **settings)


def test_a_drafter_that_is_made_can_be_a_part(pair):
    draft = Independent(pair.draft, V)
    made = Mixture([draft, Backoff(draft, "global"), Backoff(draft)])
    assert made.bases == [None, 0, 0]
    assert made.watches
    spelled = make_drafter("mixture", pair, parts=("independent", ("backoff@independent", {"scope": "global"})))
    assert spelled.parts[1].scope == "global"
