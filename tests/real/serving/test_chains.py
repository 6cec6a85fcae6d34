"""Chains of several texts, verified: every token that is committed follows the target's law."""

import pytest

torch = pytest.importorskip("torch")

from real.serving.chains import Chains  # noqa: E402
from theory.speculation.acceptance import categorical  # noqa: E402

ROWS = 40_000
TARGET, DRAFT = torch.tensor([0.1, 0.6, 0.3], dtype=torch.float64), torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)


@pytest.mark.parametrize("rule", ["token", "block"])
@pytest.mark.parametrize(
    ("asked", "counts"),
    [([1], [1]), ([4], [4]), ([4], [1]), ([4, 1], [4, 1]), ([4, 1], [2, 1]), ([4, 1], [1, 1]), ([4, 0, 2], [3, 0, 1])],
)
def test_first_tokens_follow_the_target_however_short_drafts_became(rule, asked, counts):
    """Drafts may have ended before the tokens that were asked for; numbers that a row did not draw are zero."""
    width = max(asked)
    drawn = torch.rand(ROWS, 2 * width + 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    own = torch.arange(width)[None] < torch.tensor(asked).repeat(ROWS)[:ROWS, None]
    drawn[:, :-1] *= torch.cat([own, own], 1)
    longest = max(counts)
    drafts = torch.stack([categorical(DRAFT.expand(ROWS, 3), drawn[:, i]) for i in range(longest)], 1)
    laws, draft_laws = TARGET.expand(ROWS, longest + 1, 3), DRAFT.expand(ROWS, longest, 3)
    each = torch.tensor(counts).repeat(ROWS)[:ROWS].tolist()
    accepted, token = Chains(None, laws, drafts, draft_laws, drawn).verified(each, rule)
    for count in set(counts):
        mine = torch.tensor(each) == count
        first = torch.where(accepted > 0, drafts[:, 0], token)[mine]
        share = torch.bincount(first, minlength=3) / len(first)
        error = (TARGET * (1 - TARGET) / len(first)).sqrt()
        assert ((share - TARGET).abs() < 5 * error).all(), (count, share)
        if count == 1:
            overlap, taken = torch.minimum(TARGET, DRAFT).sum(), (accepted[mine] > 0).double().mean()
            assert abs(taken - overlap) < 5 * (overlap * (1 - overlap) / len(first)).sqrt()
