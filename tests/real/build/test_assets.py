"""The shipped models, streams and provenance are what they say they are."""

from __future__ import annotations

import hashlib
import json
import random
import re
from statistics import median

import pytest

from real.build import corpus, sources, tasks
from real.traffic.streams import ASSETS

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TARGETS = {"target": ("qwen3", 16), "llama": ("llama", 12), "gpt_neox": ("gpt_neox", 12)}
DRAFTS = ("specialist", "generalist")
MODELS = (*TARGETS, *DRAFTS)
MIB = 1 << 20


@pytest.fixture(scope="module")
def provenance() -> dict:
    return json.loads((ASSETS / "PROVENANCE.json").read_text(encoding="utf-8"))


def rows(domain: str) -> list[dict]:
    lines = (ASSETS / "streams" / f"{domain}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_sizes():
    files = [p for p in ASSETS.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert max(p.stat().st_size for p in files) <= 15 * MIB
    assert sum(p.stat().st_size for p in files) <= 39 * MIB  # of 55 that the whole tree may have
    assert not [p for p in files if p.suffix in (".bin", ".pt", ".pkl", ".pickle", ".npy")]


def test_provenance_lists_the_shipped_files(provenance):
    parts = (ASSETS / part for part in (*MODELS, "starts", "streams"))
    shipped = {p.relative_to(ASSETS).as_posix() for part in parts for p in part.rglob("*") if p.is_file()}
    assert shipped == set(provenance["files"])
    for name, fact in provenance["files"].items():
        content = (ASSETS / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (fact["bytes"], fact["sha256"]), name


def test_provenance_says_where_everything_comes_from(provenance):
    assert set(provenance["domains"]) == set(corpus.SERVED) == set(provenance["served"])
    assert set(provenance["served_by"]) == {name for name in TARGETS if name != "target"}
    for name, fact in provenance["domains"].items():
        assert all(fact[key] for key in ("source", "licence")), name
        assert re.fullmatch("[0-9a-f]{64}", fact["sha256"]), name
        assert fact["documents"] > 100
        assert (fact["weight"] == 0) == (name in corpus.NOVEL)
        if name in corpus.DOMAINS:
            assert 0 < fact["held_out_documents"] < fact["documents"]
            assert fact["bytes"] > 1_000_000
    for name in MODELS:
        model = provenance["models"][name]
        assert set(model["held_out_loss_nats_per_token"]) == set(corpus.DOMAINS)
        assert all(t["steps"] > 0 and t["tokens"] > 0 and t["seconds"] > 0 for t in model["trainings"].values())
    assert all(fact["positions"] > 7_000 for fact in provenance["served"].values())
    assert median(fact["greedy_distinct_tokens_median"] for fact in provenance["served"].values()) >= 20


def test_claims_follow_from_the_measured_alpha(provenance):
    alpha = {d: fact["alpha"] for d, fact in provenance["served"].items()}
    home, claims = provenance["home"], provenance["claims"]
    assert claims["home"]["measured"] == alpha[home]["specialist"]
    assert claims["home"]["holds"] == (alpha[home]["specialist"] >= 0.75)
    away = {d: a["specialist"] for d, a in alpha.items() if d != home}
    assert set(claims["elsewhere"]["within"]) == {d for d, a in away.items() if 0.45 <= a <= 0.70}
    assert claims["elsewhere"]["outside"] == {d: a for d, a in away.items() if not 0.45 <= a <= 0.70}


def test_each_draft_is_best_where_it_should_be(provenance):
    alpha = {d: fact["alpha"] for d, fact in provenance["served"].items()}
    home = provenance["home"]
    assert alpha[home]["specialist"] > alpha[home]["generalist"]
    assert alpha[home]["specialist"] == max(a["specialist"] for a in alpha.values())
    assert all(a["generalist"] > a["specialist"] for d, a in alpha.items() if d != home)


def test_every_start_is_told(provenance):
    starts = {p.relative_to(ASSETS / "starts").with_suffix("").as_posix() for p in (ASSETS / "starts").rglob("*-*.*")}
    assert starts == set(provenance["starts"])
    drafters = pytest.importorskip("real.build.starts").STARTS
    wanted = {f"{family}/{name}-generalist" for family, _ in TARGETS.values() for name in drafters if name != "adapter"}
    assert {"qwen3/adapter-generalist", "qwen3/adapter-specialist", *wanted} <= starts
    assert all(fact["seconds"] > 0 and fact["entries"] > 0 for fact in provenance["starts"].values())


def test_starts_are_kept_in_8_bits():
    """A byte an entry of x and two a block; what a drafter keeps besides is in bfloat16."""
    start = pytest.importorskip("real.drafters.start")
    for path in (ASSETS / "starts").rglob("*-*.*"):
        tensors = pytest.importorskip("safetensors.torch").load_file(path)
        x = start.unpacked(tensors)
        assert x.isfinite().all(), path
        assert x.any() != path.name.startswith("adapter"), path  # an adapter starts at zero
        rest = [t for name, t in tensors.items() if name != "x.int8" and t.is_floating_point()]
        assert {t.dtype for t in rest} == {torch.bfloat16}, path


@pytest.mark.parametrize("domain", list(corpus.SERVED))
def test_stream_schema_and_prompt_lengths(domain):
    tokenizer = transformers.AutoTokenizer.from_pretrained(ASSETS / "target")
    found = rows(domain)
    assert len(found) >= 150
    assert len({r["question_id"] for r in found}) == len(found)
    for row in found:
        assert {"question_id", "category", "turns"} <= set(row)
        assert row["category"] == domain
        assert isinstance(row["question_id"], int)
        assert len(row["turns"]) == 1
        assert 48 <= len(tokenizer(row["turns"][0])["input_ids"]) <= 112


def test_question_ids_are_unique_over_streams():
    ids = [r["question_id"] for d in corpus.SERVED for r in rows(d)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("model", MODELS)
def test_tokenizer_round_trip_and_chat(model):
    tokenizer = transformers.AutoTokenizer.from_pretrained(ASSETS / model)
    text = "for x in range(3):\n\tprint('naïve — ∑', x)  # ok\r\n    \n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer) == 1024
    assert tokenizer.eos_token_id == 0
    assert tokenizer.pad_token_id == 1
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat == "<|user|>\nHi\n<|assistant|>\n"


@pytest.mark.parametrize(
    ("model", "family", "layers"), [*((n, *of) for n, of in TARGETS.items()), *((n, "qwen3", 1) for n in DRAFTS)]
)
def test_models_load_and_know_english(model, family, layers):
    net = transformers.AutoModelForCausalLM.from_pretrained(ASSETS / model, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(ASSETS / model)
    assert net.config.model_type == family
    assert net.config.num_hidden_layers == layers
    assert net.config.vocab_size == 1024
    ids = torch.tensor([tokenizer(rows("prose")[0]["turns"][0])["input_ids"]])
    with torch.no_grad():
        assert net(input_ids=ids, labels=ids).loss < 4.5 < torch.log(torch.tensor(1024.0))


def test_sql_references_run():
    for row in rows("sql"):
        assert row["schema"] in row["turns"][0]
        tasks.run_query(row["schema"], row["reference"])


def test_generated_sql_runs_and_arithmetic_holds():
    for seed in range(40):
        head, items = tasks.sheet("sql", seed)
        for item in items:
            tasks.run_query(head, item.reference)
        for item in tasks.sheet("arithmetic", seed)[1]:
            assert tasks.check_solution(item.answer)
            assert tasks.arithmetic_answer(item.answer) == item.reference
    assert not tasks.check_solution("2 + 2 = 5")
    assert tasks.arithmetic_answer("no number") is None


def test_task_prompts_come_from_held_out_sheets_only():
    for domain in ("arithmetic", "sql"):
        texts = [d.text for d in corpus.collect(domain)]
        train = "\0".join(t for t in texts if not corpus.held_out(t))
        held = "\0".join(t for t in texts if corpus.held_out(t))
        for row in rows(domain):
            assert row["turns"][0] in held
            assert row["turns"][0][-150:] + " " + row["reference"] not in train


@pytest.mark.slow
def test_prompts_of_the_standard_library_come_from_held_out_files(provenance):
    """Exact only with the Python version the assets were built with; passages that two files share are counted."""
    documents = corpus.collect("python")
    if corpus.digest(documents) != provenance["domains"]["python"]["sha256"]:
        pytest.skip("another Python version: its standard library differs from the one the assets were built from")
    train = "\0".join(d.text for d in documents if not corpus.held_out(d.text))
    held = "\0".join(d.text for d in documents if corpus.held_out(d.text))
    prompts = [row["turns"][0] for row in rows("python")]
    assert all(prompt in held for prompt in prompts)
    assert sum(prompt in train for prompt in prompts) == provenance["prompts_also_in_train_text"]["python"]


def test_few_prompts_stand_in_training_text_too(provenance):
    assert set(provenance["prompts_also_in_train_text"]) == set(corpus.SERVED)
    assert all(count <= 0.12 * 160 for count in provenance["prompts_also_in_train_text"].values())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: corpus.collect("poems"), r"domain='poems'.*choose one"),
        (lambda: tasks.sheet("poems", 1), r"domain='poems'.*choose one"),
        (lambda: sources.package_root("no_such_package_here"), r"package='no_such_package_here'.*install"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_sheets_depend_on_their_seed_alone():
    random.seed(0)
    first = tasks.sheet_text("sql", 7)
    random.random()
    assert first == tasks.sheet_text("sql", 7) != tasks.sheet_text("sql", 8)
