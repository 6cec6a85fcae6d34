"""A function compiled ahead of time gives what it gives; where it cannot be compiled it is used as it is, and told."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters.memory import corrected  # noqa: E402
from real.models.fused import fused  # noqa: E402

SHAPES = ((1, 40), (1, 6), (6, 4), (9, 4), (9, 40), (9,))


def of_three(*tensors):
    return corrected(*tensors, nearest=3)


def branching(x):
    return x + 1 if float(x.sum()) > 0 else x


def test_what_is_fused_is_the_function_of_whatever_tensors():
    run = fused(of_three, SHAPES)
    assert run is not of_three
    assert fused(of_three, SHAPES) is run
    for seed in range(3):
        rng = torch.Generator().manual_seed(seed)
        given = [torch.randn(shape, generator=rng) for shape in SHAPES]
        with torch.inference_mode():
            torch.testing.assert_close(run(*given), of_three(*given), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_compiled_is_used_as_it_is():
    with pytest.warns(UserWarning, match="branching was not compiled"):
        assert fused(branching, ((3,),)) is branching
