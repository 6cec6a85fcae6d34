"""Drafted chains of several texts and what the target says of them, verified: texts whose drafts are equally long go
together through the rule (``theory/speculation``), which knows nothing of padding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from real.models.device import sent
from theory.speculation.acceptance import categorical, greedy_rule, token_rule
from theory.speculation.block_rule import block_rule
from theory.speculation.gumbel_rule import gumbel_rule

BY_UNIFORMS = {"token": token_rule, "block": block_rule}


class Chains(NamedTuple):
    """Of n texts, of which the longest draft has g tokens.

    Attributes:
        likeliest: the target's argmax at the pending token and along the draft ``[n, g + 1]``; None unless greedy.
        laws: its processed laws there ``[n, g + 1, V]``; None when greedy.
        drafts: int64 ``[n, g]``. draft_laws: the laws they were sampled from ``[n, g, V]``, None when greedy.
        uniforms: float64 ``[n, 2·G + 1]`` of the G ≥ g tokens asked for (``Session.uniforms``), or the noise of as many
            places and one more ``[n, G + 1, V]``; None when greedy.
    """

    likeliest: Tensor | None
    laws: Tensor | None
    drafts: Tensor
    draft_laws: Tensor | None
    uniforms: Tensor | None

    def verified(self, counts: Sequence[int], rule: str) -> tuple[Tensor, Tensor]:
        """How many of each text's ``counts`` drafted tokens are accepted, and the token after them, each ``[n]``."""
        if len(set(counts)) == 1:
            return self._alike(counts[0], rule)
        accepted = torch.zeros(len(counts), dtype=torch.long, device=self.drafts.device)
        token = accepted.clone()
        for count in sorted(set(counts)):
            rows = sent([row for row, other in enumerate(counts) if other == count], self.drafts.device)
            accepted[rows], token[rows] = self._of(rows)._alike(count, rule)
        return accepted, token

    def _of(self, rows: Tensor) -> "Chains":
        likeliest, laws, draft_laws, uniforms = (
            None if part is None else part[rows] for part in (self.likeliest, self.laws, self.draft_laws, self.uniforms)
        )
        return Chains(likeliest, laws, self.drafts[rows], draft_laws, uniforms)

    def _alike(self, count: int, rule: str) -> tuple[Tensor, Tensor]:
        """All drafts are ``count`` tokens long."""
        drafts = self.drafts[:, :count]
        if self.likeliest is not None:
            return greedy_rule(self.likeliest[:, : count + 1], drafts)
        assert self.laws is not None
        assert self.uniforms is not None
        if rule == "gumbel":
            return gumbel_rule(self.laws[:, : count + 1], drafts, self.uniforms[:, : count + 1])
        if count == 0 or self.draft_laws is None:
            token = categorical(self.laws[:, 0], self.uniforms[:, -1])
            return torch.zeros_like(token), token
        asked = self.uniforms.shape[1] // 2  # tokens: the longest draft asked for, which may have ended before
        to_accept = torch.cat([self.uniforms[:, asked : asked + count], self.uniforms[:, -1:]], 1)
        return BY_UNIFORMS[rule](self.laws[:, : count + 1], self.draft_laws[:, :count], drafts, to_accept)
