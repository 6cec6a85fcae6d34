# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
"""In a type that rounds a text is the target's up to ties, and the rule for ties lets no other difference through."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.verify.lossless import CHECKED, random_pair, random_prompts, reference  # noqa: E402
from real.verify.rounded import ONCE, check, held, rounded, rounding  # noqa: E402

NEW = 24


@pytest.fixture(scope="module")
def pair():
    return random_pair("qwen3", "bfloat16")


@pytest.fixture(scope="module")
def prompts():
    return random_prompts(4, 256, 7)


@pytest.mark.slow
def test_every_kind_of_drafter_keeps_the_text_up_to_ties(pair, prompts, capsys):
    assert check("bfloat16", pair, prompts, NEW, {name: CHECKED[name] for name in ONCE})
    assert capsys.readouterr().out.count("identical up to ties    4/4") == len(ONCE) >= 12


def test_in_float64_there_are_no_ties(prompts):
    exact = random_pair("qwen3", "float64")
    wanted = reference(exact, prompts, NEW)
    assert rounding(exact, [p + text for p, text in zip(prompts, wanted, strict=True)]) < 1e-4


@pytest.mark.parametrize("position", [0, 11, NEW - 1])
def test_a_token_that_no_tie_explains_is_a_fault_wherever_it_is(pair, prompts, position):
    """The third likeliest token, with the reference going on after it: one wrong token and nothing else."""
    prompt, (want,) = prompts[0], reference(pair, prompts[:1], NEW)
    tie = 2 * rounding(pair, [prompt + want])
    logits = pair.target.model(torch.tensor([prompt + want[:position]])).logits[0, -1].double()
    wrong = int((logits < logits.max() - 2 * tie).nonzero()[0])
    text = [*want[:position], wrong]
    text += reference(pair, [prompt + text], NEW - len(text))[0] if len(text) < NEW else []
    _, fault = held(pair, prompt, text, want, tie)
    assert fault.position == position
    assert fault.gap > tie
    assert held(pair, prompt, text, want, fault.gap) == (1, None)
    assert held(pair, prompt, want, want, tie) == (0, None)


def test_after_a_tie_the_rest_is_held_too(pair, prompts):
    prompt, (want,) = prompts[0], reference(pair, prompts[:1], NEW)
    text = [*want[:3], (want[3] + 1) % 256]
    text += reference(pair, [prompt + text], NEW - len(text))[0]
    text[10] = int(pair.target.model(torch.tensor([prompt + text[:10]])).logits[0, -1].argmin())
    gap = held(pair, prompt, text, want, 0.0)[1].gap
    ties, fault = held(pair, prompt, text, want, gap)
    assert (ties, fault.position) == (1, 10)


def test_a_text_that_ends_too_early_is_a_fault(pair, prompts):
    (want,) = reference(pair, prompts[:1], NEW)
    assert held(pair, prompts[0], want[:-1], want, 1e9)[1].position == NEW - 1


def test_the_command_says_what_it_found(capsys, monkeypatch):
    monkeypatch.setattr("real.verify.rounded.ONCE", ("plain",))
    assert rounded(prompts=1, new=4, families=["llama"])
    assert "every text is the target's up to ties" in capsys.readouterr().out

    def wrong(pair, prompts, new, sampling, seed):
        yield from ([(token + 1) % 256 for token in text] for text in reference(pair, prompts, new))

    monkeypatch.setitem(CHECKED, "plain", wrong)
    assert not rounded(prompts=1, new=4, families=["llama"])
    assert "lossless in bfloat16: FAILED" in capsys.readouterr().out
    with pytest.raises(ValueError, match="prompts=0"):
        rounded(prompts=0)
