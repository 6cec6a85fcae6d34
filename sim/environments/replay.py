"""Replay: a recorded frozen run of the decoder predicts runs that were never made.

Decoding is lossless, so committed tokens do not depend on the draft (greedy: exactly; sampled: in law), and a convex
output adapter or linear head reads only the committed prefix: one recording holds every loss any learner would have
seen, and the walk over its committed positions gives the accepted counts at any draft length (theory/README.md, in the
decoder).

**The recording**, one ``.npz`` without pickle, written by the decoder, P committed positions in stream order:

    features     float32 [P, d]   raw feature h of the committed prefix (before any adapter): logits = head · h;
                                  of linear heads [P, H, d], what head k reads to draft this position
    head         float32 [V, d]   the draft's output matrix W over the common vocabulary; also the base logits
    whitener     float64 [d, d]   M of ``theory.speculation.adapter.whitening`` as the decoder would use it
    token        int32   [P]      the committed token at each position
    token_prob   float32 [P]      its probability under the target's sampling law (greedy: 1)
    law_index    int32   [P, K]   the K likeliest tokens of that law, distinct (greedy: K = 1, the token)
    law_prob     float32 [P, K]   their probabilities, renormalised to sum to 1: the learner's target in both worlds
    prompt       int32   [P]      number of the prompt, non-decreasing; steps restart where it changes
    segment      int32   [P]      number of the stream's segment (0 = home)
    x_1          float32 [H·d·d]  the decision recorded; left out where it is 0
    place        int32   [P]      where the position is in its request's text, prompt included; under the Gumbel rule
    law_rest     float64 [P]      share of the law beyond the K tokens, before they were renormalised; portable ones
    header       str     []       JSON object of the scalars below

Header: ``format`` "onlinespec-recording-1"; ``digest``, a name that recordings of the same settings and text share;
``gamma`` of the recorded run; ``nu`` committed tokens a round;
``temperature`` (0 = greedy), ``top_k``, ``top_p`` of the sampling law; ``burn_in_rounds`` rounds without learning,
which the whitener is computed from; ``ridge``; ``radius`` of the ball x lives in (null: free); ``tokens_per_step``
and ``alpha`` of the recorded run; ``weights`` of the heads in the loss, if there are heads; ``rule`` "gumbel" where it
was sampled by the Gumbel rule, and ``seed`` of its noise, in which a request's number is its prompt's; anything else is
kept as provenance.

**A portable recording** is small enough to be carried elsewhere. Its features are float16, and its head is left out:
``readout`` is the SHA-256 of ``HASH.npy``, which must lie beside it and holds that array. ``stated`` says what this
leaves out: ``feature_error``, the largest relative error of a feature vector; ``rest_mean`` and ``rest_max`` of the
shares; ``loss``, ``loss_top_k`` and ``loss_portable``, the mean loss of the draft recorded on whole laws, on laws cut
to K tokens, and on these with rounded features. The learner's target is as far from the law as KL(target ‖ law) =
−log(1 − rest), and alpha is off by the rest at most.

**The decoder's rules, replayed.** Rounds are nu consecutive committed positions, over prompt boundaries. x stays 0
for ``burn_in_rounds`` rounds and round ``burn_in_rounds + 1`` is the learner's first. The update of a round is made,
and the new x swapped in, at the first step boundary after the round's last token is committed. Steps restart at each
prompt; the last step of a prompt may be cut. An incomplete last round is decoded but not learned from. Greedy: a
position is accepted if the draft's argmax is the committed token, and the learner's target is the hard label. Sampled:
a token committed is accepted with probability min(1, draft/target) at that token, the token rule read backwards. By the
Gumbel rule nothing is left to chance: a position is accepted if the draft, by the noise of its place, chooses the token
committed.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sim.environments import chain
from sim.environments.recording import Recording
from theory.learner import Learner, one_decision
from theory.loss import Blocks, SoftmaxKL
from theory.runs.trace import Trace, plain, provenance
from theory.speculation.acceptance import alpha, process
from theory.speculation.adapter import adapter_loss, readout
from theory.speculation.gumbel_rule import lead, race


class Predicted(NamedTuple):
    """What the decoder would do in one round; arrays ``[n, copies]`` unless said otherwise."""

    part: slice
    """Its committed positions; the last round may be incomplete."""
    x_t: np.ndarray
    """Decision the round was assigned, ``[H·d·d]``."""
    loss_t: SoftmaxKL | Blocks
    decoded: chain.Decoded
    margin: np.ndarray
    """How far the draft in force is from a tie at each position: its top-2 logit gap, noise included if the seed tells
    it."""
    overlap: np.ndarray
    """alpha at each position under the draft in force; greedy: whether the argmaxes agree."""


class Replay:
    """The decoder's loop over a recording, without the models."""

    def __init__(self, recording: Recording, learner: Learner, gamma: int, copies: int, rng: np.random.Generator):
        if not 1 <= gamma <= recording.nu:
            raise ValueError(f"gamma={gamma!r}: must lie in [1, nu={recording.nu}]; a step may not span two swaps")
        if recording.decided and copies != 1:
            raise ValueError(f"copies={copies!r}: a run that is greedy or by the Gumbel rule draws nothing; give 1")
        heads = recording.features.shape[1]
        if 1 < heads < gamma:
            raise ValueError(f"gamma={gamma!r}: there are {heads} heads, a step drafts no more")
        self.recording, self.learner, self.gamma, self.copies, self.rng = recording, learner, gamma, copies, rng
        self.q, self.r = readout(recording.head)
        self.walk = chain.begin(copies)

    def run(self) -> Iterator[Predicted]:
        """Every round, the incomplete last one too; afterwards ``walk`` holds the totals, a cut last step included."""
        positions, nu = len(self.recording.token), self.recording.nu
        x_t = old = self.recording.x_1
        state = self.learner.init(x_t)
        for number, start in enumerate(range(0, positions, nu)):
            part = slice(start, min(start + nu, positions))
            heads = self.losses(part)
            loss_t = heads[0] if len(heads) == 1 else Blocks(heads, self.recording.weights)
            learning = number >= self.recording.header["burn_in_rounds"]
            if learning:
                x_t = np.array(self.learner.predict(state))
                one_decision(self.learner, x_t.shape, old.shape)
            yield Predicted(part, x_t, loss_t, *self._decode(part, heads, x_t, old))
            if learning and part.stop - part.start == nu:
                state = self.learner.update(state, loss_t)
            old = x_t
        self.walk = self.walk.cut()

    def losses(self, part: slice) -> tuple[SoftmaxKL, ...]:
        """The learner's loss on these positions, head by head."""
        recording, law = self.recording, self.recording.law(part)

        def of_head(features: np.ndarray) -> SoftmaxKL:
            logits = features @ recording.head.T
            return adapter_loss(features, law, logits, recording.whitener, self.q, recording.temperature)

        return tuple(of_head(features) for features in np.moveaxis(recording.features[part], 1, 0))

    def _decode(self, part: slice, heads: Sequence[SoftmaxKL], x_t: np.ndarray, old: np.ndarray):
        """What happened, and the margin and overlap in force at every position."""
        uniforms = self.rng.random((part.stop - part.start, self.copies))
        kept, margin, overlap = self._judge(part, heads, x_t, uniforms)
        kept_old, margin_old, overlap_old = self._judge(part, heads, old, uniforms)
        gamma, starts = self.gamma, self.recording.starts[part]
        self.walk, decoded = chain.decode(self.walk, kept, kept_old[:gamma], gamma, starts)

        def in_force(new: np.ndarray, stale: np.ndarray) -> np.ndarray:
            """At the place that each position has in its step, under the draft that the step began with."""
            here, before = (np.take_along_axis(by, decoded.place[:, None], axis=1)[:, 0] for by in (new, stale))
            return np.where(decoded.stale, before, here)

        return decoded, in_force(margin, margin_old), in_force(overlap, overlap_old)

    def _judge(self, part: slice, heads: Sequence[SoftmaxKL], x: np.ndarray, uniforms: np.ndarray):
        """Under decision x, by head: acceptance ``[n, H, copies]``, top-2 logit gap ``[n, H, 1]``, overlap likewise."""
        recording, header = self.recording, self.recording.header
        width = recording.head.shape[1]
        logits = np.stack(
            [loss.base_logits + loss.features @ own.reshape(width, width) @ self.q.T
             for loss, own in zip(heads, np.split(x, len(heads)), strict=True)], axis=1,
        )  # fmt: skip
        top = np.sort(logits, axis=-1)[..., -2:]
        margin = top[..., 1:] - top[..., :1]
        token = recording.token[part, None, None]
        if recording.greedy:
            kept = logits.argmax(axis=-1, keepdims=True) == token
            return kept, margin, kept.astype(float)
        draft = process(logits, recording.temperature, header["top_k"], header["top_p"])
        overlap = alpha(heads[0].target_probs[:, None], draft)[..., None]
        if recording.seeded:
            noise = recording.noise(part)[:, None]
            kept = race(draft, noise)[..., None] == token
            return kept, lead(draft, noise)[..., None], overlap
        shape = (*draft.shape[:2], uniforms.shape[-1])
        ours = np.broadcast_to(np.take_along_axis(draft, token, axis=-1), shape)
        theirs = np.broadcast_to(recording.token_prob[part, None, None], shape)
        none = np.zeros(shape, dtype=int)  # laws cut to the committed token, which is then token 0
        uniform = np.broadcast_to(uniforms[:, None], shape)
        return chain.accept_committed(theirs[..., None], ours[..., None], none, uniform), margin, overlap


def predict(
    recording: Recording, learner: Learner, gamma: int, copies: int, seed: int, settings: dict[str, Any]
) -> tuple[Trace, np.ndarray]:
    """Replay a recording under a learner and a draft length it was never run with.

    Returns:
        A trace with one row a committed position, and the decision ``[H·d·d]`` that the last position was assigned.
        Columns: position, prompt, segment, round; examined, accepted and step_start, means over the copies; overlap
        (alpha there) and margin (as in ``Predicted``). Its header holds, as lists over the copies, steps,
        accepted, recovered, bonus and tokens_per_step; and alpha, the mean overlap where a draft was examined, as the
        decoder counts it; and loss, the mean KL at x_t.
    """
    replay = Replay(recording, learner, gamma, copies, np.random.default_rng(seed))
    rows: list[dict[str, np.ndarray]] = []
    losses, x_t, overlaps, examined = [], np.zeros(0), 0.0, 0
    for number, (part, x_t, loss_t, decoded, margin, overlap) in enumerate(replay.run()):
        values = {"examined": decoded.examined, "accepted": decoded.accepted, "step_start": decoded.first}
        means = {name: value.mean(axis=1) for name, value in (values | {"overlap": overlap, "margin": margin}).items()}
        rows.append({"round": np.full(part.stop - part.start, number), **means})
        losses.append(loss_t.value(x_t))
        overlaps += float(np.sum(overlap * decoded.examined))
        examined += int(decoded.examined.sum())
    columns = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    places = {"position": np.arange(len(recording.token)), "prompt": recording.prompt, "segment": recording.segment}
    walk = replay.walk
    totals = {name: getattr(walk, name) for name in ("steps", "accepted", "recovered", "bonus")}
    totals["tokens_per_step"] = len(recording.token) / walk.steps
    means = {"alpha": overlaps / max(1, examined), "loss": float(np.mean(losses)), "losses": losses}
    header = {"settings": settings, **totals, **means, "provenance": provenance()}
    return Trace(plain(header), places | columns), x_t
