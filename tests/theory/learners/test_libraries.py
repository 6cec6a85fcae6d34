"""One source for every library: numpy, torch (on CUDA too, where there is a device) and jax, compiled, play alike."""

import numpy as np
import pytest
import torch

from tests.theory.learners.test_learner_laws import DIMENSION, SUBJECTS
from theory.checker.checks import plays
from theory.domain import Ball, Free, Simplex
from theory.learners import LEARNERS, AdaHedge, FixedShare, Hedge, LastLoss, Mixture, OptimisticHedge
from theory.loss import Linear, MixtureKL, MixtureTV, Quadratic, SoftmaxKL
from theory.problem import Problem

LIBRARIES = ["torch", pytest.param("cuda", marks=pytest.mark.gpu), "jax"]
ROUNDS, COPIES = 12, 2


def arrays_of(library):
    """(numpy array → the library's, a function as the library runs it)."""
    if library == "jax":
        jax = pytest.importorskip("jax")
        jax.config.update("jax_enable_x64", True)
        return jax.numpy.asarray, jax.jit  # compiled: no Python branch may depend on the value of an array
    if library == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    device = "cuda" if library == "cuda" else "cpu"
    return lambda array: torch.tensor(array, device=device), lambda function: function


def as_numpy(array):
    return array.cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)


def losses(kind, rng):
    """Kind and arrays ``[COPIES, ...]`` of one round's losses."""
    for _ in range(ROUNDS):
        if kind in (MixtureKL, MixtureTV):
            yield rng.dirichlet(np.ones(5), (COPIES, DIMENSION)), rng.dirichlet(np.ones(5), COPIES)
        elif kind is SoftmaxKL:
            yield rng.normal(size=(COPIES, 3, 2)), rng.dirichlet(np.ones(DIMENSION // 2), size=(COPIES, 3))
        else:
            yield (rng.normal(size=(COPIES, DIMENSION)),)


def play_both(learner, kind, library):
    asarray, compiled = arrays_of(library)
    rng = np.random.default_rng(0)
    weights = isinstance(learner.domain, Simplex)
    x_1 = rng.dirichlet(np.ones(DIMENSION), COPIES) if weights else rng.normal(size=(COPIES, DIMENSION))
    x_1 = learner.domain.project(x_1)
    ours, theirs = learner.init(x_1), learner.init(asarray(x_1))
    update = compiled(lambda state, *parts: learner.update(state, kind(*parts)))
    for parts in losses(kind, rng):
        np.testing.assert_allclose(as_numpy(learner.predict(theirs)), learner.predict(ours), atol=1e-12)
        ours, theirs = learner.update(ours, kind(*parts)), update(theirs, *map(asarray, parts))
    limits = [learner.bound(state, 4.0) for state in (ours, theirs)]
    assert (limits[0] is None) == (limits[1] is None)
    if limits[0] is not None:
        np.testing.assert_allclose(as_numpy(limits[1]), limits[0], rtol=1e-12)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", SUBJECTS)
def test_every_learner_plays_alike(name, library):
    play_both(SUBJECTS[name], Quadratic, library)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("learner", [Mixture(), FixedShare(1.0, 0.1), LastLoss(0.7)], ids=repr)
def test_mixtures_of_drafts_are_weighed_alike(learner, library):
    play_both(learner, MixtureKL, library)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    "learner", [Hedge(0.3), AdaHedge(), OptimisticHedge(), FixedShare(0.3, 0.1, surrogate=True)], ids=repr
)
def test_weights_learned_on_acceptance_are_alike(learner, library):
    play_both(learner, MixtureTV, library)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["ogd", "optimistic", "ensemble", "sword", "coin_betting"])
def test_the_decoder_s_loss_is_followed_alike(name, library):
    play_both(LEARNERS[name].tuned(Problem(Ball(1.5), DIMENSION, ROUNDS, 6.0)), SoftmaxKL, library)


@pytest.mark.parametrize("name", [n for n in SUBJECTS if not isinstance(SUBJECTS[n].domain, Simplex | Free)])
def test_float32_in_torch_stays_close_to_float64(name):
    learner, rng = SUBJECTS[name], np.random.default_rng(1)
    rounds = [Linear(rng.normal(size=(COPIES, DIMENSION))) for _ in range(ROUNDS)]
    state = learner.init(torch.zeros(COPIES, DIMENSION))
    for x_t, loss in zip(plays(learner, np.zeros((COPIES, DIMENSION)), rounds), rounds, strict=True):
        played = learner.predict(state)
        assert played.dtype == torch.float32
        np.testing.assert_allclose(played.numpy(), x_t, atol=2e-4)
        state = learner.update(state, Linear(torch.from_numpy(loss.slope).float()))
