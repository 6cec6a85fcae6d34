# pyright: reportArgumentType=false
"""Blends: mixed without being laid out, they are the laws laid out and mixed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from real.drafters.blend import Blend, laid_out  # noqa: E402
from real.drafters.copies import NOWHERE, Copies, with_copies  # noqa: E402

V = 7


@st.composite
def blends(draw):
    """A blend of two to six parts over one to three texts, its laws laid out by the recursion, and weights."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    texts, parts = draw(st.integers(1, 3)), draw(st.integers(2, 6))
    laws, bases, dense = [], [], []
    for k in range(parts):
        kind = draw(st.sampled_from(["ground", "same", "copies"])) if k else "ground"
        base = draw(st.integers(0, k - 1)) if k else None
        if kind == "copies":
            found = []
            for _ in range(texts):
                count = draw(st.integers(0, 4))
                share = rng.uniform(0.1, 0.9)
                weights = rng.dirichlet(np.ones(count)) * (1 - share) if count else ()
                found.append(Copies(share, rng.integers(0, V, count), weights) if count else NOWHERE)
            laws.append(found)
            dense.append(with_copies(dense[base], found))
        else:
            same = kind == "same" and isinstance(laws[base], torch.Tensor)
            laws.append(laws[base] if same else torch.from_numpy(rng.dirichlet(np.ones(V), texts)))
            dense.append(laws[-1])
        bases.append(base)
    corner = draw(st.booleans())
    weights = np.eye(parts)[rng.integers(0, parts, texts)] if corner else rng.dirichlet(np.ones(parts), texts)
    return Blend(laws, bases), torch.stack(dense, 1), weights


@given(blends())
def test_laws_laid_out_are_those_of_the_recursion(made):
    blend, laws, _ = made
    rows = range(laws.shape[0])
    torch.testing.assert_close(laid_out([(blend, row) for row in rows]), laws, rtol=1e-12, atol=1e-15)


@given(blends())
def test_a_mixture_is_that_of_the_laws_laid_out(made):
    blend, laws, weights = made
    kept = laws.clone()
    wanted = (torch.from_numpy(weights)[:, None] @ laws)[:, 0]
    torch.testing.assert_close(blend.mixed(weights.tolist()), wanted, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(laws, kept, rtol=0, atol=0)
    again = blend.mixed(weights.tolist())
    torch.testing.assert_close(again, wanted, rtol=1e-12, atol=1e-15)


@given(blends())
def test_what_each_law_gets_is_told(made):
    """x' of the grounds and of what is copied: the mixture is their sum."""
    blend, laws, weights = made
    for row, own in enumerate(weights.tolist()):
        spread = blend.spread(row, own)
        found = np.zeros(V)
        for k, law in enumerate(blend.laws):
            if isinstance(law, torch.Tensor):
                found += spread[k] * law[row].numpy()
            else:
                np.add.at(found, np.asarray(law[row].ids, int), spread[k] * np.asarray(law[row].weights))
        np.testing.assert_allclose(found, own @ laws[row].numpy(), rtol=1e-12, atol=1e-15)
