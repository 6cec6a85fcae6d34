"""Offline warm-up: the loss of serving, on windows of text, for any drafter."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.build.warm import WarmUp, piece, read, warm  # noqa: E402
from real.drafters import make_drafter  # noqa: E402
from real.drafters.start import load_start, save_start  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402


@pytest.fixture(scope="module")
def pair() -> Pair:
    target = random_model("llama", 0, "float32", vocab=128)
    return Pair(target, perturbed(target, 0.1, 1), None)


@pytest.fixture(scope="module")
def windows(pair):
    rng = torch.Generator().manual_seed(3)
    return list(read(pair.target, torch.randint(0, 128, (12, 40), generator=rng).tolist()))


def mean_loss(drafter, pair, windows) -> float:
    loss = drafter.loss([piece(drafter, pair.target, *window) for window in windows])
    return float(loss.value(drafter.x))


@pytest.mark.parametrize("name", ["adapter", "weights"])
def test_the_loss_falls_and_the_file_brings_it_back(pair, windows, name, tmp_path):
    settings = {"burn_in": 64} if name == "adapter" else {}
    cold, made = make_drafter(name, pair, **settings), make_drafter(name, pair, **settings)
    seen: list[float] = []
    warm(made, pair.target, windows, WarmUp(160, lr=1e-3 if name == "weights" else 0.05), lambda i, f: seen.append(f))
    assert len(seen) == 40
    while not cold.ready:
        cold.absorb([piece(cold, pair.target, *windows[0]), piece(cold, pair.target, *windows[1])])
    before, after = mean_loss(cold, pair, windows), mean_loss(made, pair, windows)
    assert after < 0.9 * before
    save_start(tmp_path / "warm.safetensors", made, {"target": "random"})
    again = make_drafter(name, pair, **settings)
    assert load_start(tmp_path / "warm.safetensors", again) == {"target": "random"}
    assert mean_loss(again, pair, windows) == pytest.approx(after, rel=0.02)  # x comes back in 8 bits
    assert again.ready


def test_a_warm_up_is_a_function_of_its_seed(pair, windows):
    made = [warm(make_drafter("weights", pair), pair.target, windows, WarmUp(8, seed=seed)) for seed in (1, 1, 2)]
    assert torch.equal(made[0].x, made[1].x)
    assert not torch.equal(made[0].x, made[2].x)


def test_a_window_is_what_serving_reveals(pair, windows):
    """Target laws and features of a window are those of a plain forward over it."""
    made, (tokens, hidden) = make_drafter("adapter", pair), windows[0]
    found = piece(made, pair.target, tokens, hidden)
    with torch.inference_mode():
        ids = torch.tensor(tokens)
        laws = pair.target.model(ids[None]).logits[0, :-1].softmax(-1)
        features = pair.draft.hidden(ids[:-1])
    torch.testing.assert_close(found.target_probs, laws)
    torch.testing.assert_close(found.features, features, rtol=1e-4, atol=1e-4)
    assert (found.start, found.stop) == (1, len(tokens))


def test_refusals(pair, windows, tmp_path):
    with pytest.raises(ValueError, match="needs text"):
        warm(make_drafter("weights", pair), pair.target, [], WarmUp(4))
    with pytest.raises(ValueError, match="nothing to train"):
        warm(make_drafter("ngram", pair), pair.target, windows, WarmUp(4))
    made = make_drafter("adapter", pair)
    save_start(tmp_path / "warm.safetensors", made, {})
    with pytest.raises(ValueError, match="another drafter"):
        load_start(tmp_path / "warm.safetensors", make_drafter("weights", pair))
