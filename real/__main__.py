"""The commands of the decoder: ``python -m real --help``. One file a panel lies in ``real/cli``."""

from real.cli import build, learn, measure, serve, verify
from theory.runs.terminal import Commands

app = Commands(no_args_is_help=True, help="Drafts that learn inside a lossless decoder.")
for room in (serve, learn, measure, verify, build):
    app.add_typer(room.app)


if __name__ == "__main__":
    app()
