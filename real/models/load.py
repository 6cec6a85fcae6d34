"""Checkpoints from folders or the hub: complete, without code of their own, or refused."""

import os
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from real.models.hf import DTYPES, PROVEN, CausalLM, Pair, context_of, switch_of
from theory.runs.reading import first_line, json_of, read_text

CHECKED = (
    *PROVEN,
    *("mistral", "phi3", "gemma2", "gemma3_text", "falcon", "bloom", "gpt2", "opt", "granite", "cohere", "mixtral"),
    *("starcoder2", "gptj", "olmo2", "stablelm"),
)
"""Types of models whose text ``python -m real lossless`` compares with transformers' own."""
SAVED = "give a folder written by save_pretrained or a model name of the Hugging Face hub"
WRONG = {"lacks": "missing_keys", "has another size of": "mismatched_keys", "has": "unexpected_keys"}
"""What a checkpoint may do to its architecture, by transformers' names."""


def quiet() -> None:
    """No bars for loading and saving in this process, which take a moment; downloads, which do not, keep theirs."""
    downloads = not are_progress_bars_disabled()
    logging.disable_progress_bar()
    if downloads:
        enable_progress_bars()


def load_model(
    path: str | Path,
    dtype: str = "float32",
    device: str = "cpu",
    name: str = "model",
    context: int = 0,
    trust: Collection[str] = (),
) -> CausalLM:
    """Load one model by folder or hub name; ``name`` (``target`` or ``draft``) is what error messages call it.

    context: longest text it is to serve, where that is not what it was made for; 0 leaves it as it is.
    trust: folders and hub names whose own code may run.

    Raises:
        ValueError: for a model that cannot be found or read, lacks weights, has others than its architecture, brings
            code, or does not run.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r}: must be one of {', '.join(DTYPES)}")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={device!r}: not usable here ({str(error).splitlines()[0]}); try cpu") from None
    settings = {"max_position_embeddings": context} if context else {}
    settings |= {"dtype": DTYPES[dtype], "output_loading_info": True, "ignore_mismatched_sizes": True}
    _check_generation(path, name)
    model, found = _from_pretrained(AutoModelForCausalLM, path, name, trust, **settings)
    for what, keys in WRONG.items():
        if found[keys]:
            names = sorted(key if isinstance(key, str) else key[0] for key in found[keys])
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ValueError(
                f"{name}={str(path)!r}: its checkpoint {what} {names[0]!r}{more}, so it is not a whole "
                f"{type(model).__name__}; nothing is filled at random: save it again with save_pretrained"
            )
    with _told(
        name, path, f"{type(model).__name__} cannot be served in {dtype}", "try another dtype, or another model"
    ):
        made = CausalLM(model.to(device), name)
    if switch_of(model.config.get_text_config()) == made.context:
        warnings.warn(
            f"{name}={str(path)!r}: texts end at {made.context} tokens, where longrope turns all their positions",
            stacklevel=2,
        )
    return made


def load_context(path: str | Path, name: str = "model", trust: Collection[str] = ()) -> int:
    """The longest text of a model by folder or hub name; its weights are not loaded."""
    config = _from_pretrained(AutoConfig, path, name, trust)
    with _told(name, path, "its config.json is not of a text model", SAVED):
        return context_of(config.get_text_config())


def load_tokenizer(path: str | Path, name: str = "model", trust: Collection[str] = ()) -> Any:
    """Load the tokenizer that lies with a model."""
    return _from_pretrained(AutoTokenizer, path, name, trust)


def load_pair(
    target: str | Path,
    draft: str | Path | None,
    dtype: str = "float32",
    device: str = "cpu",
    trust: Collection[str] = (),
) -> Pair:
    """Load target, draft and tokenizer.

    Raises:
        ValueError: what ``load_model`` refuses, a model that cannot be split into body and head, a generation config
            that cannot be served, or two tokenizers that differ (padded vocabularies of different sizes are fine: ids a
            model does not have get probability 0).
    """
    tokenizer = load_tokenizer(target, "target", trust)
    if draft is not None:
        check_tokenizers(tokenizer, load_tokenizer(draft, "draft", trust), str(target), str(draft))
    big = load_model(target, dtype, device, "target", trust=trust)
    kind = big.model.config.model_type
    if kind not in CHECKED:
        warnings.warn(
            f"target={str(target)!r}: models of type {kind!r} have not been checked against transformers; check this "
            "one with `python -m real lossless --target … --draft …`",
            stacklevel=2,
        )
    small = None if draft is None else load_model(draft, dtype, device, "draft", trust=trust)
    return Pair(big, small, tokenizer)


def check_tokenizers(target: Any, draft: Any, target_name: str, draft_name: str) -> None:
    """ValueError unless both tokenizers give every id the same token."""
    ours, theirs = target.get_vocab(), draft.get_vocab()
    if ours == theirs:
        return
    different = [token for token in {**ours, **theirs} if ours.get(token) != theirs.get(token)]
    odd = min(different, key=lambda token: (ours.get(token, len(ours)), token))
    raise ValueError(
        f"draft={draft_name!r}: its tokenizer must give every token the id that target={target_name!r} gives it, but "
        f"token {odd!r} has id {theirs.get(odd)} here and {ours.get(odd)} there ({len(theirs)} and {len(ours)} "
        "tokens); choose a draft of the same family"
    )


def _from_pretrained(kind: Any, path: str | Path, name: str, trust: Collection[str], **settings: Any) -> Any:
    pickled = os.path.isfile(Path(path, "pytorch_model.bin")) and not list(Path(path).glob("*.safetensors"))
    remedy = (
        "its pytorch_model.bin must be tensors that torch.save wrote; better, give safetensors" if pickled else SAVED
    )
    with _told(name, path, f"no {kind.__name__} could be loaded from it", remedy):
        return kind.from_pretrained(str(path), trust_remote_code=str(path) in trust, **settings)


def _check_generation(path: str | Path, name: str) -> None:
    """ValueError for a folder's generation_config.json that transformers would leave out because it cannot read it."""
    file = Path(path, "generation_config.json")
    if os.path.isfile(file):
        with _told(name, path, f"{file.name} is not a JSON object", "write it again, or remove it"):
            if not isinstance(json_of(read_text(file)), dict):
                raise TypeError("it holds something else")


@contextmanager
def _told(name: str, path: str | Path, what: str, remedy: str) -> Iterator[None]:
    """Whatever the code within, or a stranger's folder, makes transformers raise is told as a ValueError in a line."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith((f"{name}=", f"{name}:")):
            raise  # it has been told already
        reason = first_line(error)
        if "trust_remote_code" in str(error):
            reason = "it brings code of its own, which is not run"
            remedy = f"if you trust it, name it: --trust-remote-code {path}"
        raise ValueError(f"{name}={str(path)!r}: {what} ({reason}); {remedy}") from error
