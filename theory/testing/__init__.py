"""Laws of learners as tests of your own suite, through pytest.

    from theory.testing import parametrize_with_laws

    @parametrize_with_laws([MyLearner(step_size=0.1)], expected_failed_laws={"scaling": "its step is absolute"})
    def test_my_learner(law):
        law()

Without a file: ``pytest --learner my.py:MyLearner FILE`` adds one test a law, and one of what the learner claims, to
those of FILE. ``theory.assert_learner`` is all of it in one line.
"""

from theory.testing.laws import parametrize_with_laws

__all__ = ["parametrize_with_laws"]
