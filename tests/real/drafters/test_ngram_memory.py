# pyright: reportArgumentType=false
"""What n-grams remember: bounded, oldest out, saved as it is, and not saved at all where no text may be."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters.independent import Independent  # noqa: E402
from real.drafters.mixture import Mixture  # noqa: E402
from real.drafters.ngram import NGram  # noqa: E402
from real.verify.lossless import random_pair  # noqa: E402


def drawn(count: int, vocab: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, vocab, count).tolist()


def after(text: list[int], **settings) -> NGram:
    drafter = NGram(40, order=3, **settings)
    drafter.begin(list(text))
    return drafter


def counted(text: list[int], order: int = 3) -> list[list[int]]:
    """Every n-gram by hand: context padded with −1, token, count; shorter contexts first, in the order they came in."""
    rows = []
    for k in range(1, order + 1):
        met: dict = {}
        for i in range(k, len(text)):
            row = met.setdefault(tuple(text[i - k : i]), {})
            row[text[i]] = row.get(text[i], 0) + 1
        rows += [[*[-1] * (order - k), *c, token, n] for c, row in met.items() for token, n in row.items()]
    return rows


def test_a_state_is_every_ngram_with_its_count():
    text = drawn(400, 6)
    state = after(text).state()
    assert state["counts"].dtype == torch.int64
    assert state["counts"].tolist() == counted(text)
    assert state["unigrams"].tolist() == np.bincount(text, minlength=40).tolist()
    assert NGram(40, order=3).state()["counts"].shape == (0, 5)


def test_a_state_taken_up_counts_on_as_the_first_would():
    text = drawn(300, 6)
    whole, again = after(text), NGram(40, order=3)
    again.restore(whole.state())
    for one in (whole, again):
        one.begin(drawn(100, 6, 1))
    assert all(torch.equal(whole.state()[key], again.state()[key]) for key in ("counts", "unigrams"))
    assert torch.equal(whole.law([1, 2, 3]), again.law([1, 2, 3]))


@pytest.mark.parametrize("entries", [1, 50, 400])
def test_so_many_ngrams_of_each_length_are_kept_and_the_oldest_go_first(entries):
    drafter = NGram(40, order=3, entries=entries)
    texts = [drawn(60, 40, seed) for seed in range(20)]
    for text in texts:
        drafter.begin(text)
        lengths = (drafter.state()["counts"][:, :3] >= 0).sum(1)
        assert all(int((lengths == k).sum()) <= entries for k in (1, 2, 3))
        assert drafter.law(text[-3:]).sum() == pytest.approx(1)
    newest, oldest = ({tuple(row[:4]) for row in counted(text) if row[0] >= 0} for text in (texts[-1], texts[0]))
    kept = {tuple(row[:4]) for row in drafter.state()["counts"].tolist()}
    assert not oldest & kept
    assert entries < 60 or newest <= kept
    again = NGram(40, order=3, entries=entries)
    again.restore(drafter.state())
    assert torch.equal(again.state()["counts"], drafter.state()["counts"])


def test_a_context_that_comes_again_keeps_its_place():
    drafter = NGram(40, order=1, entries=8)
    drafter.begin([0, 1, 2, 3, 4, 5, 6, 0, 1, 7, 8])  # nine n-grams; 0 and 1 came again at last
    assert [row[0] for row in drafter.state()["counts"].tolist()] == [2, 3, 4, 5, 6, 7]


def test_below_the_bound_nothing_is_forgotten():
    text = drawn(400, 40)
    bounded, whole = after(text, entries=400), after(text, entries=10**9)
    assert torch.equal(bounded.state()["counts"], whole.state()["counts"])
    smaller = NGram(40, order=3, entries=100)
    smaller.restore(whole.state())
    assert len(smaller.state()["counts"]) <= 300


def test_no_ngram_is_no_memory():
    with pytest.raises(ValueError, match="entries=0: n-grams of each length to keep, at least 1"):
        NGram(40, entries=0)


def test_a_state_without_text_is_that_of_a_fresh_drafter():
    """Its parts' too, where it is one of a mixture."""
    pair = random_pair("llama", "float64")
    for make in (lambda: NGram(512), lambda: Mixture([Independent(pair.draft, 512), NGram(512)])):
        used, fresh = make(), make()
        used.begin([5, 6, 7, 8, 9] * 3)
        found, blank = used.textless(used.state()), fresh.state()
        assert found.keys() == blank.keys()
        assert all(torch.equal(found[key], blank[key]) for key in blank)
        assert any(not torch.equal(used.state()[key], blank[key]) for key in blank)
