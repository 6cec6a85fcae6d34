"""What Hypothesis draws for tests of learners and of speculation; needs the extra ``testing``.

    from hypothesis import given
    from theory.testing.strategies import stated_games

    @given(stated_games(path_length=2.0, dimension=5))
    def test_regret(game): ...

Most arguments may be a value or a strategy for one: ``games(dimension=st.integers(1, 9))``. Independent random losses
are a mediocre adversary, for they cancel. So what is drawn is a few vectors and a sequence of indices into them, which
shrinks well and finds alternations and long runs.
"""

try:
    import hypothesis  # noqa: F401 (all that follows needs it)
except ModuleNotFoundError as error:
    from theory.runs.extras import needs

    raise ModuleNotFoundError(needs("theory.testing.strategies", "hypothesis"), name=error.name) from None

from theory.testing.strategies.feedback import arriving, chunks, delays, feedback
from theory.testing.strategies.games import (
    BOUNDED,
    DomainGame,
    StatedGame,
    comparators,
    domains,
    expert_losses,
    games,
    stated_games,
)
from theory.testing.strategies.machine import LearnerMachine, learner_machine
from theory.testing.strategies.numbers import in_library, vectors
from theory.testing.strategies.tokens import law_pairs, laws, token_streams

__all__ = [
    "BOUNDED",
    "DomainGame",
    "LearnerMachine",
    "StatedGame",
    "arriving",
    "chunks",
    "comparators",
    "delays",
    "domains",
    "expert_losses",
    "feedback",
    "games",
    "in_library",
    "law_pairs",
    "laws",
    "learner_machine",
    "stated_games",
    "token_streams",
    "vectors",
]
