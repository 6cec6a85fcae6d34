# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""The cache of slots: the same logits as transformers' own, however often it grows and is rolled back."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from real.models.cache import SlotCache, rollback  # noqa: E402
from real.models.hf import PROVEN  # noqa: E402
from real.models.random import random_model  # noqa: E402


@pytest.mark.parametrize("family", PROVEN)
def test_it_is_transformers_own_cache_in_every_way_that_logits_show(family):
    """Pieces of every length, each half taken back again and read anew, through four doublings."""
    model, rng = random_model(family, 0), torch.Generator().manual_seed(0)
    ids = torch.randint(0, model.vocab, (60,), generator=rng)
    ours, theirs = SlotCache(model.layers, size=4), transformers.DynamicCache()
    with torch.inference_mode():
        start = 0
        for length in (1, 5, 2, 11, 3, 1, 1, 30):
            piece = ids[start : start + length]
            back = (length + 1) // 2
            model.hidden(piece, ours)
            rollback(ours, back)
            again = model.hidden(piece[length - back :], ours)
            want = model.body(input_ids=piece[None], past_key_values=theirs, use_cache=True).last_hidden_state[0]
            torch.testing.assert_close(again, want[length - back :])
            start += length
    assert ours.length == ours.get_seq_length() == start == 54
    assert ours.size == 64
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        torch.testing.assert_close(mine.keys[:, :, :start], other.keys)
        torch.testing.assert_close(mine.values[:, :, :start], other.values)


def test_a_long_prompt_is_read_in_chunks(monkeypatch):
    model, ids = random_model("llama", 0), torch.arange(50) * 7 % 512
    lengths, forward = [], model.body.forward

    def watched(**inputs):
        lengths.append(inputs["input_ids"].shape[1])
        return forward(**inputs)

    monkeypatch.setattr("real.models.hf.CHUNK", 16)
    monkeypatch.setattr(model.body, "forward", watched)
    with torch.inference_mode():
        cache = model.new_cache()
        got = model.hidden(ids, cache)
        torch.testing.assert_close(got, model.hidden(ids))
    assert lengths == [16, 16, 16, 2, 50]
    assert cache.length == 50


def test_a_rollback_moves_nothing():
    model = random_model("llama", 0)
    cache = model.new_cache()
    with torch.inference_mode():
        model.hidden(torch.arange(9), cache)
    before = cache.layers[0].keys
    held = before.clone()
    rollback(cache, 4)
    rollback(cache, 0)
    assert cache.length == 5
    assert cache.layers[0].keys is before
    assert torch.equal(before, held)
