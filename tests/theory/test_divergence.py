"""Divergences: slopes are derivatives, known identities hold, one source serves numpy and torch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from theory.divergence import DIVERGENCES, Speed  # noqa: E402
from theory.loss import Blocks, SoftmaxKL  # noqa: E402
from theory.speculation.acceptance import alpha  # noqa: E402
from theory.speculation.speedup import tokens_per_step  # noqa: E402

SEEDS = st.integers(0, 2**31)


def laws(seed: int, *shape: int, spread: float = 2.0):
    """Target laws and draft logits, numpy float64."""
    rng = np.random.default_rng(seed)
    target = np.exp(spread * rng.normal(size=shape))
    return target / target.sum(-1, keepdims=True), spread * rng.normal(size=shape)


def log_softmax(z):
    return z - z.max(-1, keepdims=True) - np.log(np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True))


@given(SEEDS, st.sampled_from([*DIVERGENCES]), st.integers(1, 6), st.integers(2, 7))
def test_slope_is_the_derivative_in_the_logits(seed, name, n, vocab):
    target, z = laws(seed, 3, n, vocab)
    leaf = torch.tensor(z, requires_grad=True)
    value = DIVERGENCES[name].value(torch.tensor(target), leaf.log_softmax(-1))
    assert value.shape == (3,)
    value.sum().backward()
    np.testing.assert_allclose(DIVERGENCES[name].slope(target, log_softmax(z)), leaf.grad.numpy(), atol=1e-12)
    np.testing.assert_allclose(DIVERGENCES[name].value(target, log_softmax(z)), value.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", ["kl", "reverse_kl", "jsd", "tv"])
def test_zero_exactly_where_the_draft_is_the_target(name):
    target, z = laws(0, 4, 6)
    assert DIVERGENCES[name].value(target, np.log(target)) == pytest.approx(0, abs=1e-12)
    if name != "tv":  # which has a kink there
        assert np.abs(DIVERGENCES[name].slope(target, np.log(target))).max() < 1e-12
    assert DIVERGENCES[name].value(target, log_softmax(z)) > 0.01


@given(SEEDS)
def test_known_relations(seed):
    target, z = laws(seed, 5, 6)
    value = {name: float(of.value(target, log_softmax(z))) for name, of in DIVERGENCES.items()}
    assert value["tv"] == pytest.approx(1 - alpha(target, np.exp(log_softmax(z))).mean())
    assert 0 <= value["jsd"] <= np.log(2)
    assert value["tv"] ** 2 <= value["kl"] / 2 + 1e-12, "Pinsker (with Jensen)"
    swapped = DIVERGENCES["kl"].value(np.exp(log_softmax(z)), np.log(target))
    assert value["reverse_kl"] == pytest.approx(float(swapped))


@pytest.mark.parametrize("gamma", [1, 3, 6])
@pytest.mark.parametrize("accepted", [0.2, 0.7, 1.0])
def test_speed_of_equal_acceptances_is_the_speed_law(gamma, accepted):
    """Windows of n positions with one α: E(1 − α, min(gamma, what is left)), averaged over the starts."""
    n, target = 9, np.zeros((9, 3))
    target[:, 0] = 1.0
    draft = np.full((n, 3), (1 - accepted) / 2 + 1e-300)
    draft[:, 0] = accepted
    want = np.mean([tokens_per_step(1 - accepted, min(gamma, n - start)) for start in range(n)])
    assert -Speed(gamma).value(target, np.log(draft)) == pytest.approx(np.log(want))


def test_speed_weighs_early_rejections_more():
    """Of two rounds with the same mean alpha, the one whose rejection splits the text in the middle is slower."""
    target = np.zeros((8, 2))
    target[:, 0] = 1.0
    values = []
    for bad in (3, 7):
        draft = np.full((8, 2), 1e-12)
        draft[:, 0] = 1.0
        draft[bad] = 0.5
        values.append(float(Speed(4).value(target, np.log(draft))))
    assert values[0] > values[1]


def test_forward_kl_is_convex_in_the_logits_and_the_others_are_not():
    rng = np.random.default_rng(0)
    for name, of in DIVERGENCES.items():
        worst = -np.inf
        for seed in range(200):
            target, z = laws(seed, 2, 4)
            other = z + 3 * rng.normal(size=z.shape)
            middle = of.value(target, log_softmax((z + other) / 2))
            ends = (of.value(target, log_softmax(z)) + of.value(target, log_softmax(other))) / 2
            worst = max(worst, float(middle - ends))
        assert (worst < 1e-12) == (name == "kl"), name


def test_blocks_are_their_parts():
    rng = np.random.default_rng(1)
    parts = [SoftmaxKL(rng.normal(size=(5, 3)), laws(i, 5, 4)[0]) for i in range(3)]
    weights = (0.5, 0.0, 0.25)
    loss, x = Blocks(tuple(parts), weights), rng.normal(size=(2, 36))
    want = sum(
        w * part.value(x[:, 12 * i : 12 * (i + 1)]) for i, (part, w) in enumerate(zip(parts, weights, strict=True))
    )
    np.testing.assert_allclose(loss.value(x), want)
    grads = [w * part.grad(x[:, 12 * i : 12 * (i + 1)]) for i, (part, w) in enumerate(zip(parts, weights, strict=True))]
    np.testing.assert_allclose(loss.grad(x), np.concatenate(grads, -1))
    assert np.all(loss.grad(x)[:, 12:24] == 0)
    leaf = torch.tensor(x[0], requires_grad=True)
    wide = Blocks(tuple(SoftmaxKL(torch.tensor(p.features), torch.tensor(p.target_probs)) for p in parts), weights)
    wide.value(leaf).backward()
    np.testing.assert_allclose(loss.grad(x[0]), leaf.grad.numpy(), atol=1e-12)
    with pytest.raises(ValueError, match="one weight each"):
        Blocks((parts[0],), (1.0, 1.0))
