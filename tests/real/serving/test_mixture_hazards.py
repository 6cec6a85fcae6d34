# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Bugs that a mixture and its memories invite, each planted here and seen by the checks of ``test_hazards.py``."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import real.drafters.memory as memory  # noqa: E402
from real.drafters.backoff import Backoff  # noqa: E402
from real.drafters.blend import laid_out  # noqa: E402
from real.drafters.copies import in_text, with_copies  # noqa: E402
from real.drafters.independent import Independent  # noqa: E402
from real.drafters.memory import ResidualMemory  # noqa: E402
from real.drafters.mixture import Mixture  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from tests.real.serving import test_tenants  # noqa: E402
from tests.real.serving.test_hazards import law_error  # noqa: E402
from tests.tabular import TabularLM  # noqa: E402


class Mixed(Mixture):
    """Two models and copies on the first."""

    def __init__(self, model, vocab):
        first = Independent(model, vocab)
        super().__init__([first, Independent(TabularLM.random(5, vocab), vocab), Backoff(first, least=1)])


class WeighedAfterTheSample(Mixed):
    """Reports the mixture under weights that have seen the sample."""

    def propose(self, lengths, sampling, uniforms, confidence=0.0):
        made = super().propose(lengths, sampling, uniforms)
        laws = laid_out([(said, 0) for said in self._drafted[1]])[None]  # [1, g, N, V]
        given = laws.gather(-1, made.tokens[:, :, None, None].expand(-1, -1, laws.shape[2], 1))
        weights = given / given.sum(2, keepdim=True)
        return made._replace(probs=(weights * laws).sum(2))


class RemembersTooSoon(Backoff):
    """Reports its law by a table that holds what it has just drafted."""

    def __init__(self, model, vocab):
        super().__init__(Independent(model, vocab), least=1)

    def propose(self, lengths, sampling, uniforms, confidence=0.0):
        made = super().propose(lengths, sampling, uniforms)
        again = Backoff(Independent(self.base.model, self.vocab), least=1)
        again.begin([*self.texts[0].tokens, *made.tokens[0].tolist()])
        text, laws = again.texts[0].tokens, []
        for at in range(len(self.texts[0].tokens), len(text)):
            found = in_text(text, len(text), text[:at][::-1], 1, again.longest, again.entries)
            row = again.base.model.table[text[at - 2] * self.vocab + text[at - 1]]
            laws.append(with_copies(sampling.law(row)[None], [found])[0])
        return made._replace(probs=torch.stack(laws)[None])


class Copies(Backoff):
    def __init__(self, model, vocab):
        super().__init__(Independent(model, vocab), least=1)


@pytest.mark.parametrize(
    ("right", "wrong", "at_least"), [(Mixed, WeighedAfterTheSample, 0.01), (Copies, RemembersTooSoon, 0.01)]
)
def test_a_law_of_what_came_after_the_draw_is_seen(right, wrong, at_least):
    assert law_error(right, Sampling(1.0)) < 1e-6
    assert law_error(wrong, Sampling(1.0)) > at_least


class Remembering(ResidualMemory):
    """A memory that has seen the target's law far from the draft's, near every state."""

    def __init__(self, model, vocab):
        super().__init__(Independent(model, vocab), burn_in=16)
        states, drafts = torch.ones(4, 1, dtype=torch.float64), torch.zeros(4, vocab, dtype=torch.float64)
        self._fresh = [(states, drafts, 20.0 * (drafts + torch.eye(vocab, dtype=torch.float64)[:1]))]
        self._remember()


class Unclipped(Remembering):
    """Reports the law that it would have drawn from without the clip."""

    def follow(self, said, drafted):
        super().follow(said, drafted)
        clipped, rows = self._values, slice(0, 4)
        self._values = clipped.clone()
        self._values[rows] = 20.0 * clipped[rows].sign()
        self._reported = [*(self._reported if drafted else []), self._corrected(said, self.draft.newest)]
        self._values = clipped

    def propose(self, lengths, sampling, uniforms, confidence=0.0):
        made = super().propose(lengths, sampling, uniforms)
        return made._replace(probs=torch.stack([sampling.law(one) for one in self._reported], 1))


def test_a_law_reported_without_its_clip_is_seen():
    assert law_error(Remembering, Sampling(1.0)) < 1e-6
    assert law_error(Unclipped, Sampling(1.0)) > 0.01


@pytest.mark.parametrize("name", ["memory", "mixture"])
def test_another_tenants_memory_is_seen(name, monkeypatch):
    test_tenants.test_a_tenant_is_served_as_by_a_decoder_of_its_own(name, 1)
    right = ResidualMemory.restore

    def keeps(self, state):
        if not self.count:
            right(self, state)

    monkeypatch.setattr(memory.ResidualMemory, "restore", keeps)
    with pytest.raises(AssertionError):
        test_tenants.test_a_tenant_is_served_as_by_a_decoder_of_its_own(name, 1)
