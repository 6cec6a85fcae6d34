"""Commands that build: the embedded models, inflated checkpoints, a learned draft for other engines."""

from pathlib import Path
from typing import Annotated

import typer

from real.cli.asked import PairOptions
from real.cli.fields import Without
from real.cli.options import Dtype, Room
from theory.runs.outputs import FOLDER
from theory.runs.table import console
from theory.runs.terminal import busy

app = Room(panel="Build")
NewFolder = Annotated[Path, typer.Option(help="Folder to write; it must not be there."), FOLDER]


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder for models, streams and saved states."), FOLDER],
    minutes: Annotated[float | None, typer.Option(help="End a target's training after this long at most.")] = None,
    only: Annotated[str | None, typer.Option(help="One part alone: tokenizer, a model's folder, streams, …")] = None,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
    compiled: Annotated[bool, typer.Option(help="torch.compile: 1.3 times as fast, needs a C++ compiler.")] = True,
    to_assets: Annotated[bool, typer.Option("--install", help="Copy the result over real/assets.")] = False,
) -> None:
    """Build tokenizer, target, drafts, streams and PROVENANCE.json from text found on this machine."""
    from real.build.train import train as build

    build(out, minutes, only, threads, compiled, to_assets)


@app.command()
def inflate(
    out: NewFolder,
    like: Annotated[
        str, typer.Option(help="A size of `python -m real list`, or a folder with a configuration.")
    ] = "qwen3-8b",
    model: Annotated[str, typer.Argument(help="Folder or hub name; the embedded target if left out.")] = "",
    dtype: Dtype = "bfloat16",
    device: Annotated[str, typer.Option(help="Where it is made: 8B parameters need 17 GB there.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Of the random parts.")] = 0,
) -> None:
    """Write a checkpoint with the model's law and the cost of a larger configuration."""
    from real.build.inflate import write
    from real.traffic.streams import ASSETS

    with busy("inflating"):
        count = write(model or str(ASSETS / "target"), like, out, seed, dtype, device)
    console.print(f"{out}: {count / 1e9:.3f} billion parameters, the law of {model or 'the embedded target'}")


@app.command()
def export(
    state: Annotated[Path, typer.Option(help="What `run --state` left, with the drafter adapter.")],
    out: NewFolder,
    pair: Annotated[PairOptions, Without("family", "dtype", "device", "compiled", "tune")] = PairOptions(),
) -> None:
    """Fold a learned adapter into the draft's head: a plain Hugging Face checkpoint."""
    from real.build.export import export as write
    from real.build.export import learned

    models = pair.load()
    write(learned(models, state), models.pair.tokenizer, out)
    console.print(f"{out}: a draft for any engine that takes a small model of the same tokenizer")
