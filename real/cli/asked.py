"""What a command line asks for besides ``Serving``, as frozen rows whose fields are options: the models, who learns."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from theory.divergence import DIVERGENCES
from theory.runs.choose import parse_settings
from theory.runs.terminal import busy

if TYPE_CHECKING:
    from real.serving.settings import Serving
    from real.systems.loaded import Models
    from real.systems.rows import Method
    from real.traffic.streams import Stream


@dataclass(frozen=True)
class PairOptions:
    """Target and draft, embedded or the user's own, and how they are run."""

    target: str = field(default="", metadata={"help": "Folder or hub name; the embedded target if left out."})
    draft: str = field(default="", metadata={"help": "Folder or hub name; the embedded specialist if left out."})
    family: str = field(default="qwen3", metadata={"help": "Embedded target: qwen3, llama or gpt_neox."})
    dtype: str = field(
        default="float32",
        metadata={"help": "float32, bfloat16, float16 or float64 for the models; learners are float32."},
    )
    device: str = field(default="cpu", metadata={"help": "cpu or cuda."})
    compiled: bool | None = field(
        default=False, metadata={"help": "torch.compile the models first.", "name": "--compile/--eager"}
    )
    tune: bool = field(
        default=False,
        metadata={"help": "With --compile on a CPU: search for the fastest matrix kernels; minutes more."},
    )
    trust: list[str] | None = field(
        default=None,
        metadata={
            "help": "Folder or hub name of a model whose own code may run, repeatable; else none does.",
            "name": "--trust-remote-code",
        },
    )

    @property
    def own(self) -> bool:
        """Whether one of the models is the user's."""
        return bool(self.target or self.draft)

    def load(self) -> "Models":
        """The models, not yet compiled.

        Raises:
            ValueError: where tuning is asked for and there is nothing to tune, or for models that do not fit.
        """
        from real.systems.loaded import Models

        if self.tune and not self.compiled:
            raise ValueError("--tune: tunes what is compiled; add --compile")
        if self.tune and not self.device.startswith("cpu"):
            raise ValueError(
                f"--tune with --device {self.device}: matrix kernels are searched for on a CPU alone; leave it out"
            )
        return Models(self.target, self.draft, self.dtype, self.device, self.family, self.trust or ())

    def compile(
        self, models: "Models", methods: "Sequence[Method]", stream: "Stream", serving: "Serving", varied: bool = False
    ) -> None:
        """Compile the models for what the methods run on the stream, if that is asked for (``loaded.compile_for``)."""
        from real.systems.loaded import compile_for

        if self.compiled:
            with busy("compiling"):
                compile_for(models, methods, stream, serving, self.tune, varied)


@dataclass(frozen=True)
class LearningOptions:
    """Who learns, on which drafter, by which loss, from what."""

    learner: list[str] | None = field(
        default=None,
        metadata={
            "help": "NAME or file.py:Class, repeatable: all are compared. If left out, ensemble on a convex drafter, "
            "adam on a deep one."
        },
    )
    settings: list[str] | None = field(
        default=None, metadata={"help": "Setting of every learner, key=value; repeatable.", "name": "--set"}
    )
    drafter: str = field(
        default="", metadata={"help": "NAME (python -m real list) or file.py:Class; adapter if left out."}
    )
    drafter_set: list[str] | None = field(
        default=None, metadata={"help": "Setting of the drafter, key=value: part=bias, lora=8; repeatable."}
    )
    loss: str = field(
        default="", metadata={"help": f"{', '.join(DIVERGENCES)} or file.py:function; the row's own if left out."}
    )
    anchor: float | None = field(
        default=None, metadata={"help": "So many times KL from the draft served is added to a deep drafter's loss."}
    )
    learn_prompt: bool = field(default=False, metadata={"help": "The prompt is feedback too."})
    prompt_hint: float | None = field(
        default=None, metadata={"help": "So many times the gradient on the prompt is a request's hint."}
    )

    def methods(self, row: str, temperature: float, own_nu: bool) -> "dict[str, Method]":
        """The methods asked for, by name: the named system, or every learner on the drafter.

        own_nu: a system keeps the length of its rounds.

        Raises:
            ValueError: for what is unknown, does not fit together, or is asked for twice.
        """
        from real.cli.options import drafter_settings
        from real.systems.choose import changed, methods_of, row_of

        if row and (self.learner or self.drafter):
            raise ValueError(
                f"{row} with --learner {' '.join(self.learner or [])!r} --drafter {self.drafter!r}: a row has its own; "
                "give neither"
            )
        settings, of_drafter = parse_settings(self.settings or []), drafter_settings(self.drafter_set or [])
        if row:
            found = {row: row_of(row, settings)}
        else:
            found = methods_of(self.learner or [], settings, self.drafter or "adapter", temperature)
        found = {
            name: changed(method, self.loss, self.learn_prompt, self.prompt_hint, of_drafter, self.anchor)
            for name, method in found.items()
        }
        return found if own_nu else {name: replace(method, nu=0) for name, method in found.items()}
