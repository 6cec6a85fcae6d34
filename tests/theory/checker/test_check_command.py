"""``python -m theory check``: faults planted in a user's file are found, shown and reproducible."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from theory.__main__ import app
from theory.runs import import_time as bench

ROOT = Path(__file__).parents[3]
MINE = '''
from dataclasses import dataclass
import numpy as np
from theory import bounds
from theory.learners.ogd import OGD
from theory.learners.optimistic import OptimisticOGD
from theory.hints import Zero


@dataclass(frozen=True)
class WrongStep(OGD):
    """Plays with a step 1.3 times the one its bound is for."""

    def bound(self, state, comparator_energy):
        return bounds.proximal(comparator_energy, self.step_size / 1.3, state.stability[..., 0] / 1.3)


@dataclass(frozen=True)
class ShortStep(OGD):
    """The bound has a step 1.3 times the one played."""

    def bound(self, state, comparator_energy):
        return bounds.proximal(comparator_energy, 1.3 * self.step_size, 1.3 * state.stability[..., 0])


@dataclass(frozen=True)
class Unprojected(OGD):
    def update(self, state, loss_t, hint=None):
        return super().update(state, loss_t, hint)._replace(x=state.x - self.step_size * loss_t.grad(state.x))


BOARD = {}


@dataclass(frozen=True)
class Rewriting(OGD):
    """Shows its play on a board outside its state, and rewrites it once it knows the loss."""

    def predict(self, state, hint=None):
        BOARD["x"] = np.array(state.x)
        return BOARD["x"]

    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        if "x" in BOARD and BOARD["x"].shape == state.x.shape:
            BOARD["x"][...] = following.x
        return following


SEEN = {}


@dataclass(frozen=True)
class Remembering(OGD):
    """Knows the losses of a game it has met before, by its first decision."""

    def _key(self, state):
        return (int(state.rounds.flat[0]), state.x.shape)

    def predict(self, state, hint=None):
        gradient = SEEN.get(self._key(state))
        return state.x if gradient is None else self.domain.project(state.x - gradient)

    def update(self, state, loss_t, hint=None):
        SEEN[self._key(state)] = loss_t.grad(state.x)
        return super().update(state, loss_t, hint)


@dataclass(frozen=True)
class Leaking(OGD):
    """predict reads what update has just been told, through an array that all its states share."""

    def init(self, x_1):
        self.__class__.told = None
        return super().init(x_1)

    def predict(self, state, hint=None):
        told = self.__class__.told
        same = told is not None and told[0] is state
        return self.domain.project(state.x - told[1]) if same else state.x

    def update(self, state, loss_t, hint=None):
        self.__class__.told = (state, loss_t.grad(state.x))
        return super().update(state, loss_t, hint)


@dataclass(frozen=True)
class InPlace(OGD):
    def update(self, state, loss_t, hint=None):
        following = super().update(state, loss_t, hint)
        state.x[...] = following.x
        return following


@dataclass(frozen=True)
class Sliding(OGD):
    """predict moves the state that it is asked about."""

    def predict(self, state, hint=None):
        state.x[...] = 0.9 * state.x
        return state.x


TAPE = []


@dataclass(frozen=True)
class Ahead(OGD):
    """predict reads the next loss in the array that the losses seen are views of."""

    def init(self, x_1):
        TAPE.clear()
        return super().init(x_1)

    def predict(self, state, hint=None):
        t = int(state.rounds.flat[0])
        return self.domain.project(state.x - TAPE[0][t]) if 0 < t < len(TAPE[0]) else state.x

    def update(self, state, loss_t, hint=None):
        TAPE.append(vars(loss_t).get("slope", vars(loss_t).get("center")).base)
        return super().update(state, loss_t, hint)


@dataclass(frozen=True)
class Quitting(OGD):
    def update(self, state, loss_t, hint=None):
        raise SystemExit(0)


@dataclass(frozen=True)
class Listed(OGD):
    """Its state is a dict."""

    def init(self, x_1):
        return {"x": x_1}

    def predict(self, state, hint=None):
        return state["x"]

    def update(self, state, loss_t, hint=None):
        return {"x": self.domain.project(state["x"] - loss_t.grad(state["x"]))}

    def bound(self, state, comparator_energy):
        return None


@dataclass(frozen=True)
class Crashing(OGD):
    def update(self, state, loss_t, hint=None):
        raise IndexError("out of range")


@dataclass(frozen=True)
class Changing(OptimisticOGD):
    """OGD with self-confident, changing steps."""

    @classmethod
    def tuned(cls, problem, **settings):
        return super().tuned(problem, hint=Zero(), **settings)


def sharp(game):
    squares = np.sum(game.gradients**2, axis=-1)
    eta = 2 / np.sqrt(4 + np.concatenate([[0.0], np.cumsum(squares)[:-1]]))
    energy = bounds.comparator_energy_sharp(game.anchors, game.comparators)[-1]
    return energy / (2 * eta[-1]) + 0.5 * np.sum(eta * squares)


def half(game):
    return game.comparator_energy / (4 * game.learner.step_size) + 0.5 * game.learner.step_size * game.gradient_energy


def true(game):
    return game.comparator_energy / (2 * game.learner.step_size) + 0.5 * game.learner.step_size * game.gradient_energy


def for_unit_gradients(game):
    """True for gradients up to 1."""
    return 2.0 * game.horizon


def worst_of_large_gradients(game):
    """False, and by the larger a factor the larger the gradients are."""
    return 0.5 * game.comparator_energy


def raising(game):
    return game.losses[1] / 0.0 + game.nothing


number = 3
'''

THAWED = """
from __future__ import annotations
from dataclasses import dataclass
from theory.domain import Ball, Domain
from theory.learner import Learner


@dataclass
class Thawed(Learner):
    step: float = 0.1
    domain: Domain = Ball(1.0)

    def init(self, x_1): return x_1
    def predict(self, state, hint=None): return state
    def update(self, state, loss_t, hint=None): return state
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    file = tmp_path_factory.mktemp("mine") / "my.py"
    file.write_text(MINE)
    return file


def check(*arguments, games=15_000):
    result = CliRunner().invoke(app, ["check", "--games", str(games), *arguments], env={"COLUMNS": "160"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def replayed(output):
    """The numbers that the printed three lines of Python print."""
    lines = output.split("Again, in Python:\n")[1].splitlines()[:3]
    assert len(lines) == 3
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec("\n".join(lines), {})
    return lines, shown.getvalue()


def value(output, name):
    return float(re.search(rf"^ {name} +(\S+)", output.partition("in this game:")[2], re.MULTILINE)[1])


@pytest.mark.parametrize(
    ("learner", "bound", "claim"),
    [
        ("WrongStep", None, "bound"),
        ("ShortStep", None, "bound"),
        ("Changing", "sharp", "sharp"),
        ("ogd", "half", "half"),
    ],
)
def test_a_false_claim_is_broken_and_the_printed_lines_show_it(mine, learner, bound, claim):
    name = learner if learner == "ogd" else f"{mine}:{learner}"
    result = check(name, *([] if bound is None else ["--bound", f"{mine}:{bound}"]))
    assert result.exit_code == 1
    assert f"breaks its {claim}" in result.output
    suffered, limit = value(result.output, "regret"), value(result.output, "bound")
    assert value(result.output, "rounds") <= 8
    lines, shown = replayed(result.output)
    assert [float(number) for number in shown.split()] == pytest.approx([suffered, limit], rel=1e-6)
    assert suffered > limit
    assert max(map(len, lines)) < 400


def test_a_missing_projection_is_found_and_shown(mine):
    result = check(f"{mine}:Unprojected")
    assert result.exit_code == 1
    assert re.search(r"feasible +broken +the play of round 2", result.output)
    assert "leaves the domain in this game" in result.output
    assert "x_2, outside Ball(radius=1.0)" in result.output
    _, shown = replayed(result.output)
    assert re.search(r"-1\.\d+|\b1\.\d*[1-9]", shown)


@pytest.mark.parametrize(
    ("learner", "law"),
    [
        ("Rewriting", "settled"),
        ("Remembering", "repeatable"),
        ("Leaking", "settled"),
        ("InPlace", "settled"),
        ("InPlace", "without_side_effects"),
        ("Sliding", "settled"),
        ("Sliding", "without_side_effects"),
        ("Ahead", "causal"),
    ],
)
def test_a_learner_that_peeks_breaks_a_law(mine, learner, law):
    result = check(f"{mine}:{learner}", games=5_000)
    assert result.exit_code == 1
    assert re.search(rf"{law} +broken", result.output)
    assert "round" in result.output or "state changed" in result.output
    assert "note: no search for a game that breaks its bound before" in result.output
    assert "read-only" not in result.output


def test_a_learner_that_knows_the_next_loss_is_shown_in_two_short_games(mine):
    output = check(f"{mine}:Ahead").output
    assert "x_2 depends on the loss of round 2 or later; from x_1" in output
    pattern = r"slopes (\[\[.*\]\]) → x_2 = (\[.*\])"
    games = [(eval(slopes), eval(x_2)) for slopes, x_2 in re.findall(pattern, output)]
    (one, x), (other, y) = games[:2]
    assert one[0] == other[0]
    assert one[1] != other[1]
    assert len(one) == len(other) == 2
    assert x != y


def test_a_decision_that_changes_afterwards_is_shown(mine):
    output = check(f"{mine}:InPlace").output
    before, after = re.search(r"settled:\n +played (\[.*?\]), afterwards (\[.*\])", output).groups()
    assert eval(before) != eval(after)


def test_a_state_that_is_no_tuple_of_arrays_is_named(mine):
    output = check(f"{mine}:Listed").output
    assert re.search(r"pure +broken +the state must be a NamedTuple of arrays, but has a dict", output)
    assert "truth value" not in output


def test_an_exception_in_the_learner_is_a_broken_law(mine):
    result = check(f"{mine}:Crashing")
    assert result.exit_code == 1
    assert "raised IndexError: out of range" in result.output


def test_a_learner_that_quits_breaks_a_law_and_does_not_end_the_command(mine):
    result = check(f"{mine}:Quitting")
    assert result.exit_code == 1
    assert "raised SystemExit: 0" in result.output


def test_a_bound_for_small_gradients_is_not_blamed_for_large_ones(mine):
    arguments = ("ogd", "--bound", f"{mine}:for_unit_gradients")
    result = check(*arguments)
    assert result.exit_code == 1
    assert re.search(r"note: it is broken by gradients up to \S+; with gradients up to G = 1.0 no game", result.output)
    assert "only_within" in result.output
    result = check(*arguments, "--only-within")
    assert result.exit_code == 0
    assert "broken" not in result.output


def test_a_game_with_small_gradients_is_shown_where_there_is_one(mine):
    result = check("ogd", "--bound", f"{mine}:worst_of_large_gradients")
    assert result.exit_code == 1
    assert "only_within" not in result.output
    _, shown = replayed(result.output)
    suffered, limit = (float(number) for number in shown.split())
    assert limit < suffered <= 64 * 2.0
    slopes = re.search(r"slopes=(.*?), comparators", result.output)[1]
    assert all(abs(entry) <= 1 for row in eval(slopes) for entry in row)


def test_nothing_is_found_where_nothing_is_wrong(mine):
    result = check("ogd", "--bound", f"{mine}:true", "--set", "step_size=0.5")
    assert result.exit_code == 0
    assert "broken" not in result.output
    assert re.search(r"true +1\.0000", result.output)


@pytest.mark.parametrize("name", ["ensemble", "hedge"])
def test_learners_of_the_table_are_not_broken(name):
    """One on either domain; tests/theory/checker/test_search.py plays the constructed games against all."""
    result = check(name, games=5_000)
    assert result.exit_code == 0, result.output
    assert "broken" not in result.output


def test_the_domain_and_the_dimension_are_choices():
    result = check("ogd", "--domain", "box", "--dimension", "2", "--only-within", games=5_000)
    assert result.exit_code == 0
    assert "Box(low=-1.0, high=1.0)), d = 2" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody"], "no such learner"),
        (["{mine}:Nobody"], "defines no 'Nobody'; it defines WrongStep, ShortStep"),
        (["{mine}:number"], "number must be a frozen dataclass"),
        (["nowhere.py:Mine"], "no file 'nowhere.py'"),
        (["ogd", "--set", "step_size=-1"], "must be positive"),
        (["ogd", "--set", "steps=1"], "has no setting 'steps'"),
        (["ogd", "--domain", "sphere"], "--domain 'sphere'"),
        (["hedge", "--domain", "ball"], "plays on the simplex"),
        (["ogd", "--gradient-bound", "0"], "gradient_bound=0.0"),
        (["ogd", "--bound", "{mine}:halve"], "defines no 'halve'; did you mean 'half'?"),
        (["ogd", "--bound", "{mine}:number"], "it must be a function"),
        (["ogd", "--bound", "nowhere.py:bound"], "no file 'nowhere.py'"),
        (["ogd", "--bound", "{mine}:raising"], "raising raised IndexError: index 1 is out of bounds"),
        (["{folder}/broken.py:Mine"], "its code raised ZeroDivisionError: division by zero, line 1 of"),
        (["ogd", "--bound", "{folder}/broken.py:bound"], "its code raised ZeroDivisionError"),
        (["{folder}/syntax.py:X"], "syntax.py:X: its code raised SyntaxError"),
        (["{folder}/unread.txt:X"], "is no Python file"),
        (["{folder}/thawed.py:Thawed"], "Thawed must be a frozen dataclass"),
        (["hedge", "--domain", "box"], "choose one of frozen, ogd, optimistic, ensemble, sword, tracking"),
    ],
)
def test_user_errors_end_with_status_2_and_a_sentence(mine, arguments, message):
    (mine.parent / "broken.py").write_text("1 / 0\n")
    (mine.parent / "syntax.py").write_text("def x(:\n")
    (mine.parent / "unread.txt").write_text("")
    (mine.parent / "thawed.py").write_text(THAWED)
    result = check(*(a.format(mine=mine, folder=mine.parent) for a in arguments))
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


# What it costs to import


def test_theory_stays_importable_without_the_rest():
    """Neither frameworks nor what only the command line and the search use."""
    unwanted = ("torch", "jax", "transformers", "matplotlib", "typer", "rich", "hypothesis", "PEPit", "scipy.stats")
    code = f"import sys; import {', '.join(bench.modules())}; print([m for m in {unwanted} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert "theory.checker.search" in bench.modules()


def test_the_import_time_is_printed():
    result = CliRunner().invoke(app, ["import-time", "--repeats", "1"])
    assert result.exit_code == 0
    assert re.search(r"all modules of theory +0\.\d+ s", result.output)
