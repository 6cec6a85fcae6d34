# pyright: reportAttributeAccessIssue=false, reportArgumentType=false
"""The systems' table and the claims about ensembles and hints: what stands beside what, and what the commands write."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.drafters.start import save_start  # noqa: E402
from real.models.load import load_pair  # noqa: E402
from real.serving.decoder import online_decoder  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.studies import claims  # noqa: E402
from real.studies import systems_table as table1  # noqa: E402
from real.systems.loaded import start_path  # noqa: E402
from real.systems.rows import CONTROLS, HINTS, SPECIALISTS, STEPS, SYSTEMS  # noqa: E402
from real.verify.lossless import random_pair, random_prompts  # noqa: E402
from tests.real.cli.test_real_cli import assets, quick, real, said  # noqa: E402, F401 (fixtures)
from theory.runs.trace import Trace  # noqa: E402


def test_every_learning_system_has_its_drafter_at_rest_beside_it():
    found = table1.still(SYSTEMS, SYSTEMS)
    assert {found[name] for name in ("osd", "osd-jsd", "adapter-ensemble", "mixture", "routing")} == {"sd"}
    assert {found[name] for name in ("heads-ogd", "heads-last-loss", "heads-optimistic-prompt")} == {"heads"}
    assert {found[name] for name in ("osd-hydra", "opt-hydra", "momentum-hydra")} == {"hydra"}
    assert {found[name] for name in ("osd-eagle", "ens-eagle", "last-loss-eagle")} == {"eagle"}
    assert set(SYSTEMS) - set(found) == {"plain", "day0-eagle"}
    found = table1.still(SPECIALISTS, {**SPECIALISTS, **SYSTEMS})
    assert found["specialist-osd-eagle"] == "specialist-eagle"
    assert table1.generalists(SPECIALISTS)["specialist-osd-eagle"] == "eagle"
    assert table1.generalists(SPECIALISTS)["specialist-osd"] == "sd"


def test_rows_that_descend_tv_are_held_against_the_same_by_kl(tmp_path):
    found = table1.by_kl({**SPECIALISTS, **SYSTEMS})
    assert found["tv-eagle"] == "osd-eagle"
    assert found["specialist-tv-anchored-eagle"] == found["specialist-tv-twice-eagle"] == "specialist-twice-eagle"
    for family, factor in (("qwen3", 2.0), ("llama", 1.0)):
        for domain, seconds in (("c", 1.0), ("sql", 3.0), (table1.TUNED, 100.0)):
            for system, slower in (("tv-eagle", 1.0), ("osd-eagle", factor)):
                columns = {"tokens": np.full(12, 100), "seconds_total": np.full(12, seconds * slower)}
                header = {"settings": {"schedule": "c:12", "seed": 0}}
                Trace(header, columns).save(tmp_path / f"generalist/{family}/{domain}/0/{system}")
    names = [f"generalist/{family}/{domain}" for family in ("qwen3", "llama") for domain in ("c", "sql", table1.TUNED)]
    first, second = table1.against_kl(tmp_path, names)
    assert (first["system"], first["against"], first["cells"]) == ("tv-eagle", "osd-eagle", 2)
    assert first["net"]["value"] == pytest.approx(2.0)
    assert (second["family"], second["net"]["value"]) == ("llama", pytest.approx(1.0))


def test_ens_eagle_weighs_bases_on_their_own_trajectories_by_their_own_losses_so_far():
    pair = random_pair("llama", "float32")
    learner, seen = SYSTEMS["ens-eagle"].learner, []
    made = online_decoder(
        pair, make_drafter("eagle", pair), replace(learner, base=replace(learner.base, step_size=(1e-3, 4e-3, 1.6e-2))),
        Serving(3, 16, max_new_tokens=60), on_round=lambda updates: seen.extend(updates),
    )  # fmt: skip
    x_1 = made.drafter.x
    for prompt in random_prompts(4, 256, 3):
        made.serve(prompt, Ledger())
    assert len(seen) >= 10
    own = torch.stack(
        [loss_t.loss.value(made.learning.learner.base.predict(before.base)) for before, loss_t, _, _ in seen]
    )
    weights = made.learning.learner.meta.predict(made.learning.learner_state.meta)
    torch.testing.assert_close(weights, (-10 * own.sum(0)).softmax(-1), rtol=1e-3, atol=1e-4)
    moved = made.learning.learner.base.predict(made.learning.learner_state.base) - x_1
    cosines = torch.nn.functional.cosine_similarity(moved[:-1], moved[1:], dim=-1)
    assert float(cosines.max()) < 0.999  # one gradient for all would move them along one line


@pytest.fixture
def warmed(assets):  # noqa: F811
    """The warm-ups of the drafters at rest that the tests' systems stand beside."""
    for row in (SYSTEMS["sd"], SPECIALISTS["specialist-sd"]):
        pair = load_pair(assets / "target", assets / row.draft)
        drafter = make_drafter("adapter", pair, burn_in=4)
        drafter.whitener.absorb(torch.randn(4, drafter.width, generator=torch.Generator().manual_seed(0)))
        path = start_path("qwen3", row)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_start(path, drafter, {})


def test_the_table_is_written_whole_and_resumed(tmp_path, warmed):
    cell = ("table1", "--prompts", 4, "--family", "qwen3", "--domain", "c", "--out", "o")
    arguments = (*cell, "--system", "osd", "--system", "mixture")
    assert real(*arguments).exit_code == 0
    with (tmp_path / "o/generalist.csv").open(newline="") as file:
        rows = {row["system"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"plain", "sd", "osd", "mixture"}
    assert float(rows["plain"]["speedup"]) == float(rows["sd"]["relative_speedup"]) == 1
    assert float(rows["osd"]["learn_share"]) > 0
    assert float(rows["osd"]["generation_speedup"]) > float(rows["osd"]["speedup"])
    assert rows["sd"]["break_even_tokens"] == rows["sd"]["hint_gain"] == ""
    headline = json.loads((tmp_path / "o/generalist.json").read_text())["headline"]["generalist"]
    assert set(headline) == {"osd", "mixture"}
    assert (rows["mixture"]["certified_seeds"], rows["osd"]["certified_seeds"]) == ("1", "0")
    assert float(rows["mixture"]["slack"]) >= 0
    assert "1 certificates, least slack" in said(real(*arguments))
    assert "done before, skipped" in said(real(*arguments))


def synthetic(root, stream: str, pace: dict[str, float]) -> None:
    """Eight prompts of 10 tokens a method, ``pace`` tokens a second; hints half as wrong as none."""
    for method in ("plain", claims.AT_REST, claims.ENSEMBLE, *STEPS, *CONTROLS, *HINTS):
        seconds = np.full(8, 10 / pace.get(method, 1.0))
        columns = {"tokens": np.full(8, 10), "steps": np.full(8, 5), "seconds_total": seconds}
        columns |= {"alpha_sum": np.full(8, 3.0 + 0.1 * (method == "hint-last")), "verified": np.full(8, 5)}
        rounds = {"gradient": [1.0] * 8, "hint_error": [0.5] * 8} if method in HINTS else {}
        made = {"commit": "0", "dirty": False, "command": "", "versions": {}, "device": "cpu"}
        header = {"settings": {"schedule": "prose:8", "seed": 1}, "rounds": rounds, "provenance": made}
        Trace(header, columns).save(root / f"{stream}/{claims.MIDDLE}" / "1" / method)


def test_ensembles_are_held_against_the_best_step_in_hindsight_and_hints_against_descent(tmp_path):
    synthetic(tmp_path, "home", {"ogd-16": 2.0, "ogd-64": 1.5, claims.ENSEMBLE: 1.9})
    synthetic(tmp_path, "sql", {"ogd-16": 1.8, "ogd-64": 2.0, claims.ENSEMBLE: 2.1, "last-loss": 1.0})
    found = claims.report(tmp_path)
    home, sql = found["ensembles"]
    assert (home["best"], sql["best"]) == ("ogd-16", "ogd-64")
    assert home["ensemble"]["value"] == pytest.approx(0.95)
    assert sql["ensemble"]["value"] == pytest.approx(1.05)
    assert sql["tuned"]["value"] == pytest.approx(0.9)
    assert sql["last_loss"]["value"] == pytest.approx(0.5)
    assert len(found["runs"]) == 1
    verdict = found["verdict"]
    assert verdict["ensemble_at_least_0.98_everywhere"] is False
    assert verdict["tuned_loses_5_percent_on"] == verdict["tuned_surely_loses_on"] == ["sql"]
    assert (verdict["hints_in_all"], verdict["decided"], verdict["agreeing"]) == (10, 2, 2)
    points = {(point["stream"], point["hint"]): point for point in found["hints"]}
    assert points["home", "hint-last"]["hint_gain"]["value"] == 0.5
    assert points["home", "hint-last"]["alpha"]["value"] == pytest.approx(3.1 / 3.0)
    assert points["home", "hint-last"]["agrees"] is True
    assert points["home", "hint-average"]["agrees"] is None
    for without in ("momentum-matched", "ogd-prompt"):
        assert points["home", without]["hint_gain"]["value"] is None
    assert claims.report(tmp_path / "nothing")["verdict"]["ensemble_at_least_0.98_everywhere"] is None


@pytest.mark.slow
def test_claims_are_run_and_written(tmp_path, warmed):
    result = real("claims", "--prompts", 2, "--seeds", 1, "--stream", "home", "--family", "qwen3", "--out", "o")
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "o/claims.json").read_text())
    assert content["ensembles"][0]["best"] in STEPS
    assert {point["nu"] for point in content["hints"]} == {8, 16, 32}
    gains = {point["hint"]: point["hint_gain"]["value"] for point in content["hints"]}
    assert gains.pop("momentum-matched") is gains.pop("ogd-prompt") is None
    assert all(gain > 0 for gain in gains.values())
    assert all(point["agrees"] is None for point in content["hints"])  # two prompts have no interval
