# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""State files: whole, finite, of no other model's, and apart from the file once read."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import save_file  # noqa: E402

from real.drafters.start import load_start, save_start  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.models.state import load, save  # noqa: E402
from real.serving.decoder import Decoder  # noqa: E402
from real.systems.saved import State  # noqa: E402
from real.verify.lossless import random_pair  # noqa: E402
from tests.real.serving.test_online import PROMPTS, decoder, serve  # noqa: E402
from theory.hints import LastGradient  # noqa: E402
from theory.learners.optimistic import OptimisticOGD  # noqa: E402

LEARNER = OptimisticOGD(64.0, LastGradient())


@pytest.fixture(scope="module")
def pair():
    return random_pair("qwen3", "float32")


@pytest.fixture(scope="module")
def served(pair) -> Decoder:
    made = decoder(pair, LEARNER)
    serve(made, PROMPTS[:3])
    return made


def kept(made: Decoder, path) -> State:
    return State(path, {"drafter": "adapter"}, made.restore, made.state, made.pair)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_no_entry_that_is_not_finite_is_written_or_taken_up(pair, served, tmp_path, bad):
    """Anchor, hint, energy, whitening, laws and features of the round under way: every number of a state."""
    path, poisoned, good = tmp_path / "s", tmp_path / "p", served.state()
    kept(served, path).keep()
    before, about = path.read_bytes(), load(path)[1]
    floating = [name for name, entry in good.items() if entry.is_floating_point() and entry.numel()]
    assert {"learner.anchor", "learner.hint", "drafter.whitening", "rounds.0.laws", "rounds.0.features", "x"} < {
        *floating
    }
    for name in floating:
        state = {key: entry.clone() for key, entry in good.items()}
        state[name].view(-1)[-1] = bad
        with pytest.raises(ValueError, match=rf"not written, for {name} hold nan or infinity"):
            save(path, state, about)
        assert path.read_bytes() == before
        save_file(state, poisoned, about)
        fresh = decoder(pair, LEARNER)
        with pytest.raises(ValueError, match=rf"{name} hold nan or infinity; nothing was taken up. Remove"):
            kept(fresh, poisoned).restore()
        assert not fresh.drafter.x.any()


def test_numbers_of_another_precision_are_refused_too(pair, served, tmp_path):
    wide = served.state()
    anchor = next(name for name in wide if name.endswith("anchor"))
    wide[anchor] = torch.full_like(wide[anchor], 1e300, dtype=torch.float64)
    save(tmp_path / "s", wide, {})
    with pytest.raises(ValueError, match=rf"state entry '{anchor}': torch.float64 in the file, torch.float32 here"):
        decoder(pair, LEARNER).restore(load(tmp_path / "s")[0])


def test_a_state_that_was_read_is_no_window_onto_its_file(served, tmp_path):
    path = tmp_path / "s"
    save(path, served.state(), {"a": "b"})
    tensors, about = load(path)
    content = path.read_bytes()
    with path.open("r+b") as file:  # the same file, not one put in its place
        file.write(bytes(len(content)))
        file.truncate(8)
    assert about == {"a": "b"}
    assert all(torch.equal(entry, tensors[name]) for name, entry in served.state().items())


def test_a_state_belongs_to_weights_and_not_to_a_name(pair, served, tmp_path):
    """The pair's own; another draft, another target; a file that does not say."""
    path = tmp_path / "s"
    kept(served, path).keep()
    kept(decoder(pair, LEARNER), path).restore()
    others = {"draft": perturbed(pair.draft, 1e-2, 9), "target": perturbed(pair.target, 1e-2, 9)}
    for name, model in others.items():
        model.name = pair.draft.name
        fresh = decoder(type(pair)(**{**vars(pair), name: model}), LEARNER)
        with pytest.raises(ValueError, match=rf"saved with other settings \(there, here\): .*'{name}_weights': \('"):
            kept(fresh, path).restore()
        assert not fresh.drafter.x.any()
    tensors, about = load(path)
    save(path, tensors, {key: value for key, value in about.items() if "weights" not in key})
    with pytest.raises(ValueError, match=r"'target_weights': \(None, '.*use another file"):
        kept(decoder(pair, LEARNER), path).restore()


def test_a_fingerprint_tells_weights_apart_and_dtypes_not():
    model = random_model("llama", 0, "float32")
    prints = [random_model("llama", 0, dtype).fingerprint for dtype in ("float64", "float32", "bfloat16")]
    assert len(set(prints)) == 1 == len(set(prints) | {model.fingerprint, model.copy().fingerprint})
    others = [random_model("llama", 1, "float32"), perturbed(model, 1e-2, 1), perturbed(model, 0.0, 1, vocab=520)]
    one = model.copy()
    one.model.get_input_embeddings().weight.data[7, 3] += 0.1
    assert len({other.fingerprint for other in [model, one, *others]}) == 5


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_start_is_finite_in_all_that_it_holds(pair, tmp_path, bad):
    path, made = tmp_path / "start", decoder(pair, LEARNER).drafter
    made.whitener.matrix[3, 4] = bad
    with pytest.raises(ValueError, match=r"not written, for state\.whitening hold nan or infinity"):
        save_start(path, made, {})
    assert not path.exists()
    made = decoder(pair, LEARNER).drafter
    made.load(torch.ones(made.dimension))
    save_start(path, made, {})
    tensors, _ = load(path)
    scales = tensors["x.scale"].clone()
    for spoilt, words in ((bad, r"x\.scale hold nan or infinity"), (3e38, "beyond float32")):
        scales[0] = spoilt
        save_file(tensors | {"x.scale": scales}, path)
        again = decoder(pair, LEARNER).drafter
        with pytest.raises(ValueError, match=words):
            load_start(path, again)
        assert not again.x.any()
