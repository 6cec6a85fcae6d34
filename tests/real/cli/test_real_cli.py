# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""``python -m real``: results once, interruptions and full disks lose nothing, every user error has its message."""

import errno
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from huggingface_hub.utils import are_progress_bars_disabled  # noqa: E402
from transformers.utils import logging  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from real import __main__ as command  # noqa: E402
from real.cli.report import learned  # noqa: E402
from real.cli.run import Learned  # noqa: E402
from real.drafters.adapter import Adapter  # noqa: E402
from real.measure import served as compare  # noqa: E402
from real.models.load import load_model  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.models.state import load  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.studies.experiments import EXPERIMENTS, Experiment  # noqa: E402
from real.systems import loaded  # noqa: E402
from real.systems.rows import Method  # noqa: E402
from real.traffic import streams  # noqa: E402
from tests.real.models.test_models import saved, tokenizer  # noqa: E402
from theory.loss import Linear  # noqa: E402
from theory.runs.kind import stamped  # noqa: E402
from theory.runs.table import limits  # noqa: E402
from theory.runs.trace import Trace  # noqa: E402

SERVING = Serving(gamma=3, nu=8, max_new_tokens=12, burn_in=16)
QUICK = Experiment("prose:3,c:6", ("plain", "frozen", "ngram", "ogd", "ensemble", "generalist"), SERVING, seeds=(1,))


@pytest.fixture(scope="session")
def assets(tmp_path_factory):
    """Tiny random models and two domains, laid out like ``real/assets``."""
    folder = tmp_path_factory.mktemp("assets")
    target = random_model("llama", 0, "float32", vocab=128, layers=1)
    saved(folder / "target", target, tokenizer())
    saved(folder / "specialist", perturbed(target, 0.05, 1), tokenizer())
    saved(folder / "generalist", perturbed(target, 0.02, 2), tokenizer())
    saved(folder / "stranger", perturbed(target, 0.02, 2), tokenizer("a c b d"))
    (folder / "streams").mkdir()
    for domain in ("prose", "c"):
        rows = [{"question_id": i, "category": domain, "turns": ["abcd"[i % 4 :] + "ab" * i]} for i in range(8)]
        (folder / "streams" / f"{domain}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path, assets):
    monkeypatch.setattr(loaded, "ASSETS", assets)
    monkeypatch.setattr(streams.scheduled, "__defaults__", (assets / "streams",))
    monkeypatch.setattr(compare, "CHECKPOINT_EVERY", 1)
    monkeypatch.setitem(EXPERIMENTS, "demo", QUICK)
    monkeypatch.chdir(tmp_path)


def real(*arguments):
    return CliRunner().invoke(command.app, [str(a) for a in arguments])


def said(result) -> str:
    return re.sub(r"\s+", " ", result.output)


SMALL = {"--nu": 8, "--max-new-tokens": 12, "--burn-in": 16}


def run(*arguments):
    """A small run; an option that is given replaces the small one, for none may be given twice."""
    small = [part for option, value in SMALL.items() if option not in arguments for part in (option, value)]
    return real("run", *small, *arguments)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def counts(folder: Path) -> dict[str, dict[str, list]]:
    """Everything in the traces that does not depend on the clock."""
    traces = {p.stem: Trace.load(p) for p in sorted(folder.glob("*.csv"))}
    return {
        name: {key: column.tolist() for key, column in trace.columns.items() if not key.startswith("seconds")}
        | {"rounds": trace.header["rounds"]}
        for name, trace in traces.items()
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return tmp_path_factory.mktemp("uninterrupted")


def test_demo_writes_one_trace_a_method_and_is_skipped_the_next_time(uninterrupted):
    assert real("demo", "--out", uninterrupted).exit_code == 0
    before = contents(uninterrupted)
    assert set(before) == {f"demo/1/{name}.{kind}" for name in QUICK.methods for kind in ("csv", "json")}
    trace = Trace.load(uninterrupted / "demo/1/ensemble")
    assert trace.header["segments"] == ["prose", "c"]
    assert trace.header["learner"]["class"] == "Ensemble"
    assert trace.header["provenance"]["versions"]["torch"] == torch.__version__
    assert trace.columns["segment"].tolist() == [0] * 3 + [1] * 6
    assert trace.columns["tokens"].tolist() == [12] * 9
    lines = sum(trace.columns[f"seconds_{line}"] for line in ("prefill", "draft", "verify", "learn", "other"))
    np.testing.assert_allclose(lines + trace.columns["seconds_unattributed"], trace.columns["seconds_total"])
    result = real("demo", "--out", uninterrupted)
    assert "demo, seed 1: done before, skipped" in said(result)
    assert contents(uninterrupted) == before


def interrupt_at(monkeypatch, prompt: int, error: BaseException) -> None:
    """Raise it where the first method would be asked this turn of the stream, counted from 0."""
    serve = compare.InTurn.serve

    def failing(self, turn):
        if turn.at == prompt:
            raise error
        return serve(self, turn)

    monkeypatch.setattr(compare.InTurn, "serve", failing)


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, monkeypatch, uninterrupted):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5, KeyboardInterrupt())
        assert real("demo", "--out", "o").exit_code != 0
    assert set(contents(tmp_path / "o")) == {"demo/1/checkpoint.safetensors"}
    served, serve = [], compare.InTurn.serve
    monkeypatch.setattr(compare.InTurn, "serve", lambda self, turn: served.append(turn.at) or serve(self, turn))
    assert real("demo", "--out", "o").exit_code == 0
    assert served == [at for at in (5, 6, 7, 8) for _ in QUICK.methods]
    assert counts(tmp_path / "o/demo/1") == counts(uninterrupted / "demo/1")
    assert not (tmp_path / "o/demo/1/checkpoint.safetensors").exists()


def test_results_of_other_settings_are_never_overwritten(tmp_path, monkeypatch):
    assert real("demo", "--out", "o").exit_code == 0
    before = contents(tmp_path / "o")
    monkeypatch.setitem(EXPERIMENTS, "demo", replace(QUICK, serving=replace(SERVING, gamma=2)))
    result = real("demo", "--out", "o")
    assert result.exit_code == 2
    assert "was made with other settings (there, here): {'gamma': (3, 2)}; nothing was overwritten" in said(result)
    assert contents(tmp_path / "o") == before


def test_a_checkpoint_of_other_settings_is_never_overwritten(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2, KeyboardInterrupt())
        real("demo", "--out", "o")
    before = contents(tmp_path / "o")
    monkeypatch.setitem(EXPERIMENTS, "demo", replace(QUICK, serving=replace(SERVING, gamma=2)))
    result = real("demo", "--out", "o")
    assert result.exit_code == 2
    assert "checkpoint.safetensors belongs to a run with other settings" in said(result)
    assert contents(tmp_path / "o") == before


def test_an_interrupted_block_keeps_its_certificates(tmp_path, monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "demo", replace(QUICK, certify=True))
    assert real("demo", "--out", "whole").exit_code == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, 7, KeyboardInterrupt())
        assert real("demo", "--out", "o").exit_code != 0
    assert real("demo", "--out", "o").exit_code == 0
    found = [
        {path.stem: str(Trace.load(path).header.get("certificate")) for path in sorted((tmp_path / out).rglob("*.csv"))}
        for out in ("whole", "o")
    ]
    assert "Certificate" not in found[0]["ogd"]
    assert "'slack'" in found[0]["ogd"]
    assert found[0] == found[1]
    assert set(contents(tmp_path / "o")) == set(contents(tmp_path / "whole"))


def test_a_block_with_a_table_that_was_lost_is_run_again_whole(tmp_path):
    assert real("demo", "--out", "o").exit_code == 0
    before = counts(tmp_path / "o/demo/1")
    (tmp_path / "o/demo/1/ogd.csv").unlink()
    assert "demo, seed 1: run" in said(real("demo", "--out", "o"))
    assert counts(tmp_path / "o/demo/1") == before
    assert "demo, seed 1: done before, skipped" in said(real("demo", "--out", "o"))


def full_disk_while_writing(patch) -> None:
    """The disk fills up in the middle of the fourth checkpoint."""
    write, written = Path.write_bytes, []

    def failing(self, content):
        written.append(self)
        if len(written) == 4:
            write(self, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return write(self, content)

    patch.setattr(Path, "write_bytes", failing)


def full_disk_at_the_end(patch) -> None:
    """The disk is full when the traces are to be written."""
    replaced = os.replace

    def failing(source, destination):
        if Path(destination).suffix in (".csv", ".json"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
        return replaced(source, destination)

    patch.setattr(os, "replace", failing)


@pytest.mark.parametrize("fill", [full_disk_while_writing, full_disk_at_the_end])
def test_a_full_disk_loses_nothing(tmp_path, monkeypatch, uninterrupted, fill):
    with monkeypatch.context() as patch:
        fill(patch)
        result = real("demo", "--out", "o")
    assert result.exit_code == 2
    assert "error: [Errno 28] No space left on device" in said(result)
    assert set(contents(tmp_path / "o")) == {"demo/1/checkpoint.safetensors"}
    assert real("demo", "--out", "o").exit_code == 0
    assert counts(tmp_path / "o/demo/1") == counts(uninterrupted / "demo/1")


def test_summary_holds_what_the_readme_shows(tmp_path, uninterrupted):
    out = tmp_path / "o"
    (out / "real").mkdir(parents=True)
    (out / "real/demo").symlink_to(uninterrupted / "demo")
    (out / "sim").mkdir()
    (out / "sim/row.json").write_text(json.dumps(stamped("trace", {"violations": 0, "tightness": 3.0})))
    result = real("summary", out)
    assert result.exit_code == 0, said(result)
    summary = json.loads((out / "summary.json").read_text())
    counted = {"checked": 0, "with_a_regret_bound": 0, "violations": 0, "median_tightness": 3.0}
    assert summary["sim"] == {"rows": 1, **counted}
    keys = ("tokens_per_step", "alpha", "tokens_per_second", "speedup", "generation_speedup", "relative_speedup",
            "hint_gain")  # fmt: skip
    for method in QUICK.methods:
        entry = summary["real"]["methods"][method]
        assert all(set(entry[key]) == {"value", "low", "high"} for key in keys)
        speedup = entry["speedup"]
        assert speedup["low"] <= speedup["value"] <= speedup["high"]
    assert summary["real"]["gap_closed"]["frozen"]["value"] == 0
    assert summary["real"]["gap_closed"]["generalist"]["value"] == 1
    assert "shifted_last_half" in summary["real"]["parts"]
    assert summary["provenance"]["commit"] is not None
    assert "last half of the shifted segment" in said(result)


def test_run_compares_plain_frozen_and_learner_on_a_users_models_and_prompts(tmp_path, assets):
    (tmp_path / "my.jsonl").write_text((assets / "streams/c.jsonl").read_text())
    pair = ("--target", assets / "target", "--draft", assets / "generalist", "--dtype", "float32", "--device", "cpu")
    result = run(*pair, "--prompts", "my.jsonl", "--learner", "optimistic", "--set", "step_size=32")
    assert result.exit_code == 0
    for words in ("plain", "frozen", "optimistic", "tokens/step", "alpha", "net speedup", "net ÷ frozen's",
                  "learning left out", "ledger", "unattributed", "break-even", "hint_gain"):  # fmt: skip
        assert words in said(result)


def test_a_checkpoint_and_a_warm_up_go_on_with_the_weights_they_were_made_with(tmp_path, monkeypatch, assets):
    monkeypatch.setattr(loaded, "ASSETS", shutil.copytree(assets, tmp_path / "assets"))
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5, KeyboardInterrupt())
        assert real("demo", "--out", "o").exit_code != 0
    before = contents(tmp_path / "o")
    shutil.rmtree(tmp_path / "assets/specialist")
    shutil.copytree(assets / "generalist", tmp_path / "assets/specialist")
    result = real("demo", "--out", "o")
    assert result.exit_code == 2
    assert "belongs to a run of other weights; choose another folder, or remove it" in said(result)
    assert contents(tmp_path / "o") == before
    own = loaded.Models(draft=assets / "generalist")
    with pytest.raises(ValueError, match="start='specialist': no warm-up of 'adapter' for the draft generalist; take"):
        own.start_of(Method("adapter", start="specialist"))


def test_run_resumes_from_its_state_and_refuses_anothers(tmp_path):
    first = ("--prompts", "prose:4", "--state", "learner.safetensors")
    assert run(*first).exit_code == 0
    rounds = len(load(tmp_path / "learner.safetensors")[0]["log"])
    assert run(*first).exit_code == 0
    assert len(load(tmp_path / "learner.safetensors")[0]["log"]) == rounds + 48 // 8
    before = contents(tmp_path)
    others = {
        "'learner':": ("--learner", "ogd"),
        "'drafter': ('adapter', 'weights')": ("--learner", "adam", "--drafter", "weights"),
        "'loss': ('kl', 'tv')": ("--loss", "tv"),
        "'serving.nu': ('8', '9')": ("--nu", "9"),
    }
    for differs, other in others.items():
        result = run(*first, *other)
        assert result.exit_code == 2
        assert "saved with other settings (there, here): {" in said(result)
        assert differs in said(result)
        assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "options",
    [("--drafter-set", "part=bias"), ("--drafter", "weights", "--learner", "adam", "--drafter-set", "lora=2"),
     ("--learner", "optimistic", "--prompt-hint", "0.2"), ("--drafter-set", "burn_in=8")],
    ids=" ".join,
)  # fmt: skip
def test_what_no_row_has_can_be_asked_for(options):
    result = run("--prompts", "prose:3", *options)
    assert result.exit_code == 0, said(result)


@pytest.mark.parametrize(
    ("options", "needed"),
    [(("--burn-in", "16"), None), (("--burn-in", "17"), 32), (("--nu", "40"), 80)],
)
def test_a_stream_that_teaches_nothing_is_known_beforehand(options, needed):
    """Two requests of 12 tokens; where nothing was learned nothing is said to have paid."""
    result = run("--prompts", "prose:2", "--learner", "ogd", *options)
    assert result.exit_code == 0, said(result)
    told = f"ogd will learn nothing: the stream has 24 tokens at most, its burn-in and one round take {needed}"
    assert (told in said(result)) == (needed is not None)
    assert ("nothing was learned" in said(result)) == (needed is not None)
    assert ("break-even" in said(result)) == (needed is None)


@pytest.mark.parametrize(
    ("net", "told"),
    [
        ({"value": 0.5, "low": 0.48, "high": 0.52}, "net speed 0.50 [0.48, 0.52] of frozen's"),
        ({"value": 0.5, "low": None, "high": None}, "net speed 0.50 of frozen's"),
        ({"value": 0.97, "low": 0.9, "high": 1.01}, None),
        ({"value": None, "low": None, "high": None}, None),
        (None, None),
    ],
)
def test_a_learner_that_costs_more_than_it_wins_is_told(net, told):
    lines = learned(Learned(None, None, None, 0, net))
    assert (len(lines) == 2) == (told is not None)
    assert told is None or told in lines[1]


def test_a_temperature_too_small_to_divide_by_is_no_traceback():
    result = run("--prompts", "prose:1", "--temperature", "1e-320", "--learner", "ogd")
    assert result.exit_code in (0, 2)
    assert result.exception is None or isinstance(result.exception, SystemExit)


def nan_in_round(patch, number: int) -> None:
    """The gradient of that round of this process, and of all later ones, is not finite."""
    loss, rounds = Adapter.loss, []

    def failing(self, pieces, temperature):
        rounds.append(pieces)
        if len(rounds) < number:
            return loss(self, pieces, temperature)
        return Linear(torch.full((self.dimension,), float("nan")))

    patch.setattr(Adapter, "loss", failing)


@pytest.mark.parametrize("failing_round, prompts_before", [(1, 0), (2, 1), (6, 3)])
def test_a_gradient_that_is_not_finite_leaves_the_state_from_before(
    tmp_path, monkeypatch, failing_round, prompts_before
):
    """After one good run of 4 prompts, a second fails: what is kept is the state that the prompts before it left.

    Rounds are of 8 tokens and prompts of 12, so round 6 is the fourth prompt's second: its first was learned already.
    """
    kept, wanted = tmp_path / "s.safetensors", tmp_path / "wanted.safetensors"
    learning = ("--measured-only", "--learner", "ogd", "--state")  # none but those that serve learn
    assert run("--prompts", "prose:4", *learning, kept).exit_code == 0
    wanted.write_bytes(kept.read_bytes())
    if prompts_before:
        assert run("--prompts", f"prose:{prompts_before}", *learning, wanted).exit_code == 0
    with monkeypatch.context() as patch:
        nan_in_round(patch, failing_round)
        result = run("--prompts", "prose:4", *learning, kept)
    assert result.exit_code == 2
    words = r"OGD, round \d+: 4096 of 4096 gradient entries are not finite.*state from before.*s\.safetensors"
    assert re.search(words, said(result))
    (tensors, about), (good, good_about) = load(kept), load(wanted)
    assert about == good_about
    assert len(good["log"]) == 4 + prompts_before * 12 // 8
    assert set(tensors) == set(good)
    assert all(torch.equal(tensors[name], good[name]) for name in good)
    assert all(bool(torch.isfinite(value.float()).all()) for value in tensors.values())
    assert run("--prompts", "prose:4", *learning, kept).exit_code == 0


def test_a_model_of_nan_is_an_error_of_one_line_that_says_which_request(tmp_path, assets):
    """One row of the embeddings is NaN: the first prompts do without it."""
    target = load_model(assets / "target", name="target")
    word = tokenizer().get_vocab()["b"]  # of which the check at load knows nothing
    target.model.get_input_embeddings().weight.data[word] = torch.nan
    target.model.save_pretrained(tmp_path / "target")
    tokenizer().save_pretrained(tmp_path / "target")
    turns = ["a", "c a", "c a b"]
    lines = [{"question_id": i, "category": "c", "turns": [turn]} for i, turn in enumerate(turns)]
    (tmp_path / "my.jsonl").write_text("\n".join(map(json.dumps, lines)))
    pair = ("--target", "target", "--draft", assets / "generalist", "--dtype", "float32", "--device", "cpu")
    result = run(*pair, "--prompts", "my.jsonl", "--max-new-tokens", 8, "--temperature", 0)
    assert result.exit_code == 2
    assert "target: no law of token" in said(result)
    assert re.search(r"of request \d, for its logits are NaN", said(result))


ERRORS = {
    "missing target": (("--target", "./nowhere", "--draft", "{assets}/specialist"), "target='./nowhere': no Auto"),
    "missing draft": (("--draft", "./nowhere"), "draft='./nowhere': no Auto"),
    "tokenizers": (("--draft", "{assets}/stranger"), "its tokenizer must give every token the id"),
    "gamma": (("--gamma", "0"), "gamma=0: a step drafts at least one token"),
    "nu": (("--nu", "3"), "nu=3: a round must hold a whole step"),
    "burn_in": (("--burn-in", "0"), "burn_in=0: must be at least 1"),
    "temperature": (("--temperature", "-1"), "temperature=-1.0"),
    "top_p": (("--top-p", "0"), "top_p=0.0"),
    "dtype": (("--dtype", "int3"), "dtype='int3': must be one of"),
    "learner": (("--learner", "ogdd"), "no such learner; did you mean 'ogd'?"),
    "simplex learner": (("--learner", "adahedge"), "plays on the simplex"),
    "learner file": (("--learner", "absent.py:Mine"), "no file 'absent.py'"),
    "unknown setting": (("--learner", "ogd", "--set", "step=3"), "no setting 'step'; did you mean 'step_size'?"),
    "unreadable setting": (("--learner", "ogd", "--set", "step_size=big"), "step_size=big: not a number"),
    "no value": (("--set", "step_size"), "write key=value"),
    "copies": (("--learner", "ogd", "--set", "step_size=(1.,2.)"), "the drafter serves one decision"),
    "drafter": (("--drafter", "ngram", "--learner", "ogd"), "NGram has nothing to train; choose one of"),
    "no drafter": (("--drafter", "ngrams"), "drafter='ngrams': no such drafter; did you mean 'ngram'? give one of"),
    "weights learner": (("--drafter", "weights", "--learner", "ogd"), "choose one of adam, frozen"),
    "prompts": (("--prompts", "absent.jsonl"), "no such file"),
    "broken line": (("--prompts", "broken.jsonl"), "broken.jsonl, line 2: not JSON"),
    "schedule": (("--prompts", "verse:3"), "no domain 'verse'"),
    "row and learner": (("osd", "--learner", "ogd"), "a row has its own; give neither"),
    "loss": (("mixture", "--loss", "tv"), "loss='tv': not for the drafter 'mixture', which has a loss of"),
    "mixture and prompt": (("mixture", "--learn-prompt"), "learn_prompt=True: Mixture learns from drafted positions"),
    "hint": (("--learner", "ogd", "--prompt-hint", "0.2"), "takes no hints; choose an optimistic learner"),
    "drafter setting": (("--drafter-set", "rank=2"), "drafter='adapter': has no setting 'rank'; there are burn_in"),
    "drafter value": (("--drafter-set", "part=bia"), "part='bia': must be one of adapter, matrix, bias"),
    "no drafter value": (("--drafter-set", "part"), "--drafter-set 'part': write key=value"),
    "certificate": (("--certify", "log", "--overlap", "--learner", "ogd"), "overlapped: on a convex drafter OGD and"),
    "state": (("--state", "broken.jsonl"), "not a readable state"),
    "state is a folder": (("--state", "."), "is a folder, not a state"),
    "tune": (("--tune",), "--tune: tunes what is compiled; add --compile"),
    "device": (("--device", "abacus"), "device='abacus': not usable here"),
    "device without numbers": (("--device", "meta"), "device='meta': not usable here"),
    "ridge": (("--drafter-set", "ridge=nan"), "ridge=nan: burn_in must be at least 1 and ridge positive"),
    "drafter's kind": (("--drafter-set", "ridge=much"), "drafter='adapter': ridge='much': must be a number"),
    "endless": (("--drafter", "ngram", "--drafter-set", "order=99999999"), "order=99999999: must be 1 to 64 tokens"),
    "letters": (("mixture", "--drafter-set", "parts=ngram"), "parts='ngram': must be a list of drafters, such as"),
    "domain": (("--learner", "ogd", "--set", "domain=1"), "setting domain=1: must be a Domain, but is a int"),
    "too many": (("--prompts", "prose:999999999999"), "'prose:999999999999' asks for more than 1,000,000 prompts"),
    "too many mixed": (("--prompts", "mix(prose,c):9999999"), "asks for more than 1,000,000 prompts"),
    "certify every": (("--learner", "ogd", "--certify", "log", "--certify-every", "-1"), "'--certify-every'"),
}  # fmt: skip


@pytest.mark.parametrize("arguments, words", ERRORS.values(), ids=ERRORS)
def test_user_errors_have_one_message_and_change_nothing(tmp_path, assets, arguments, words):
    (tmp_path / "broken.jsonl").write_text('{"question_id": 1, "category": "a", "turns": ["b"]}\n{"question_id"\n')
    before = contents(tmp_path)
    prompts = () if "--prompts" in arguments else ("--prompts", "prose:2")
    result = run(*prompts, *(argument.format(assets=assets) for argument in arguments))
    assert result.exit_code == 2
    assert words in said(result)
    assert "Traceback" not in result.output
    assert contents(tmp_path) == before


def test_bench_keeps_its_rows_and_says_whether_they_hold(tmp_path, assets, monkeypatch):
    """Nothing is compiled here: tests/real/measure/test_rivals.py does that, with every contender."""
    monkeypatch.setattr(torch, "compile", lambda forward, **_: forward)
    pair = ("--target", assets / "target", "--draft", assets / "specialist")
    result = real("bench", *pair, "--prompts", "prose:4", "--new", 6, "--out", "o/bench.json")
    assert result.exit_code == 0, said(result)
    kept = json.loads((tmp_path / "o/bench.json").read_text())
    assert (kept["target"], kept["prompts"], kept["new"]) == ("target", 4, 6)
    assert kept["provenance"]["device"] == "cpu, 1 thread"
    for mode in ("greedy", "sampled"):
        row = kept["rows"][mode]
        assert all(line["tokens_per_second"] > 0 for line in row["contenders"].values())
        assert len(row["targets"]) == 5
        for one in row["targets"]:
            assert one["holds"] == (one["ratio"]["low"] >= one["factor"])
            asked = f"lower limit >= {one['factor']:g}: {'yes' if one['holds'] else 'no'}"
            assert f"{one['ours']} ÷ {one['theirs']}: {limits(one['ratio'], 3)}; {asked}" in said(result)
    assert contents(tmp_path).keys() == {"o/bench.json"}


def test_commands_show_no_bars_but_their_own_and_those_of_downloads():
    logging.enable_progress_bar()
    result = run("--prompts", "prose:1")
    assert result.exit_code == 0
    assert "Loading weights" not in result.output
    assert not logging.is_progress_bar_enabled()
    assert not are_progress_bars_disabled()


def test_other_commands_explain_themselves(tmp_path):
    assert "no results under" in said(real("summary", tmp_path))
    assert "no row matches 'pyhton'; near it: python" in said(real("results", "pyhton"))
    listed = said(real("list"))
    assert all(name in listed for name in ("demo", "python", "greedy", *QUICK.methods))
    (tmp_path / "p.jsonl").write_text('{"question_id": 1, "category": "a", "turns": ["b"]}\n')
    assert "a: 1 prompts" in said(real("prompts", "p.jsonl"))
