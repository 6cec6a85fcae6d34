# pyright: reportAttributeAccessIssue=false, reportIncompatibleMethodOverride=false
"""The laws of a drafter: users' own classes keep them all, and a planted liar breaks each."""

from dataclasses import dataclass
from itertools import count

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import Drafter  # noqa: E402
from real.drafters.objective import DISTIL, Objective  # noqa: E402
from real.drafters.weights import Weights  # noqa: E402
from real.verify.drafter_laws import ALWAYS, TRAINING, laws, losses_are_convex  # noqa: E402
from real.verify.on_trial import Broken, Subject  # noqa: E402


class Again(Drafter):
    """A user's own that does not train: drafts the token before once more."""

    def __init__(self, vocab: int):
        self.vocab = vocab

    @classmethod
    def of(cls, pair, **settings):
        return cls(pair.target.vocab, **settings)

    def logits_after(self, drafted):
        last = drafted[-1] if drafted else torch.tensor([text.tokens[-1] for text in self.texts])
        return 4.0 * torch.nn.functional.one_hot(last, self.vocab).float()


@dataclass(frozen=True)
class BiasLoss:
    """The objective at a law that is the same everywhere: softmax(x)."""

    targets: torch.Tensor
    objective: Objective

    def _log(self, x):
        return (x / self.objective.temperature).log_softmax(-1).expand_as(self.targets)

    def value(self, x):
        return self.objective.formula.value(self.targets, self._log(x))

    def grad(self, x):
        return self.objective.formula.slope(self.targets, self._log(x)).sum(-2) / self.objective.temperature

    def value_and_grad(self, x):
        return self.value(x), self.grad(x)


class Bias(Again):
    """A user's own that trains: a bias over the vocabulary, whatever the text."""

    trains = convex = True
    kind = BiasLoss

    def __init__(self, vocab: int):
        super().__init__(vocab)
        self.bias = torch.zeros(vocab)

    @property
    def dimension(self):
        return self.vocab

    @property
    def x(self):
        return self.bias.clone()

    def load(self, x):
        self.bias = x.clone()

    def logits_after(self, drafted):
        return self.bias.expand(len(self.texts), -1)

    def loss(self, pieces, objective=DISTIL):
        rows = objective.rows(pieces)
        return self.kind(
            torch.cat([p.target_probs[row] for p, row in zip(pieces, rows, strict=True)]).float(), objective
        )


@pytest.mark.parametrize(
    ("kind", "law"),
    [(kind, law) for kind in (Again, Bias) for law in laws(kind).values()],
    ids=lambda value: value.__name__,
)
def test_a_users_own_drafter_keeps_every_law(kind, law):
    law(Subject.of(kind))


class OneRow(Again):
    def logits_after(self, drafted):
        return super().logits_after(drafted)[0]


class Wide(Again):
    def __init__(self, vocab):
        super().__init__(vocab + 1)


class Half(Again):
    def propose(self, lengths, sampling, uniforms, confidence=0.0):
        made = super().propose(lengths, sampling, uniforms, confidence)
        return made if made.probs is None else made._replace(probs=made.probs / 2)


class Writes(Again):
    def propose(self, lengths, sampling, uniforms, confidence=0.0):
        made = super().propose(lengths, sampling, uniforms, confidence)
        self.texts[0].tokens.append(int(made.tokens[0, 0]))
        return made


class Favours(Again):
    """Reports a law and draws token 3 instead, one time in four."""

    def propose(self, lengths, sampling, uniforms, confidence=0.0):
        made = super().propose(lengths, sampling, uniforms, confidence)
        return made._replace(tokens=torch.full_like(made.tokens, 3)) if float(uniforms[0, 0]) < 0.25 else made


class Rolls(Again):
    def enter(self, keep_prompt=False):
        torch.rand(1)


class Numbered(Again):
    made = count()

    def __init__(self, vocab):
        super().__init__(vocab)
        self.number = next(self.made)

    def logits_after(self, drafted):
        return super().logits_after(drafted).roll(self.number, -1)


class Stale(Again):
    """Copies the text when a request begins, and never looks again."""

    def enter(self, keep_prompt=False):
        self.last = self.texts[-1].tokens[-1]

    def logits_after(self, drafted):
        last = drafted[-1] if drafted else torch.tensor([self.last] * len(self.texts))
        return 4.0 * torch.nn.functional.one_hot(last, self.vocab).float()


class Hoards(Again):
    """Remembers how many texts have left, beside its state."""

    left = 0

    def leave(self, row):
        self.left += 1

    def logits_after(self, drafted):
        return super().logits_after(drafted) / (1 + self.left)


class Holds(Hoards):
    """The same in its state, but not where another tenant's turn comes."""

    def state(self):
        return {"left": torch.tensor(self.left)}

    def restore(self, state):
        self.left = int(state["left"])

    def put_aside(self):
        return None

    def take_up(self, memory):
        return None


class Edits(Again):
    def commit(self):
        self.texts[0].tokens[-1] = 0


class Swaps(Again):
    """Ends the first text's draft with a token of the second's, in its text."""

    def commit(self):
        if len(self.texts) > 1:
            self.texts[0].tokens[-1] = self.texts[1].tokens[-1]


class Deaf(Bias):
    def load(self, x):
        return None


class Shared(Bias):
    @property
    def x(self):
        return self.bias


class Steep(BiasLoss):
    def grad(self, x):
        return 1.01 * super().grad(x)


class Cold(BiasLoss):
    """Forgets the temperature."""

    def _log(self, x):
        return x.log_softmax(-1).expand_as(self.targets)

    def grad(self, x):
        return self.objective.formula.slope(self.targets, self._log(x)).sum(-2)


class Flipped(BiasLoss):
    def value(self, x):
        return -super().value(x)

    def grad(self, x):
        return -super().grad(x)


class SteepBias(Bias):
    kind = Steep


class ColdBias(Bias):
    kind = Cold


class FlippedBias(Bias):
    kind = Flipped


class Boasts(Weights):
    convex = True


LIARS = [
    ("drafts_laws", OneRow, r"logits_after\(\[\]\) has shape \(128,\): it must be \(1, 128\)"),
    ("drafts_laws", Wide, "vocab is 129, the target's is 128"),
    ("drafts_laws", Half, "laws with least entry"),
    ("drafts_laws", Writes, "only the session may append to it"),
    ("samples_what_it_reports", Favours, r"token 3 was drawn \+\d+.* times more than reported in 400 trials"),
    ("made_alike", Rolls, "global generator was used"),
    ("made_alike", Numbered, "two texts under one seed"),
    ("follows_the_text", Stale, "laws differ by"),
    ("remembers_by_its_state", Hoards, "after state and restore laws differ by"),
    ("remembers_by_its_state", Holds, "after put_aside and take_up laws differ by"),
    ("keeps_the_greedy_text", Edits, "transformers' own"),
    ("keeps_the_greedy_text", Deaf, "no update moved x"),
    ("follows_several_texts", Swaps, "in two rows, after"),
    ("one_flat_vector", Deaf, r"after load\(x\) it serves"),
    ("one_flat_vector", Shared, "return a copy"),
    ("gradient_is_the_derivative", SteepBias, "grad says"),
    ("loss_is_of_the_law_drafted", ColdBias, "the loss is"),
    ("losses_are_convex", FlippedBias, "above"),
    ("losses_are_convex", Boasts, "above"),
]


@pytest.mark.parametrize(("law", "kind", "message"), LIARS, ids=[f"{law}-{kind.__name__}" for law, kind, _ in LIARS])
def test_a_liar_is_caught(law, kind, message):
    with pytest.raises(Broken, match=message):
        laws(kind)[law](Subject.of(kind))


def test_every_law_has_a_liar():
    assert {law for law, _, _ in LIARS} == {law.__name__ for law in (*ALWAYS, *TRAINING, losses_are_convex)}
