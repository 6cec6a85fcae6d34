"""``real run`` with the requests of several users, and what its state tells of their texts."""

import json
import os
import stat
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.models.state import load  # noqa: E402
from tests.real.cli.test_real_cli import assets, interrupt_at, quick, real, run, said  # noqa: E402, F401 (fixtures)
from theory.runs.trace import Trace  # noqa: E402

TEXTS = ["abcdab", "bcd", "abcdab", "dcab", "bcd", "abcdab"]
TENANTS = ["a", "b", "a", "b", "b", "a"]


def written(path: Path, tenants, texts=TEXTS) -> Path:
    rows = [
        {"question_id": i, "category": "prose", "turns": [text]} | ({"tenant": tenant} if tenant else {})
        for i, (text, tenant) in enumerate(zip(texts, tenants, strict=True))
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def columns(folder: Path, method: str) -> dict[str, list]:
    trace = Trace.load(folder / "real/run/0" / method)
    clock = ("prompt", "seconds")
    return {key: column.tolist() for key, column in trace.columns.items() if not key.startswith(clock)}


def test_every_users_requests_are_served_as_if_there_were_no_others(tmp_path):
    """Counts of steps and drafts, and the steps expected on the text that is followed."""
    learners = ("--learner", "ogd")
    assert run("--prompts", written(tmp_path / "both.jsonl", TENANTS), *learners, "--out", "both").exit_code == 0
    for tenant in "ab":
        mine = [i for i, whose in enumerate(TENANTS) if whose == tenant]
        alone = written(tmp_path / f"{tenant}.jsonl", [tenant] * 3, [TEXTS[i] for i in mine])
        assert run("--prompts", alone, *learners, "--out", tenant).exit_code == 0
        for method in ("plain", "frozen", "ogd"):
            both = {key: [column[i] for i in mine] for key, column in columns(tmp_path / "both", method).items()}
            assert both == columns(tmp_path / tenant, method)


def test_a_trace_has_the_rounds_of_all_tenants(tmp_path):
    """As many as each has alone, one tenant's after the other's; hint_gain is of all of them."""
    assert (
        run("--prompts", written(tmp_path / "both.jsonl", TENANTS), "--learner", "ogd", "--out", "both").exit_code == 0
    )
    header = Trace.load(tmp_path / "both/real/run/0/ogd").header
    rounds, losses = {}, []
    for tenant in header["rounds_of_tenants"]:
        mine = [text for text, whose in zip(TEXTS, TENANTS, strict=True) if whose == tenant]
        alone = written(tmp_path / f"{tenant}.jsonl", [tenant] * 3, mine)
        assert run("--prompts", alone, "--learner", "ogd", "--out", tenant).exit_code == 0
        own = Trace.load(tmp_path / tenant / "real/run/0/ogd").header
        assert "rounds_of_tenants" not in own
        rounds[tenant], losses = len(own["rounds"]["loss"]), losses + own["rounds"]["loss"]
    assert header["rounds_of_tenants"] == rounds
    assert set(rounds) == {"a", "b"}
    assert header["rounds"]["loss"] == losses
    assert header["hint_gain"] == 1


@pytest.mark.parametrize(
    ("burn_in", "told"),
    [
        (16, None),
        (
            32,
            "nothing from the tenants 'b': the stream has 24 tokens of each at most, its burn-in and one round take 40",
        ),
        (64, "nothing: of each tenant the stream has 48 tokens at most, its burn-in and one round take 72"),
    ],
)
def test_every_tenant_has_a_burn_in_of_its_own(tmp_path, burn_in, told):
    """Six requests of 12 tokens, four of them a's."""
    prompts = written(tmp_path / "both.jsonl", ["a", "b", "a", "a", "b", "a"])
    result = run("--prompts", prompts, "--learner", "ogd", "--burn-in", burn_in)
    assert result.exit_code == 0, said(result)
    assert ("will learn nothing" in said(result)) == (told is not None)
    assert told is None or f"ogd will learn {told}; serve" in said(result)
    assert ("nothing was learned, and nothing certified: 48 tokens of one tenant" in said(result)) == (burn_in == 64)


def test_a_state_is_one_tenants(tmp_path):
    result = run("--prompts", written(tmp_path / "both.jsonl", TENANTS), "--state", "s")
    assert result.exit_code == 2
    assert "--state s: holds what was learned from one tenant, and the prompts are of 'a', 'b'; give" in said(result)
    assert not (tmp_path / "s").exists()
    mine, unnamed = (written(tmp_path / f"{name}.jsonl", [name] * 6) for name in ("a", ""))
    for _ in range(2):
        assert run("--prompts", mine, "--state", "s").exit_code == 0
    assert load(tmp_path / "s")[1]["tenant"] == "a"
    result = run("--prompts", unnamed, "--state", "s")
    assert result.exit_code == 2
    assert "saved with other settings (there, here): {'tenant': ('a', None)}" in said(result)


def test_a_state_holds_no_text_unless_it_is_asked_for(tmp_path):
    for options, ngrams in (((), 0), (("--keep-text",), 100)):
        path = tmp_path / f"s{ngrams}"
        assert run("--prompts", "prose:4", "--drafter", "ngram", "--state", path, *options).exit_code == 0
        assert (len(load(path)[0]["drafter.counts"]) > ngrams) == bool(options)
        assert run("--prompts", "prose:3", "--state", path := path.with_suffix(".adapter"), *options).exit_code == 0
        assert ("rounds.0.tokens" in load(path)[0]) == bool(options)


def test_whose_request_it_is_is_a_string(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"question_id": 1, "category": "c", "turns": ["a"], "tenant": 7}')
    result = real("prompts", "p.jsonl")
    assert result.exit_code == 2
    assert "p.jsonl, line 1: tenant=7: must be a string that names whose request it is" in said(result)


@pytest.mark.parametrize("drafter", ["adapter", "mixture"])
def test_a_run_of_more_tenants_than_are_remembered_goes_on_with_its_certificate(tmp_path, monkeypatch, drafter):
    """Stopped, as a kill stops, when the tenant that is certified was forgotten long ago."""
    tenants = [f"t{i}" for i in [*range(18), *range(10, 16)]]
    prompts = written(tmp_path / "many.jsonl", tenants, [TEXTS[i % len(TEXTS)] for i in range(len(tenants))])
    learner = ("--learner", "ogd") if drafter == "adapter" else ()
    made = ("--prompts", prompts, "--drafter", drafter, *learner, "--measured-only", "--burn-in", 8)
    made += ("--max-new-tokens", 24)
    assert run(*made, "--out", "whole", "--certify", "whole-log").exit_code == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, 19, SystemError("as if killed"))
        assert run(*made, "--out", "parts", "--certify", "parts-log").exit_code != 0
    result = run(*made, "--out", "parts", "--certify", "parts-log")
    assert result.exit_code == 0, said(result)
    texts, logs = (
        [tmp_path / part / "real/run/0/texts.jsonl" for part in ("whole", "parts")],
        ["whole-log", "parts-log"],
    )
    assert texts[0].read_text() == texts[1].read_text()
    whole, parts = (Trace.load(tmp_path / log) for log in logs)
    assert {key: column.tolist() for key, column in parts.columns.items()} == {
        key: column.tolist() for key, column in whole.columns.items()
    }
    assert whole.header["tenant"] == parts.header["tenant"] == "t0"
    assert "certificate of tenant 't0'; other tenants are not certified" in said(result)
    (name,) = {path.stem for path in texts[0].parent.glob("*.csv")} - {"plain", "frozen"}
    assert columns(tmp_path / "whole", name) == columns(tmp_path / "parts", name)
    assert Trace.load(texts[1].parent / name).header["certificate_of_tenant"] == "t0"


def test_a_certificate_of_one_tenants_requests_names_no_others(tmp_path):
    result = run("--prompts", written(tmp_path / "a.jsonl", ["a"] * 6), "--learner", "ogd", "--certify", "log")
    assert "certificate against frozen" in said(result)
    assert "other tenants" not in said(result)


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_what_holds_texts_or_was_learned_of_them_is_for_the_users_eyes_alone(tmp_path, monkeypatch):
    """At every moment: while requests are served, when the run goes on, and at its end."""
    prompts = written(tmp_path / "both.jsonl", TENANTS)
    made = ("--prompts", prompts, "--learner", "ogd", "--out", "o", "--certify", "log")
    folder = tmp_path / "o/real/run/0"

    def modes() -> set[int]:
        found = [*folder.glob("*.safetensors"), folder / "texts.jsonl", *tmp_path.glob("log.*[nv]")]
        return {stat.S_IMODE(path.stat().st_mode) for path in found}

    with monkeypatch.context() as patch:
        interrupt_at(patch, 4, SystemError("as if killed"))
        assert run(*made).exit_code != 0
    assert modes() == {0o600}
    (folder / "texts.jsonl").chmod(0o644)  # as it was left before
    assert run(*made).exit_code == 0
    assert (tmp_path / "log.csv").exists()
    assert modes() == {0o600}
    assert real("record", "--out", "r.npz", "--schedule", "prose:2", "--nu", 8, "--burn-in", 8).exit_code == 0
    assert stat.S_IMODE((tmp_path / "r.npz").stat().st_mode) == 0o600
