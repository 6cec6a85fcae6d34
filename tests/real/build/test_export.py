# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""A learned adapter as a plain checkpoint, and low-rank weights: the same logits, the same acceptances."""

import os
import stat

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import save_file  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from real import __main__ as command  # noqa: E402
from real.build.export import export, folded_head, learned  # noqa: E402
from real.drafters import make_drafter  # noqa: E402
from real.drafters.adapter import Adapter  # noqa: E402
from real.drafters.independent import Independent  # noqa: E402
from real.measure.clock import timed_forwards  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.load import load_model  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.models.state import load  # noqa: E402
from real.serving.step import alone, generate  # noqa: E402
from real.systems.loaded import Models  # noqa: E402
from real.verify.lossless import reference  # noqa: E402
from tests.real.models.test_models import saved, tokenizer  # noqa: E402

PROMPT = [5, 6, 7, 8]


def make_pair(dtype: str = "float64", draft_vocab: int | None = None) -> Pair:
    target = random_model("llama", 0, dtype, vocab=128)
    return Pair(target, perturbed(target, 0.05, 1, draft_vocab), None)


def moved(pair: Pair, part: str) -> Adapter:
    drafter = Adapter(pair.draft, pair.target.vocab, burn_in=60, part=part)
    rng = torch.Generator().manual_seed(1)
    drafter.whitener.absorb(torch.randn(60, pair.draft.width, generator=rng, dtype=torch.float64))
    drafter.load(torch.randn(drafter.dimension, generator=rng))
    return drafter


@pytest.mark.parametrize("vocab", [None, 120, 140])
@pytest.mark.parametrize("part", ["adapter", "matrix"])
def test_the_folded_head_gives_the_adapted_logits(part, vocab):
    pair = make_pair(draft_vocab=vocab)
    drafter = moved(pair, part)
    hidden = torch.randn(7, pair.draft.width, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    got, want = (logits[:, : drafter.common] for logits in (hidden @ folded_head(drafter).T, drafter.logits(hidden)))
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-4)  # M, Q and R⁻¹ are served in float32
    assert float((want - pair.draft.head(hidden)[:, : drafter.common]).abs().max()) > 0.1
    assert torch.equal(folded_head(drafter)[drafter.common :], pair.draft.readout.weight[drafter.common :].double())


@pytest.mark.parametrize("part", ["adapter", "matrix"])
def test_transformers_serves_the_exported_draft_alike(part, tmp_path):
    """Our decoder with the adapter, our decoder with the plain checkpoint, and assisted generation: one text."""
    pair = make_pair()
    drafter = moved(pair, part)
    export(drafter, tokenizer(), tmp_path / "draft")
    assert stat.S_IMODE((tmp_path / "draft").stat().st_mode) == 0o700 or os.name == "nt"  # of a user's texts
    plain = load_model(tmp_path / "draft", "float64")
    runs = []
    for one in (drafter, Independent(plain, pair.target.vocab)):
        session = alone(pair.target, one, PROMPT, 40)
        steps = list(generate(session, 4, Sampling(0.0)))
        runs.append((session.texts[0].tokens, [step.accepted for step in steps]))
    assert runs[0] == runs[1]
    assert sum(runs[0][1]) > 0
    ids = torch.tensor([PROMPT])
    settings = {"do_sample": False, "max_new_tokens": 40, "pad_token_id": 0}
    helper = plain.model
    helper.generation_config.update(
        num_assistant_tokens=4, num_assistant_tokens_schedule="constant", assistant_confidence_threshold=0.0
    )
    with timed_forwards({"target": [(pair.target.model, "forward")]}) as record:
        text = pair.target.model.generate(ids, attention_mask=torch.ones_like(ids), assistant_model=helper, **settings)
    assert record.calls["target"] == len(runs[0][1]), "as many tokens were accepted"
    own = list(generate(alone(pair.target, Independent(pair.draft, pair.target.vocab), PROMPT, 40), 4, Sampling(0.0)))
    assert len(own) != len(runs[0][1]), "the draft before it was adapted accepts other tokens"
    assert text[0].tolist() == runs[0][0] == PROMPT + reference(pair, [PROMPT], 40)[0]


def test_the_command_folds_what_a_run_learned(tmp_path):
    target = random_model("llama", 0, "float32", vocab=128, layers=1)
    saved(tmp_path / "target", target, tokenizer())
    saved(tmp_path / "draft", perturbed(target, 0.05, 1), tokenizer())
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"question_id": 1, "category": "a", "turns": ["abcd"]}\n' * 6)
    pair = ["--target", tmp_path / "target", "--draft", tmp_path / "draft"]
    serve = ["--learner", "ensemble", "--prompts", prompts, "--nu", 8, "--burn-in", 16, "--max-new-tokens", 20]
    state = ["--state", tmp_path / "state.safetensors"]

    def real(*arguments):
        return CliRunner().invoke(command.app, [str(a) for a in arguments])

    assert real("run", *pair, *serve, *state).exit_code == 0
    result = real("export", *pair, *state, "--out", tmp_path / "exported")
    assert result.exit_code == 0, result.output
    drafter = learned(Models(tmp_path / "target", tmp_path / "draft"), tmp_path / "state.safetensors")
    hidden = torch.randn(3, target.width)
    torch.testing.assert_close(
        load_model(tmp_path / "exported").head(hidden), drafter.logits(hidden), rtol=1e-4, atol=1e-4
    )
    again = real("export", *pair, *state, "--out", tmp_path / "exported")
    assert again.exit_code != 0
    assert "is there already" in again.output.replace("\n", " ")
    assert not (tmp_path / "exported.part").exists()
    other = real("export", *pair[:3], tmp_path / "target", *state, "--out", tmp_path / "other")
    assert other.exit_code == 2
    assert "was learned on the draft 'draft'; give that one as draft" in " ".join(other.output.split())
    missing = real("export", *pair, "--state", tmp_path / "none", "--out", tmp_path / "other")
    assert missing.exit_code != 0
    saved(tmp_path / "else/draft", perturbed(target, 0.05, 2), tokenizer())
    stranger = [*pair[:3], tmp_path / "else/draft", *state]
    before = (tmp_path / "state.safetensors").read_bytes()
    for refused, words in (
        (real("export", *stranger, "--out", tmp_path / "other"), "was learned on a draft 'draft' with the weights"),
        (real("run", *stranger, *serve), "saved with other settings (there, here): {'draft_weights': ('"),
    ):
        assert refused.exit_code == 2
        assert words in " ".join(refused.output.split())
    assert (tmp_path / "state.safetensors").read_bytes() == before
    tensors, about = load(tmp_path / "state.safetensors")
    tensors["x"][5] = torch.nan
    save_file(tensors, tmp_path / "state.safetensors", about)
    poisoned = real("export", *pair, *state, "--out", tmp_path / "other")
    assert poisoned.exit_code == 2
    assert "state.safetensors: x hold nan or infinity; nothing was taken up" in " ".join(poisoned.output.split())
    assert not (tmp_path / "other").exists()


def test_refusals(tmp_path):
    pair = make_pair()
    with pytest.raises(ValueError, match="no room for it"):
        folded_head(Adapter(pair.draft, 128, part="bias"))
    drafter = moved(pair, "adapter")
    drafter.model.model.config.tie_word_embeddings = True
    with pytest.raises(ValueError, match="untie them first"):
        export(drafter, None, tmp_path / "draft")
    drafter = moved(make_pair("float16"), "matrix")
    drafter.load(1e6 * drafter.x)
    with pytest.raises(ValueError, match=r"nan or infinity in torch\.float16; nothing was written"):
        export(drafter, None, tmp_path / "draft")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="part='head'"):
        make_drafter("adapter", pair, part="head")


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt_neox"])
def test_low_rank_weights_start_at_the_draft_and_are_all_of_x(family):
    pytest.importorskip("peft")
    target = random_model(family, 0, "float64", vocab=128)
    pair = Pair(target, perturbed(target, 0.05, 1), None)
    state = torch.get_rng_state()
    drafter = make_drafter("weights", pair, lora=2)
    assert torch.equal(torch.get_rng_state(), state)
    factors = {n: p for n, p in drafter.model.model.named_parameters() if "lora_" in n}
    assert drafter.dimension == sum(p.numel() for p in factors.values()) < make_drafter("weights", pair).dimension / 3
    ids = torch.tensor([1, 2, 3])
    with torch.inference_mode():
        torch.testing.assert_close(drafter.model.logits(ids), pair.draft.logits(ids))
        drafter.load(drafter.x + 0.05)
        assert float((drafter.model.logits(ids) - pair.draft.logits(ids)).abs().max()) > 1e-3
