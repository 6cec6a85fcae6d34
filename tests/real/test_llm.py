# pyright: reportOptionalMemberAccess=false, reportAttributeAccessIssue=false, reportArgumentType=false
"""The Python API: a model whose draft learns while it serves, from a script of ten lines."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import real  # noqa: E402
from real.drafters import Drafter  # noqa: E402
from real.models.pieces import Pieces  # noqa: E402
from real.models.state import load  # noqa: E402
from real.serving.lawful import NoLaw  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402

PROMPTS = ["Once upon a time", "def main():", "SELECT name FROM"]


class Copies(Drafter):
    """Drafts the token that followed the last occurrence of the newest one, nearly surely."""

    def __init__(self, vocab: int):
        self.vocab = vocab

    @classmethod
    def of(cls, pair, **settings):
        return cls(pair.target.vocab, **settings)

    def logits_after(self, drafted):
        rows = torch.zeros(len(self.texts), self.vocab)
        for row, text in enumerate(self.texts):
            tokens = [*text.tokens, *(int(token[row]) for token in drafted)]
            places = [i for i in range(len(tokens) - 1) if tokens[i] == tokens[-1]]
            if places:
                rows[row, tokens[places[-1] + 1]] = 8.0
        return rows


def squares(target_probs, log_draft_probs):
    """A loss of the user's own."""
    return (target_probs - log_draft_probs.exp()).square().sum(-1)


@pytest.fixture(scope="module")
def llm():
    return real.load(learner="ensemble", burn_in=64, dtype="float64")


def plain(model, prompt: str, new: int) -> str:
    ids = torch.tensor([model.models.pair.encode([prompt], False)])
    target = model.models.pair.target.model
    output = target.generate(ids, do_sample=False, max_new_tokens=new, pad_token_id=0, repetition_penalty=1.0)
    return model.models.pair.decode(output[0, ids.shape[1] :].tolist())


def test_texts_are_the_targets_own_one_by_one_side_by_side_and_streamed(llm):
    wanted = [plain(llm, prompt, 24) for prompt in PROMPTS]
    assert llm.generate(PROMPTS, max_new_tokens=24, temperature=0) == wanted
    assert llm.generate(PROMPTS[0], max_new_tokens=24, temperature=0) == wanted[0]
    assert "".join(llm.stream(PROMPTS[1], max_new_tokens=24, temperature=0)) == wanted[1]
    assert llm.generate([]) == []


def test_it_learns_and_reports_what_it_did(llm):
    for _ in range(2):
        llm.generate(PROMPTS, max_new_tokens=48)
    for prompt in PROMPTS[:2]:
        llm.generate(prompt, max_new_tokens=24)
    report = llm.report()
    assert report.requests >= 6
    assert report.rounds == llm.decoder.learning.log.rounds > 5
    assert 1 <= report.tokens_per_step <= 5
    assert report.counts.tokens >= 2 * 3 * 20
    assert len(report.by_position) == 4
    assert all(0 <= share <= 1 for share in report.by_position)
    assert report.net["low"] <= report.net["value"] <= report.net["high"]
    assert 0 < report.learning_share < 1
    assert {"frozen", "fixed"} <= set(report.certificates)
    assert all(one.slack >= 0 for one in report.certificates.values())
    assert "tokens per step" in str(report)


def test_a_stream_that_is_left_leaves_a_model_that_serves(llm):
    before = llm.report()
    stream = llm.stream(PROMPTS[2], max_new_tokens=64, temperature=0)
    next(stream)
    for asks in (lambda: llm.generate("a"), lambda: llm.save("nowhere"), lambda: next(llm.stream("a"))):
        with pytest.raises(ValueError, match="read their stream to its end, or close it, first"):
            asks()
    stream.close()
    after = llm.report()
    assert after.requests == before.requests + 1  # what was read was served
    assert 0 < after.counts.tokens - before.counts.tokens < 64
    assert llm.generate(PROMPTS[0], max_new_tokens=8, temperature=0) == plain(llm, PROMPTS[0], 8)


def test_net_speed_is_of_texts_served_alone_as_they_were_asked_for():
    one = real.load()
    assert str(one.report()) == "nothing was served yet"
    one.generate(PROMPTS, max_new_tokens=8)
    assert one.report().net is None
    assert "no text was served alone" in str(one.report())
    one.generate(PROMPTS[0], max_new_tokens=8, temperature=0.5)
    one.generate(PROMPTS[0], max_new_tokens=8, temperature=0)
    assert one.report().net is not None
    assert [kept.serving.sampling.temperature for kept in one._latest] == [0.5, 0]


def test_what_was_learned_is_saved_taken_up_and_exported(llm, tmp_path):
    path = llm.save(tmp_path / "learned.safetensors")
    again = real.load(learner="ensemble", burn_in=64, dtype="float64", state=path)
    assert torch.equal(again.decoder.drafter.x, llm.decoder.drafter.x)
    assert again.decoder.learning.log.rounds == llm.decoder.learning.log.rounds
    folder = llm.export(tmp_path / "draft")
    assert (folder / "model.safetensors").exists()
    with pytest.raises(ValueError, match="is there already; nothing was overwritten"):
        llm.export(folder)


def test_nothing_of_one_tenant_reaches_another(tmp_path):
    """Texts, states and what is learned are those of a model that the others never used; files go to their own."""
    shared, alone = (real.load(burn_in=32, dtype="float64") for _ in range(2))
    shared.generate(PROMPTS, max_new_tokens=48, tenant="a")
    learned, seen = shared.decoder.drafter.x, []
    for number, model in enumerate((shared, alone)):
        texts = [model.generate(PROMPTS[:2], max_new_tokens=40, tenant="b")]
        texts += ["".join(model.stream(PROMPTS[2], max_new_tokens=24, tenant="b"))]
        state = load(model.save(tmp_path / str(number), tenant="b"))[0]
        seen.append([*texts, {key: part.tolist() for key, part in state.items()}])
    assert seen[0] == seen[1]
    assert bool(learned.any())
    assert not torch.equal(learned, shared.decoder.drafter.x)
    mixed = shared.generate(PROMPTS, max_new_tokens=8, temperature=0, tenant=["a", "b", "a"])
    assert mixed == [plain(shared, prompt, 8) for prompt in PROMPTS]
    assert shared.report().rounds > shared.decoder.learning.log.rounds > 0
    path = shared.save(tmp_path / "a.safetensors", tenant="a")
    alone.resume(path, tenant="a")
    assert alone.decoder.tenant == "a"
    assert bool(alone.decoder.drafter.x.any())
    with pytest.raises(ValueError, match=r"saved with other settings.*'tenant': \('a', None\)"):
        alone.resume(path)
    with pytest.raises(ValueError, match="tenant='c': nothing is remembered of it"):
        shared.save(tmp_path / "c.safetensors", tenant="c")
    for tenant in (7, ["a"], ["a", 7], None):
        with pytest.raises(ValueError, match="give one name, a string, or one for each of 2 prompts"):
            shared.generate(PROMPTS[:2], tenant=tenant)
    with pytest.raises(ValueError, match="tenant=7: give one name, a string"):
        next(shared.stream(PROMPTS[0], tenant=7))
    unsaved = "tenant='\\\\ud800': character 1 is .*half a surrogate pair"
    for call in (
        lambda: shared.generate(PROMPTS[0], tenant="\ud800"),
        lambda: next(shared.stream(PROMPTS[0], tenant="\ud800")),
        lambda: shared.save(tmp_path / "c.safetensors", tenant="\ud800"),
        lambda: shared.resume(path, tenant="\ud800"),
    ):
        with pytest.raises(ValueError, match=unsaved):
            call()
    with pytest.raises(ValueError, match=r"real\.load\(tenants=0\): must be a whole number of at least 1"):
        real.load(tenants=0)


def test_a_saved_state_gives_no_prompt_back_unless_asked(tmp_path):
    """N-grams are text: what was served is as unlikely after taking up the file as it was before."""
    secret, likely = "The patient is Jane Miller of 12 Elm Road", []
    made = real.load(drafter="ngram", learner=None)
    made.generate([secret] * 3, max_new_tokens=4)
    ids = made.models.pair.encode([secret], False)
    for keep_text in (False, True):
        path = made.save(tmp_path / f"{keep_text}.safetensors", keep_text=keep_text)
        assert path.stat().st_mode & 0o777 == 0o600
        again = real.load(drafter="ngram", learner=None, state=path)
        likely.append(float(again.decoder.drafter.law(ids[:-1])[ids[-1]]))
    assert likely[0] <= 1 / again.models.pair.target.vocab
    assert likely[1] > 0.5


def test_learners_drafters_and_losses_of_ones_own():
    one = real.load(learner=OGD(8.0), loss=squares, burn_in=32)
    assert one.decoder.learning.learner == OGD(8.0)
    one.generate(PROMPTS[0], max_new_tokens=64)
    assert one.decoder.learning.log.rounds
    for drafter in (Copies, Copies(one.models.pair.target.vocab)):
        other = real.load(drafter=drafter, learner=None)
        assert other.generate(PROMPTS, max_new_tokens=16, temperature=0) == [plain(other, p, 16) for p in PROMPTS]


def test_chat_messages_go_through_the_targets_template(llm):
    chat = [{"role": "user", "content": "Hello"}]
    assert isinstance(llm.generate(chat, max_new_tokens=4), str)
    assert llm._encoded("Hello") == llm.models.pair.encode(["Hello"], False)  # a text is continued as it is
    ids = llm._encoded(chat)
    tokenizer = llm.models.pair.tokenizer
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert ids == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_half_a_surrogate_pair_is_no_prompt(llm):
    for prompt in ("a\ud800", ["a", "b\ud800"], [{"role": "user", "content": "a\ud800"}]):
        with pytest.raises(ValueError, match=r"prompt='.*character .* is '.ud800', half a surrogate pair"):
            llm.generate(prompt, max_new_tokens=2)
    with pytest.raises(ValueError, match="half a surrogate pair"):
        next(llm.stream("a\ud800"))
    assert isinstance(llm.generate("a", max_new_tokens=2), str)


class Bytes:
    """A tokenizer whose tokens are bytes, so that a character may take several."""

    def decode(self, tokens, skip_special_tokens=True):
        return bytes(tokens).decode("utf-8", errors="replace")


def test_streamed_text_is_cut_at_whole_characters():
    text = "naïve – 文字 🙂!"
    pieces, found = Pieces(Bytes()), []
    for byte in text.encode():
        found.append(pieces.add([byte]))
    assert "".join(found) + pieces.rest() == text
    assert not any("\ufffd" in piece for piece in found)
    cut = Pieces(Bytes())
    assert cut.add(list("é".encode())[:1]) == ""
    assert cut.rest() == "\ufffd"


WHOLE = ("rows", "tenants", "seed", "gamma", "nu", "law_top_k", "burn_in")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"learner": "ogdd"}, "learner='ogdd': no such learner; did you mean 'ogd'"),
        ({"drafter": "adaptor"}, "drafter='adaptor': no such drafter; did you mean 'adapter'"),
        ({"loss": "kll"}, "loss='kll': must be one of kl"),
        ({"gama": 3}, "gama=3: no such setting of serving; there are gamma"),
        ({"rows": 0}, r"real\.load\(rows=0\): must be a whole number of at least 1"),
        *(({name: 1.5}, rf"{name}=1\.5\)?: must be a whole number") for name in WHOLE),
        *(({name: True}, rf"{name}=True\)?: must be a whole number") for name in WHOLE),
        *(({name: "1"}, rf"{name}='1'\)?: must be a") for name in (*WHOLE, "confidence")),
        ({"overlap": "1"}, "overlap='1': must be True or False"),
        ({"costs": "abcde"}, "costs='abcde': must be a tuple of numbers"),
        ({"seed": -1}, r"real\.load\(seed=-1\): must be a whole number of at least 0"),
        ({"seed": 2**70}, r"seed=1180591620717411303424\): must be below 2\*\*63"),
        ({"drafter": Copies(512), "drafter_settings": {"k": 1}}, "made already; give its class"),
        ({"loss": lambda target_probs: 0}, "it is called with target_probs and log_draft_probs"),
        ({"gamma": 0}, "gamma=0: a step drafts at least one token"),
        ({"target": "nowhere/at/all"}, "no AutoTokenizer could be loaded"),
        ({"drafter": "ngram", "learner": "ogd"}, "NGram has nothing to train"),
        ({"family": "gpt"}, "family='gpt': must be one of qwen3"),
        ({"dtype": "float8"}, "dtype='float8': must be one of"),
    ],
)
def test_mistakes_are_told_with_a_remedy(given, words):
    with pytest.raises(ValueError, match=words):
        real.load(**given)


def test_prompts_and_states_that_cannot_be(llm, tmp_path):
    for prompt in ([7], 7, None, {"role": "user", "content": "a"}):
        with pytest.raises(ValueError, match=r"prompt=.*: must be a text, chat messages"):
            llm.generate(prompt)
    serving = llm.decoder.serving
    with pytest.raises(ValueError, match="prompt=7: must be a text"):
        next(llm.stream(7, temperature=0.3))
    assert llm.decoder.serving == serving  # a bad prompt changes nothing
    with pytest.raises(ValueError, match="prompt='': a prompt needs at least one token"):
        llm.generate("")
    with pytest.raises(ValueError, match="max_new_tokens=0"):
        llm.generate("a", max_new_tokens=0)
    wrong = [("max_new_tokens", 1.5), ("max_new_tokens", "3"), ("max_new_tokens", True), ("temperature", "x")]
    wrong += [("temperature", None), ("top_p", None), ("top_p", True), ("top_k", 1.0), ("top_k", True)]
    for name, value in wrong:
        for call in (llm.generate, lambda prompt, **given: next(llm.stream(prompt, **given))):
            with pytest.raises(ValueError, match=f"{name}={value!r}: must be a (whole )?number"):
                call("a", **{name: value})
    assert llm.decoder.serving == serving
    with pytest.raises(FileNotFoundError, match=r"save one with LLM\.save"):
        real.load(state=tmp_path / "none")
    with pytest.raises(ValueError, match="only an adapter can be folded"):
        real.load(drafter="ngram", learner=None).export(tmp_path / "x")


def test_importing_real_is_light():
    code = "import sys, real; print([m for m in ('torch', 'transformers') if m in sys.modules]); dir(real)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="module 'real' has no attribute 'lod'"):
        _ = real.lod


def test_what_was_done_is_not_lost_with_a_prompt_that_has_no_law(monkeypatch):
    """The target's head gives NaN in the second of three requests, served one after the other."""
    one = real.load(learner="frozen", dtype="float32", rows=1)
    served: list = []
    enter = one.decoder.session.__class__.enter

    def entering(session, prompt, *given, **more):
        served.append(prompt)
        return enter(session, prompt, *given, **more)

    monkeypatch.setattr(one.decoder.session.__class__, "enter", entering)
    head = type(one.models.pair.target).head
    target = one.models.pair.target
    monkeypatch.setattr(
        type(target), "head", lambda self, hidden: head(self, hidden) * (float("nan") if len(served) == 2 else 1)
    )
    with pytest.raises(NoLaw) as error:
        one.generate(PROMPTS, max_new_tokens=8, temperature=0)
    first, *others = error.value.texts
    assert others == [None, None]
    monkeypatch.undo()
    assert first == one.generate(PROMPTS[0], max_new_tokens=8, temperature=0)


def test_rounds_are_those_of_tenants_that_are_remembered():
    """Whose certificate it is, is said where there are other tenants."""
    one = real.load(learner="hedge", drafter="mixture", nu=8, burn_in=8, tenants=2)
    one.generate("Once upon a time", max_new_tokens=24, tenant="a")
    assert one.report().certified_tenant == "a"
    assert "of tenant 'a'; other tenants are not certified" in str(one.report())
    before = one.report().rounds
    for tenant in "bc":
        one.generate("Once", max_new_tokens=4, tenant=tenant)
    assert one.report().rounds < before
    alone = real.load(learner="hedge", drafter="mixture", nu=8, burn_in=8)
    alone.generate("Once upon a time", max_new_tokens=24)
    assert alone.report().certificates
    assert "tenant" not in str(alone.report())
