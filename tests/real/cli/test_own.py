# pyright: reportAttributeAccessIssue=false
"""A user's own drafter, loss and learner on the command line; every mistake on the way has a message with a remedy."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters.objective import Objective  # noqa: E402
from real.drafters.own_loss import divergence_of  # noqa: E402
from real.models.state import load, not_finite  # noqa: E402
from real.verify.drafter_laws import ALWAYS  # noqa: E402
from tests.real.cli.test_real_cli import assets, contents, quick, real, run, said  # noqa: E402, F401 (fixtures)
from theory.divergence import TV  # noqa: E402

MINE = '''
from dataclasses import dataclass

import torch

from real.drafters import Drafter
from theory.learner import Learner
from theory.learners.ogd import OGD


class Again(Drafter):
    """Drafts the token before once more."""

    def __init__(self, vocab, weight=4.0):
        self.vocab, self.weight = vocab, weight

    @classmethod
    def of(cls, pair, **settings):
        return cls(pair.target.vocab, **settings)

    def logits_after(self, drafted):
        last = drafted[-1] if drafted else torch.tensor([text.tokens[-1] for text in self.texts])
        return self.weight * torch.nn.functional.one_hot(last, self.vocab).float()


class OneRow(Again):
    def logits_after(self, drafted):
        return super().logits_after(drafted)[0]


class Late(Again):
    def commit(self):
        raise IndexError("off")


class Half(Drafter):
    pass


@dataclass(frozen=True)
class Mine(OGD):
    """Gradient descent under a name of one's own."""


class Thawed(Learner):
    pass


@dataclass(frozen=True)
class Breaks(OGD):
    def update(self, state, loss_t, hint=None):
        return state.nothing


@dataclass(frozen=True)
class Quits(OGD):
    def update(self, state, loss_t, hint=None):
        raise SystemExit(0)


@dataclass(frozen=True)
class QuitsAtOnce(OGD):
    def init(self, x_1):
        raise SystemExit(0)


@dataclass(frozen=True)
class Nothing(OGD):
    def predict(self, state, hint=None):
        return None


@dataclass(frozen=True)
class Poisons(OGD):
    """In its second round, and where no play shows it."""

    def update(self, state, loss_t, hint=None):
        after = super().update(state, loss_t, hint)
        return after._replace(energy=after.energy * float("nan")) if float(after.rounds) > 1 else after


def variation(target_probs, log_draft_probs):
    return 0.5 * (target_probs - log_draft_probs.exp()).abs().sum(-1)


def whole(target_probs, log_draft_probs):
    return variation(target_probs, log_draft_probs).sum()


def stopped(target_probs, log_draft_probs):
    return variation(target_probs, log_draft_probs.detach())


def outside(target_probs, log_draft_probs):
    return target_probs[10**6]


number = 3
'''


@pytest.fixture(autouse=True)
def mine(tmp_path, quick):  # noqa: F811
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "syntax.py").write_text("def x(:\n")
    (tmp_path / "quits.py").write_text("raise SystemExit(0)\n")


def test_a_drafter_of_ones_own_serves_and_keeps_the_laws():
    result = run("--prompts", "prose:2", "--drafter", "mine.py:Again", "--drafter-set", "weight=2")
    assert result.exit_code == 0, said(result)
    assert "frozen" in said(result)
    checked = real("check", "mine.py:Again")
    assert checked.exit_code == 0, said(checked)
    assert said(checked).count(" ok ") == len(ALWAYS)


def test_check_says_which_law_is_broken():
    result = real("check", "mine.py:Late")
    assert result.exit_code == 1
    assert "drafts_laws: mine.py:Late: its code raised IndexError: off, line" in said(result)
    assert "made_alike not tried" in said(result)


@pytest.mark.parametrize("drafter", ["adapter", "weights"])
def test_a_loss_of_ones_own_is_learned_by(drafter):
    result = run("--prompts", "prose:3", "--drafter", drafter, "--loss", "mine.py:variation")
    assert result.exit_code == 0, said(result)
    assert "break-even" in said(result)


def test_a_loss_of_ones_own_is_the_one_by_hand():
    """As TV, which it is: value and slope, also where tensors come from inference; a class and an object too."""
    rng = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        target, draft = (torch.randn(2, 5, 7, generator=rng, dtype=torch.float64).softmax(-1) for _ in range(2))
    own = Objective("mine.py:variation").formula
    torch.testing.assert_close(own.value(target, draft.log()), TV().value(target, draft.log()))
    torch.testing.assert_close(own.slope(target, draft.log()), TV().slope(target, draft.log()))
    assert divergence_of(TV) == divergence_of(TV()) == TV()
    assert not Objective("mine.py:variation").convex


def test_learners_are_compared_by_name_beside_one_frozen_draft():
    learners = ("--learner", "ogd", "--learner", "optimistic", "--learner", "mine.py:Mine", "--set", "step_size=8")
    result = run("--prompts", "prose:4", *learners)
    assert result.exit_code == 0, said(result)
    lines = [line.split()[0] for line in result.output.splitlines() if line.startswith(" ") and "[" in line]
    assert lines == ["plain", "frozen", "ogd", "optimistic", "Mine"]
    assert "optimistic: hint_gain" in said(result)
    assert "Mine: break-even against frozen" in said(result)


def test_what_a_learner_poisons_is_never_saved(tmp_path):
    """The file holds the state of the requests before, finite, and a run goes on from it."""
    kept = ("--learner", "mine.py:Poisons", "--set", "step_size=8", "--state", "s")
    result = run("--prompts", "prose:4", *kept)
    assert result.exit_code == 2
    words = "mine.py:Poisons, round 2: state.energy hold nan or infinity; the state from before is kept"
    assert words in said(result)
    assert "The state from before this request is in s" in said(result)
    tensors, _ = load(tmp_path / "s")
    assert len(tensors["log"]) < 2
    assert not not_finite(tensors)


def test_a_state_belongs_to_the_files_it_was_learned_with(tmp_path):
    first = ("--prompts", "prose:2", "--loss", "mine.py:variation", "--state", "s.safetensors")
    assert run(*first).exit_code == 0
    assert run(*first).exit_code == 0
    (tmp_path / "mine.py").write_text(MINE.replace("0.5 *", "0.6 *"))
    result = run(*first)
    assert result.exit_code == 2
    assert "saved with other settings (there, here): {'loss_file'" in said(result)


MISTAKES = {
    "no such drafter": (("--drafter", "adaptor"), "drafter='adaptor': no such drafter; did you mean 'adapter'?"),
    "class misspelt": (("--drafter", "mine.py:Agan"), "mine.py defines no 'Agan'; did you mean 'Again'?"),
    "drafter file": (("--drafter", "absent.py:A"), "drafter='absent.py:A': no file 'absent.py'; give the path of"),
    "no drafter": (("--drafter", "mine.py:variation"), "it must be a class derived from real.drafters.Drafter"),
    "half a drafter": (("--drafter", "mine.py:Half"), "lacks logits_after, the class method of(pair, **sett"),
    "drafter syntax": (("--drafter", "syntax.py:X"), "syntax.py:X: its code raised SyntaxError"),
    "drafter setting": (("--drafter", "mine.py:Again", "--drafter-set", "weigt=2"), "there are weight"),
    "drafter's code": (("--drafter", "mine.py:Late"), "raised IndexError: off, line 33 of mine.py. `python -m real"),
    "wrong shape": (("--drafter", "mine.py:OneRow"), "`python -m real check mine.py:OneRow` tries it law by law"),
    "nothing to train": (("--drafter", "mine.py:Again", "--learner", "ogd"), "Again has nothing to train; choose"),
    "no such loss": (("--loss", "klx"), "loss='klx': must be one of kl, reverse_kl, jsd, tv, speed, or file.py:func"),
    "loss misspelt": (("--loss", "mine.py:variatio"), "mine.py defines no 'variatio'; did you mean 'variation'?"),
    "no loss": (("--loss", "mine.py:number"), "is 3; it must be a function of target_probs and log_draft_probs"),
    "loss's shape": (("--loss", "mine.py:whole"), "gave shape () for laws of shape (8, 128); it must give one number"),
    "no gradient": (("--loss", "mine.py:stopped"), "has no gradient in log_draft_probs; compute it by torch"),
    "loss's code": (("--loss", "mine.py:outside"), "mine.py:outside: its code raised IndexError"),
    "thawed learner": (("--learner", "mine.py:Thawed"), "must be a frozen dataclass derived from theory.learner.Lea"),
    "learner misspelt": (("--learner", "mine.py:Min"), "mine.py defines no 'Min'; did you mean 'Mine'?"),
    "learner's code": (("--learner", "mine.py:Breaks", "--set", "step_size=1"), "its code raised AttributeError"),
    "learner quits": (("--learner", "mine.py:Quits", "--set", "step_size=1"), "mine.py:Quits: its code raised SystemE"),
    "quits at once": (("--learner", "mine.py:QuitsAtOnce", "--set", "step_size=1"), "its code raised SystemExit: 0, "),
    "no decision": (("--learner", "mine.py:Nothing", "--set", "step_size=1"), "predict gave a NoneType, but a drafter"),
    "quitting file": (("--learner", "quits.py:X"), "quits.py:X: its code raised SystemExit: 0"),
    "learner twice": (("--learner", "ogd", "--learner", "ogd"), "is called 'ogd', as another one is; give each once"),
    "state of several": (("--learner", "ogd", "--learner", "adam", "--state", "s"), "is about one; give one --learner"),
    "several certified": (("--learner", "ogd", "--learner", "adam", "--certify", "c"), "is about one; give one"),
    "option twice": (("--drafter", "adapter", "--drafter", "heads"), "--drafter is given 2 times, but has one value"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_has_a_message_with_a_remedy(tmp_path, arguments, words):
    before = contents(tmp_path)
    result = run("--prompts", "prose:2", *arguments)
    assert result.exit_code == 2
    assert words in said(result)
    assert "Traceback" not in result.output
    after = {name: content for name, content in contents(tmp_path).items() if "__pycache__" not in name}
    assert after == before
