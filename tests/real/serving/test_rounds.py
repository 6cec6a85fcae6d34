"""Rounds on synthetic steps: ν positions each, in order, every law and feature at its own position."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from real.models.text import Text  # noqa: E402
from real.serving.rounds import Rounds  # noqa: E402

REQUESTS = st.lists(
    st.tuples(st.integers(1, 5), st.lists(st.integers(1, 5), min_size=1, max_size=12)), min_size=1, max_size=5
)
"""(prompt length, tokens of each step) of each request."""


class Marked:
    """A drafter whose features name the request and position they belong to."""

    context = 2**31

    def __init__(self, request: int, text: Text):
        self.request, self.texts = request, [text]

    def known(self, row: int) -> int:
        return len(self.texts[row].tokens)

    def forget(self, stop: int, row: int) -> None:
        pass

    def features(self, start: int, stop: int, row: int):
        return torch.tensor([[self.request, i] for i in range(start, stop)]).float()


def law(request: int, position: int):
    return torch.tensor([float(request), float(position)])


def serve(rounds: Rounds, number: int, prompt: int, steps: list[int]) -> tuple[list, list]:
    """One request → the rounds it completed, and how many tokens were committed when each was taken."""
    taken, at, text = [], [], Text([-1] * prompt, prompt)
    drafter = Marked(number, text)
    for count in steps:
        start = len(text.tokens)
        text.tokens += range(start, start + count)
        laws = torch.stack([law(number, i) for i in range(start, start + count)])
        wrong = {"accepted": count - 1, "rejected": count % 2 == 1}  # the recovered token comes last
        rounds.collect(SimpleNamespace(text=text, tokens=text.tokens[start:], target_probs=laws, **wrong))
        if rounds.waiting >= rounds.nu:
            rounds.join(drafter)
        while rounds.complete:
            taken.append(rounds.take())
            at.append(len(text.tokens) - prompt)
    rounds.join(drafter)
    return taken, at


@settings(max_examples=150, deadline=None)
@given(REQUESTS, st.integers(1, 17), st.booleans())
def test_rounds_partition_the_committed_tokens(requests, nu, resumed):
    rounds, taken, due, before = Rounds(nu), [], [], 0
    for number, (prompt, steps) in enumerate(requests):
        more, at = serve(rounds, number, prompt, steps)
        taken += more
        due += [before + count for count in at]
        ends = [before + sum(steps[: i + 1]) for i in range(len(steps))]
        for i in range(len(taken) - len(more), len(taken)):
            assert due[i] == min(end for end in ends if end >= (i + 1) * nu), "not the first boundary after the round"
        before += sum(steps)
        if resumed:
            state, rounds = rounds.state(), Rounds(nu)
            rounds.restore(state)
    assert all(sum(piece.stop - piece.start for piece in pieces) == nu for pieces in taken)
    assert (len(taken), rounds.waiting) == divmod(before, nu)
    pieces = [piece for each in taken for piece in each] + rounds.pieces
    served = [(r, i) for r, (prompt, steps) in enumerate(requests) for i in range(prompt, prompt + sum(steps))]
    assert [tuple(row) for piece in pieces for row in piece.features.tolist()] == served
    assert [tuple(row) for piece in pieces for row in piece.target_probs.int().tolist()] == served
    ends = [i + 1 == count and count % 2 for _, steps in requests for count in steps for i in range(count)]
    assert [flag for piece in pieces for flag in piece.wrong.tolist()] == list(map(bool, ends))
    assert [piece.tokens[i] for piece in pieces for i in range(piece.start, piece.stop)] == [i for _, i in served]
