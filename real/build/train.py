"""Builds the embedded models and streams: `python -m real train --out DIR`.

Order: corpus -> tokenizer -> target -> drafts (distilled from the target) -> streams -> PROVENANCE.json. Step budgets,
not clocks, end a training, so the same versions and seeds give the same models; `--minutes` ends the target's training
earlier where a machine is slow, and provenance says so. Interrupted, the same command goes on from the last save.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from real.build import corpus, fit, large, prompts, starts, text
from real.build import quality as measure
from real.build.fit import Budget
from real.models.load import load_pair
from real.traffic.streams import ASSETS
from theory.runs.files import owned, write_whole

TARGETS = {
    "target": ("qwen3", (16, 192, 512, 2, 1, 128)),
    "llama": ("llama", (12, 128, 384, 4, 2, 32)),
    "gpt_neox": ("gpt_neox", (12, 128, 512, 4, 4, 32)),
}
"""Targets by folder: transformers' name of the family, then layers, hidden size, intermediate size, query heads,
key-value heads, head_dim."""
DRAFT = (1, 256, 1024, 8, 2, 32)
TARGET_BUDGET = Budget(steps=2400, batch=16, length=256, lr=3e-3, matrix_lr=6e-3, seed=1)
TEXT_BUDGET = Budget(steps=1500, batch=8, length=256, lr=4e-3, matrix_lr=8e-3, seed=2)
DISTIL_BUDGET = Budget(steps=1500, batch=8, length=256, lr=3e-3, matrix_lr=6e-3, seed=3)
OWN_BUDGET = Budget(steps=3600, batch=8, length=256, lr=2e-3, matrix_lr=4e-3, seed=4, variation=4.0)
OWN_ROWS = {"prose": 1600, "python": 480, "c": 480, "session": 320, "arithmetic": 160, "sql": 160}
HOME = "prose"
DRAFTS = {
    "specialist": {HOME: 0.75, "documentation": 0.25},
    "generalist": {name: spec.weight for name, spec in corpus.DOMAINS.items()},
}
"""Shares of training tokens; `documentation` is the home domain's own text as written, see real/build/sources.py."""
TRACE = {"specialist": {"session": 0.003, "arithmetic": 0.004, "sql": 0.002}}
"""Shares of other domains' text in a draft's last stage: what never saw a domain's words cannot follow it at all."""
PARTS = ("tokenizer", *TARGETS, *DRAFTS, "starts", "streams", "large", "provenance")
CHAT = (
    "{% for m in messages %}{{ '<|user|>\n' if m['role'] == 'user' else '<|assistant|>\n' }}{{ m['content'] + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
SHIPPED = (*TARGETS, *DRAFTS, "starts", "streams")


def build(family: str, shape: tuple[int, ...], seed: int, std: float = 0.03) -> PreTrainedModel:
    """A new model of ``family``; transformers' own initialisation under a forked global seed."""
    layers, hidden, intermediate, heads, groups, head_dim = shape
    sizes = {"vocab_size": text.VOCABULARY, "hidden_size": hidden, "intermediate_size": intermediate}
    depth = {"num_hidden_layers": layers, "num_attention_heads": heads, "max_position_embeddings": 1024}
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1, "tie_word_embeddings": False}
    grouped = {} if family == "gpt_neox" else {"num_key_value_heads": groups, "head_dim": head_dim}
    config = AutoConfig.for_model(
        family, **sizes, **depth, **ids, **grouped, rope_theta=10_000.0, initializer_range=std
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight", "attention.dense.weight", "4h_to_h.weight")):
                tensor.mul_(1 / math.sqrt(2 * layers))
    return model


def save_model(model: PreTrainedModel, tokenizer: Tokenizer, folder: Path) -> None:
    """bf16 safetensors, config and tokenizer as one Hugging Face folder, replaced file by file through renames."""
    part = folder.with_name(folder.name + ".part")
    with torch.random.fork_rng():
        copy = type(model)(model.config)
    copy.to(torch.bfloat16)  # pyright: ignore[reportArgumentType] (transformers wraps Module.to)
    copy.load_state_dict({n: t.to(torch.bfloat16) for n, t in model.state_dict().items()})
    copy.save_pretrained(part)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=text.EOS,
        bos_token=text.EOS,
        pad_token=text.PAD,
        model_max_length=1024,
        chat_template=CHAT,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(part)
    folder.mkdir(parents=True, exist_ok=True)
    for file in part.iterdir():
        file.chmod(0o644)
        os.replace(file, folder / file.name)
    part.rmdir()


def load(folder: Path) -> transformers.PreTrainedModel:
    """A saved model in float32 with the plain attention that trains fastest on a CPU."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", trust_remote_code=False
    )
    return model.eval()


def _add_record(out: Path, name: str, record: dict) -> None:
    path = out / "trainings.json"
    records = json.loads(path.read_text()) if path.exists() else {}
    records.setdefault(name, {}).update(record)
    write_whole(path, json.dumps(records, indent=1))


def _record(out: Path, name: str, budget: Budget, progress: fit.Progress, stage: str, shares: dict[str, float]) -> None:
    record = {
        "budget": vars(budget),
        "shares": {n: round(w / sum(shares.values()), 4) for n, w in shares.items()},
        "steps": progress.step,
        "tokens": progress.tokens,
        "seconds": round(progress.seconds, 1),
    }
    _add_record(out, name, {stage: record})


def train_target(
    out: Path,
    name: str,
    tokenizer: Tokenizer,
    ids: dict,
    minutes: float | None,
    compiled: bool,
    budget: Budget = TARGET_BUDGET,
) -> None:
    """One target on all domains, in `out/name`; every family reads the same windows of text in the same order."""
    model = build(*TARGETS[name], budget.seed)
    weights = {name: spec.weight for name, spec in corpus.DOMAINS.items()}
    sampler = text.Sampler({n: parts["train"] for n, parts in ids.items()}, weights, budget.length, budget.seed)
    progress = fit.fit(
        model,
        sampler,
        budget,
        out / f"{name}_state",
        compiled=compiled,
        minutes=minutes,
        save=lambda: save_model(model, tokenizer, out / name),
    )
    _record(out, name, budget, progress, "text", weights)


def own_text(out: Path, domain: str, ids: np.ndarray, target: str = "target", batch: int = 160) -> np.ndarray:
    """A target's own text: 208 tokens sampled at temperature 1 after each of `OWN_ROWS` 48-token train prompts."""
    path = out / "cache" / (f"own_{domain}.npz" if target == "target" else f"own_{target}_{domain}.npz")
    if not path.exists():
        model, count = load(out / target), OWN_ROWS[domain]
        generator = torch.Generator().manual_seed(7)
        starts = torch.randint(ids.size - 48, (count,), generator=generator).tolist()
        prompts = torch.from_numpy(np.stack([ids[s : s + 48] for s in starts]).astype(np.int64))
        rows = [torch.cat([p, measure.continue_text(model, p, 208, generator)], 1) for p in prompts.split(batch)]
        text.save_arrays(path, train=torch.cat(rows).numpy().astype(np.uint16).ravel())
    return np.load(path, allow_pickle=False)["train"]


def train_draft(out: Path, name: str, tokenizer: Tokenizer, ids: dict, compiled: bool) -> None:
    """One draft in `out/name`, in three stages on its own domains.

    `text`: next-token loss; `distil`: forward KL to the target's law on the same text; `own`: forward KL and total
    variation to that law, 60 % of it on text the target wrote, with a trace of other domains (`TRACE`).
    """
    model, rows, shares = (
        build("qwen3", DRAFT, TEXT_BUDGET.seed),
        {n: ids[n]["train"] for n in DRAFTS[name]},
        DRAFTS[name],
    )
    for stage, budget in (("text", TEXT_BUDGET), ("distil", DISTIL_BUDGET), ("own", OWN_BUDGET)):
        if stage == "own":
            own = {f"own {n}": own_text(out, n, rows[n]) for n in DRAFTS[name] if n in OWN_ROWS}
            total = sum(DRAFTS[name][n] for n in DRAFTS[name] if n in OWN_ROWS)
            trace = TRACE.get(name, {})
            rows = rows | own | {n: ids[n]["train"] for n in trace}
            shares = trace | {n: 0.4 * w for n, w in DRAFTS[name].items()}
            shares |= {f"own {n}": 0.6 * w / total for n, w in DRAFTS[name].items() if n in OWN_ROWS}
        sampler = text.Sampler(rows, shares, budget.length, budget.seed)
        progress = fit.fit(
            model,
            sampler,
            budget,
            out / f"{name}_{stage}_state",
            compiled=compiled,
            teacher=None if stage == "text" else load(out / "target"),
            save=lambda: save_model(model, tokenizer, out / name),
        )
        _record(out, name, budget, progress, stage, shares)


def train_starts(out: Path, target: str, ids: dict) -> None:
    """`out/starts/<family>/<drafter>-<draft>.safetensors`: drafters warmed up on what the target wrote itself."""
    family = TARGETS[target][0]
    rows = {domain: own_text(out, domain, ids[domain]["train"], target) for domain in OWN_ROWS}
    for name, shares in DRAFTS.items():
        own = {domain: share for domain, share in shares.items() if domain in OWN_ROWS}
        texts = starts.windows(rows, own | TRACE.get(name, {}), 1600)
        pair = load_pair(out / target, out / name)
        for drafter in starts.STARTS:
            if drafter == "adapter" and target != "target":
                continue  # its warm-up is the whitening of the draft
            path = out / "starts" / family / f"{drafter}-{name}.safetensors"
            if not path.exists():
                began = time.monotonic()
                record = starts.warm_up(pair, drafter, texts, path, {"target": target, "draft": name})
                _add_record(out, f"{family}/{path.stem}", record | {"seconds": round(time.monotonic() - began, 1)})


def write_streams(out: Path, tokenizer: Tokenizer) -> None:
    """`out/streams/<domain>.jsonl` for every domain; question ids are unique over all streams."""
    for i, name in enumerate(corpus.SERVED):
        prompts.write_stream(prompts.prompts(tokenizer, name), name, out / "streams" / f"{name}.jsonl", 1000 * i)


def write_provenance(out: Path, tokenizer: Tokenizer, ids: dict, facts: dict, command: str) -> dict:
    """`out/PROVENANCE.json`: sources, trainings, losses, alpha, repetition, versions; every number measured here."""
    targets, drafts = ({name: load(out / name) for name in names} for names in (TARGETS, DRAFTS))
    found = {name: prompts.prompts(tokenizer, name) for name in corpus.SERVED}
    trainings = json.loads((out / "trainings.json").read_text())
    held = {name: parts["held"] for name, parts in ids.items()}
    shared = {name: prompts.also_in_training(rows, name) for name, rows in found.items()}
    extra = corpus.home_documentation()
    result = measure.provenance(targets, drafts, found, held, trainings, HOME)
    result["prompts_also_in_train_text"] = shared
    result["documentation"] = {
        "use": "a quarter of the specialist's training text: the home domain's train files, docstrings as written",
        "sha256": corpus.digest(extra),
        "documents": len(extra),
    }
    result["starts"] = {name: record for name, record in trainings.items() if "/" in name}
    for name, spec in corpus.NOVEL.items():
        documents = corpus.collect(name)
        told = {"source": spec.source, "licence": spec.licence, "weight": 0.0, "documents": len(documents)}
        facts = facts | {name: told | {"sha256": corpus.digest(documents)}}
    result |= {"domains": facts, "command": command, "files": measure.hashes(out, SHIPPED)}
    write_whole(out / "PROVENANCE.json", json.dumps(result, indent=1) + "\n")
    tell_large(out)
    return json.loads((out / "PROVENANCE.json").read_text())


def tell_large(out: Path) -> None:
    """The large streams' part of `out/PROVENANCE.json`, where there is one, and the hashes of all files."""
    path = out / "PROVENANCE.json"
    if path.exists():
        told = json.loads(path.read_text()) | {"large": large.facts(out), "files": measure.hashes(out, SHIPPED)}
        write_whole(path, json.dumps(told, indent=1) + "\n")


def install(out: Path, assets: Path = ASSETS) -> None:
    """Copies models, streams and provenance from `out` to the package's assets."""
    for part in SHIPPED:
        shutil.copytree(out / part, assets / part, dirs_exist_ok=True)
    shutil.copy(out / "PROVENANCE.json", assets)


def train(
    out: Path,
    minutes: float | None = None,
    only: str | None = None,
    threads: int = 1,
    compiled: bool = True,
    to_assets: bool = False,
) -> None:
    """Build tokenizer, target, drafts, streams and PROVENANCE.json from text found on this machine.

    Args:
        out: folder for models, streams and saved states.
        minutes: end a target's training after this long at most.
        only: one of ``PARTS``; None builds all.
        threads: of torch.
        compiled: train by torch.compile.
        to_assets: copy the result over ``real/assets``.

    Raises:
        ValueError: for another part, or no time to train.
    """
    if only is not None and only not in PARTS:
        raise ValueError(f"only={only!r}: must be one of {', '.join(PARTS)}; leave it out to build everything")
    if minutes is not None and not minutes > 0:
        raise ValueError(f"minutes={minutes}: must be above 0; leave it out for the full step budget")
    with owned(out):
        _train(out, minutes, (only,) if only else PARTS, threads, compiled, to_assets)


def _train(
    out: Path, minutes: float | None, parts: tuple[str, ...], threads: int, compiled: bool, to_assets: bool
) -> None:
    torch.set_num_threads(threads)
    started = time.monotonic()
    tokenizer, ids, facts = text.prepared(out / "cache")
    home = {"documentation": {"train": text.documentation_ids(out / "cache", tokenizer)}}
    for name in TARGETS:
        if name in parts:
            train_target(out, name, tokenizer, ids, minutes, compiled)
    for name in DRAFTS:
        if name in parts:
            train_draft(out, name, tokenizer, ids | home, compiled)
    if "starts" in parts:
        for target in TARGETS:
            if (out / target).exists():
                train_starts(out, target, ids)
    if "streams" in parts:
        write_streams(out, tokenizer)
    if "large" in parts:
        large.write(out, tokenizer)
        tell_large(out)
    if "provenance" in parts:
        clock = "" if minutes is None else f" --minutes {minutes:g}"
        write_provenance(out, tokenizer, ids, facts, f"python -m real train --out DIR{clock}")
    if to_assets:
        install(out)
    print(f"built {', '.join(parts)} in {time.monotonic() - started:.0f} s")
