"""Tests of learners for your own suite, through pytest and Hypothesis.

    from theory.testing import learner_machine, parametrize_with_laws

    @parametrize_with_laws([MyLearner(step_size=0.1)], expected_failed_laws={"dtype_kept": "it computes in float64"})
    def test_my_learner(law):
        law()

    TestMyLearner = learner_machine(MyLearner(step_size=0.1)).TestCase

Without a file: ``pytest --onlinespec-learner my.py:MyLearner --onlinespec-set step_size=0.1 FILE`` adds one test a law,
and one of what the learner claims, to those of FILE. What is not for a learner is a test that is skipped and says why.
``theory.assert_learner`` is all of it in one line. ``theory.testing.strategies`` has games, feedback, token streams and
laws for tests of your own.
"""

from typing import TYPE_CHECKING

from theory.lazy import lazily

if TYPE_CHECKING:
    from theory.testing.laws import parametrize_with_laws as parametrize_with_laws
    from theory.testing.strategies.machine import learner_machine as learner_machine

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
