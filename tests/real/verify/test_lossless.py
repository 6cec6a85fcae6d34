# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Greedy output of every method is `model.generate`'s, sampled output is the target's law; both checks can fail."""

from statistics import median

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.models.hf import PROVEN  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.step import alone, generate  # noqa: E402
from real.systems.rows import Method  # noqa: E402
from real.verify.lossless import (  # noqa: E402
    CHECKED,
    FALSE_ALARM,
    MATRIX,
    check_greedy,
    check_sampled,
    compare,
    lossless,
    random_pair,
    random_prompts,
    reference,
    served,
    transforms,
    uniformity,
)
from theory.learners.ogd import OGD  # noqa: E402

GREEDY = Sampling(0.0)


ONCE = [*(f"{name} token" for name in MATRIX), "plain", "adapter, 4 rows", "lengths by cost"]
"""Each kind of drafter once, and rows: what a family can change. `python -m real lossless` checks the whole product."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "checked"), [(family, list(CHECKED) if family == "qwen3" else ONCE) for family in PROVEN]
)
def test_greedy_is_generate_token_for_token_in_float64(family, checked, capsys):
    pair, prompts = random_pair(family, "float64"), random_prompts(6, 256, 7)
    assert check_greedy(family, pair, prompts, 32, {name: CHECKED[name] for name in checked})
    out = capsys.readouterr().out
    assert out.count("identical    6/6") == len(checked) >= 8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_greedy_is_generate_token_for_token_on_a_gpu():
    pair, prompts = random_pair("qwen3", "float64"), random_prompts(5, 256, 7)
    for model in (pair.target.model, pair.draft.model):
        model.to("cuda")
    assert check_greedy("qwen3 on cuda", pair, prompts, 32, CHECKED)
    assert check_sampled("qwen3 on cuda", pair, prompts, 32, CHECKED)


@pytest.mark.parametrize("family", PROVEN)
def test_the_comparison_is_not_empty(family):
    """Texts are varied, some drafted tokens are accepted and some are not."""
    pair, prompts = random_pair(family, "float64"), random_prompts(10, 256, 7)
    assert median(len(set(text)) for text in reference(pair, prompts, 32)) >= 20
    drafter, steps = make_drafter("adapter", pair), []
    for prompt in prompts:
        steps += list(generate(alone(pair.target, drafter, prompt, 32), 4, GREEDY))
    assert 1.3 < sum(len(done.tokens) for done in steps) / len(steps) < 4.7


@pytest.mark.parametrize("sampling", [Sampling(1.0), Sampling(0.7, top_k=40, top_p=0.9)], ids=str)
@pytest.mark.parametrize("method", ["frozen", "ensemble", "weights-adam", "ngram", "adapter, 4 rows"])
def test_sampled_text_has_the_targets_law(method, sampling):
    """Kolmogorov–Smirnov, false-alarm probability 1e-6, seeds fixed."""
    pair, prompts = random_pair("llama", "float32"), random_prompts(20, 256, 9)
    texts = CHECKED[method](pair, prompts, 40, sampling, 11)
    rng = torch.Generator().manual_seed(12)
    values = [transforms(pair, prompt, text, sampling, rng) for prompt, text in zip(prompts, texts, strict=True)]
    assert len(torch.cat(values)) == 800
    assert uniformity(torch.cat(values)) >= FALSE_ALARM


def test_the_same_text_for_every_gamma():
    pair, prompts = random_pair("qwen3", "float64"), random_prompts(3, 256, 5)
    wanted = reference(pair, prompts, 24)
    for gamma in (1, 2, 3, 5, 8):
        texts = served(Method("adapter", OGD(64.0)), gamma)(pair, prompts, 24, GREEDY, 0)
        assert not compare(pair, prompts, texts, wanted)


def wrong_at_the_end(pair, prompts, new, sampling, seed):
    for text in CHECKED["plain"](pair, prompts, new, sampling, seed):
        yield [*text[:-1], (text[-1] + 1) % pair.target.vocab]


def always_greedy(pair, prompts, new, sampling, seed):
    yield from CHECKED["plain"](pair, prompts, new, GREEDY, seed)


def test_checkers_see_a_wrong_decoder(capsys):
    pair, prompts = random_pair("llama", "float64"), random_prompts(4, 256, 7)
    assert not check_greedy("planted", pair, prompts, 32, {"wrong": wrong_at_the_end})
    out = capsys.readouterr().out
    assert "identical    0/4" in out
    assert out.count("position 31: top-2 logit gap") == 4
    assert not check_sampled("planted", pair, prompts, 32, {"wrong": always_greedy})


def test_command_prints_a_table_and_a_verdict(capsys):
    one = {name: CHECKED[name] for name in ("plain", "frozen")}
    assert lossless(prompts=2, new=24, families=["llama"], methods=one)
    assert "no p below 1e-06" in capsys.readouterr().out
    assert not lossless(prompts=2, new=24, families=["llama"], methods={"wrong": wrong_at_the_end})
    assert "FAILED: greedy llama float64" in capsys.readouterr().out
    with pytest.raises(ValueError, match="prompts=0"):
        lossless(prompts=0)
