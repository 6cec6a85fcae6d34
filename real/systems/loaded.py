"""The models of a comparison, each loaded once: a target and its drafts, embedded or the user's own."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from real.drafters import Drafter, drafter_class, make_drafter
from real.drafters.objective import Objective
from real.drafters.start import load_start
from real.models.compiled import slots
from real.models.hf import Pair
from real.models.load import load_context, load_model, load_pair, load_tokenizer
from real.serving.decoder import Decoder, online_decoder
from real.serving.settings import Serving
from real.systems.rows import Method
from real.traffic.prompts import Prompt
from real.traffic.streams import ASSETS, Stream
from real.traffic.turns import encoded, longest

FAMILIES = {"qwen3": "target", "llama": "llama", "gpt_neox": "gpt_neox"}
"""Embedded targets by family: folders of ``real/assets``, one tokenizer, trained on the same text."""


class Models:
    """The target and its drafts, each loaded once."""

    def __init__(
        self,
        target: str | Path = "",
        draft: str | Path = "",
        dtype: str = "float32",
        device: str = "cpu",
        family: str = "qwen3",
        trust: Collection[str] = (),
    ):
        """By default the embedded target of ``family`` and the specialist, for which ``draft`` stands if given.

        trust: folders and hub names whose own code may run.

        Raises:
            ValueError: for an unknown family, or what ``load_pair`` refuses.
        """
        self.target, self.dtype, self.device = target_path(target, family), dtype, device
        self.family = "" if target else family
        self.chat = None if target else False  # an embedded target continues text, it was not trained to chat
        self.drafts = {"specialist": str(draft or ASSETS / "specialist"), "generalist": str(ASSETS / "generalist")}
        self.pairs = {"specialist": load_pair(self.target, self.drafts["specialist"], dtype, device, trust)}

    def encoded(self, prompts: Iterable[Prompt]) -> list[list[int]]:
        """Token ids of all prompts, as the target reads them.

        Raises:
            ValueError: for one that cannot be served, with its line and question_id.
        """
        return encoded(self.pair, prompts, self.chat)

    def compile(self, lengths: Sequence[int], size: int, draft: bool = True, tuned: bool = False) -> None:
        """Compile the target and its drafts, before decoders are made (``Pair.compile``)."""
        self.pair.compile(lengths, size, draft, tuned)

    @property
    def pair(self) -> Pair:
        """The target with its first draft."""
        return self.pairs["specialist"]

    def pair_of(self, method: Method) -> Pair:
        """The target with the method's draft."""
        if method.draft not in self.pairs:
            draft = load_model(self.drafts[method.draft], self.dtype, self.device, "draft")
            if self.pair.draft is not None:
                draft.compile_like(self.pair.draft)
            self.pairs[method.draft] = replace(self.pair, draft=draft)
        return self.pairs[method.draft]

    def drafter(self, method: Method, serving: Serving) -> Drafter | None:
        """A fresh drafter for the method, where its warm-up left it.

        Raises:
            ValueError: if there is no such warm-up for this target.
        """
        drafter = drafter_of(self.pair_of(method), method, serving)
        if drafter is not None and method.start:
            load_start(self.start_of(method), drafter)
        return drafter

    def start_of(self, method: Method) -> Path:
        """The file of the method's warm-up."""
        path, draft = start_path(self.family, method), self.drafts[method.draft]
        own = Path(draft).resolve() != (ASSETS / method.draft).resolve()
        other = own and method.drafter is not None and drafter_class(method.drafter).uses_draft
        if not self.family or other or not path.is_file():
            on = f"draft {_name(draft)}" if other else f"target {_name(self.target)}"
            raise ValueError(
                f"start={method.start!r}: no warm-up of {method.drafter!r} for the {on}; take a row that starts from "
                "scratch, such as frozen or ensemble, or an embedded pair"
            )
        return path

    def decoder(
        self, method: Method, serving: Serving, seed: int = 0, drafter: Drafter | None = None, **more: Any
    ) -> Decoder:
        """The method ready to serve, with this drafter if one is given; ``more``: rows and hooks of the decoder."""
        drafter = self.drafter(method, serving) if drafter is None else drafter
        return decoder_of(self.pair_of(method), method, drafter, serving, seed, **more)

    @property
    def names(self) -> dict[str, str]:
        """What the models are, without paths of this machine: folder or hub names, and that they are inflated."""
        drafts = {key: _name(path) for key, path in self.drafts.items()}
        loaded = {key: pair.draft.label for key, pair in self.pairs.items() if pair.draft is not None}
        target = _name(self.target) + self.pair.target.label
        return {"target": target, **{key: name + loaded.get(key, "") for key, name in drafts.items()}}


def target_path(target: str | Path, family: str) -> str:
    """The target's folder or hub name, the embedded one of ``family`` if none is given; ValueError without one."""
    if family not in FAMILIES:
        raise ValueError(f"family={family!r}: must be one of {', '.join(FAMILIES)}, or give a target of your own")
    return str(target or ASSETS / FAMILIES[family])


def check_prompts(
    prompts: Iterable[Prompt], target: str | Path = "", family: str = "qwen3", trust: Collection[str] = ()
) -> None:
    """Check prompts as a run does, against the target's tokenizer and context; its weights are not loaded.

    Raises:
        ValueError: for one that cannot be served, with its line and question_id, or a target that cannot be read.
    """
    path = target_path(target, family)
    reader: Any = Pair(None, None, load_tokenizer(path, "target", trust))  # pyright: ignore[reportArgumentType]
    encoded(reader, prompts, None if target else False, load_context(path, "target", trust))


def start_path(family: str, method: Method) -> Path:
    """Where the method's warm-up lies, if it is shipped; an adapter's belongs to its draft, whatever the target."""
    folder = next(iter(FAMILIES)) if method.drafter == "adapter" else family
    return ASSETS / "starts" / folder / f"{method.drafter}-{method.start}.safetensors"


def compile_for(
    models: Models,
    methods: Sequence[Method],
    stream: Stream,
    serving: Serving,
    tuned: bool = False,
    varied: bool = False,
) -> None:
    """Compile the models that the methods run, for the longest text of the stream.

    varied: many drafts are shorter than gamma, and worth compiling for: those of 1, 2, 4, 8, … tokens.
    """
    shorter = [2**k for k in range(serving.gamma) if varied and 2**k < serving.gamma]
    most = longest(models.pair, stream.prompts, models.chat, serving.max_new_tokens)
    kinds = [drafter_class(method.drafter) for method in methods if method.drafter]
    on_draft = any(kind.uses_draft for kind in kinds)
    models.compile((*shorter, serving.gamma), slots(most + serving.gamma + 1, models.pair.device), on_draft, tuned)


def drafter_of(pair: Pair, method: Method, serving: Serving) -> Drafter | None:
    """A fresh drafter for the method on ``pair``, on day 0; None for plain decoding."""
    if method.drafter is None:
        return None
    burn_in = {"burn_in": serving.burn_in_rounds * serving.nu} if drafter_class(method.drafter).whitens else {}
    return make_drafter(method.drafter, pair, **burn_in | dict(method.settings))


def decoder_of(
    pair: Pair, method: Method, drafter: Drafter | None, serving: Serving, seed: int = 0, **more: Any
) -> Decoder:
    """The method's decoder around a drafter."""
    learning = {"objective": Objective(method.loss, method.positions, method.anchor), "prompt_hint": method.prompt_hint}
    serving = replace(serving, nu=method.nu or serving.nu)
    learning |= {"learn_prompt": method.learn_prompt} | more
    return online_decoder(pair, drafter, method.learner, serving, seed, **learning)


def _name(path: str) -> str:
    return Path(path).name if Path(path).is_dir() else path
