"""The file of a warm-up: what comes back of x and state, and what is refused."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402

from real.drafters import make_drafter  # noqa: E402
from real.drafters.start import BLOCK, load_start, packed, save_start, unpacked  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402


@pytest.fixture(scope="module")
def pair() -> Pair:
    target = random_model("llama", 0, "float32", vocab=128)
    return Pair(target, perturbed(target, 0.1, 1), None)


def normal(n: int, seed: int = 0):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 10 * BLOCK + 7])
@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
def test_an_entry_moves_by_at_most_half_a_unit_of_its_block(n, size):
    x = size * normal(n)
    again, units = unpacked(packed(x)), packed(x)["x.scale"].float().repeat_interleave(BLOCK)[:n]
    assert again is not None
    assert again.shape == x.shape
    assert again.dtype == torch.float32
    assert bool(((again - x).abs() <= 0.5001 * units).all())


def test_blocks_have_scales_of_their_own():
    """A block of zeros stays zero, and a large entry costs only its own block precision."""
    x = torch.cat([torch.zeros(BLOCK), 1e-6 * normal(BLOCK), 1e6 * normal(BLOCK)])
    again = unpacked(packed(x))
    assert again is not None
    assert not again[:BLOCK].any()
    torch.testing.assert_close(again[BLOCK : 2 * BLOCK], x[BLOCK : 2 * BLOCK], rtol=0, atol=2e-8)


@pytest.mark.parametrize("name", ["adapter", "heads", "hydra", "eagle", "weights"])
def test_the_file_brings_back_x_and_state(pair, name, tmp_path):
    made, again = make_drafter(name, pair), make_drafter(name, pair)
    made.load(made.x + 0.1 * normal(made.dimension))
    if "whitening" in made.state():
        half = made.state()["whitening"] / 2
        made.restore({**made.state(), "ready": torch.tensor(True), "whitening": half})
    save_start(tmp_path / "start.safetensors", made, {"target": "random"})
    assert load_start(tmp_path / "start.safetensors", again) == {"target": "random"}
    torch.testing.assert_close(again.x, unpacked(packed(made.x)), rtol=0, atol=0)
    assert again.ready == made.ready
    for key, tensor in made.state().items():
        torch.testing.assert_close(again.state()[key], tensor, rtol=2**-8, atol=0)


def test_a_byte_an_entry(pair, tmp_path):
    made = make_drafter("eagle", pair)
    save_start(tmp_path / "start.safetensors", made, {})
    assert (tmp_path / "start.safetensors").stat().st_size < 1.04 * made.dimension + 500


def altered(**changes):
    """The tensors of a file with some changed, or left out where None."""
    return lambda tensors: {k: v for k, v in (tensors | changes).items() if v is not None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (altered(**{"x.int8": None}), "holds no decision in 8 bits"),
        (altered(**{"x.scale": None}), "holds no decision in 8 bits; give a file that save_start wrote, or warm up"),
        (altered(**{"x.scale": torch.ones(3)}), "holds no decision in 8 bits"),
        (altered(**{"x.int8": torch.zeros(64, 64, dtype=torch.int8)}), "holds no decision in 8 bits"),
        (lambda tensors: tensors | {"x.int8": tensors["x.int8"].float()}, "holds no decision in 8 bits"),
        (lambda tensors: tensors | packed(torch.ones(100)), r"a decision of 100 entries, Adapter has \d+ here.*start"),
        (altered(**{"state.whitening": None}), "state entry 'whitening': shape None in the file"),
        (altered(**{"state.whitening": torch.ones(3, 3)}), r"state entry 'whitening': shape \(3, 3\) in the file"),
    ],
)
def test_files_that_do_not_fit_change_nothing(pair, change, message, tmp_path):
    path, made = tmp_path / "start.safetensors", make_drafter("adapter", pair)
    made.load(normal(made.dimension))
    save_start(path, made, {})
    save_file(change(load_file(path)), path)
    again = make_drafter("adapter", pair)
    with pytest.raises(ValueError, match=message):
        load_start(path, again)
    assert not again.x.any()


@pytest.mark.parametrize("keep", [0, 7, 200, -1])
def test_a_damaged_file_is_refused(pair, keep, tmp_path):
    path, made = tmp_path / "start.safetensors", make_drafter("adapter", pair)
    save_start(path, made, {})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="not a readable state"):
        load_start(path, made)
    with pytest.raises(FileNotFoundError, match="no state there"):
        load_start(tmp_path / "none.safetensors", made)


def test_what_diverged_is_not_saved(pair, tmp_path):
    made = make_drafter("adapter", pair)
    x = made.x
    x[:2] = torch.tensor([torch.nan, torch.inf])
    made.load(x)
    with pytest.raises(ValueError, match=r"Adapter: 2 of the \d+ entries of x are not finite; .* smaller lr"):
        save_start(tmp_path / "start.safetensors", made, {})
    assert not list(tmp_path.iterdir())
