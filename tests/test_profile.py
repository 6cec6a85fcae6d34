# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Profiles: what is measured, what the speed law foretells from it, and draft lengths chosen by it while serving."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from test_real_cli import assets, quick, real, run, said  # noqa: E402, F401 (fixtures)

from real import profile as profiling  # noqa: E402
from real.floor import DRAFTERS, _rows  # noqa: E402
from real.ledger import Ledger  # noqa: E402
from real.loaded import decoder_of, drafter_of  # noqa: E402
from real.lossless import COSTS, random_pair, random_prompts, reference  # noqa: E402
from real.online import Serving  # noqa: E402
from real.profile import APART, Profile, Request, foretold, measure, profile  # noqa: E402
from real.run import compile_for  # noqa: E402
from real.sampling import Sampling  # noqa: E402
from real.systems import Method  # noqa: E402
from theory.learners.ogd import OGD  # noqa: E402

STEPS = (1.0, 1.25, 1.5)
"""Seconds of a step that drafts 0, 1, 2 tokens."""


def request(gamma: int, tokens: int, steps: int, seconds: float | None = None, slow: float = 1.0) -> Request:
    full = tuple((0.1 * gamma, STEPS[gamma] - 0.1 * gamma, slow * STEPS[gamma]) for _ in range(steps))
    return Request(tokens, steps, slow * steps * STEPS[gamma] if seconds is None else seconds, full)


def test_costs_are_medians_in_plain_steps_and_never_fall():
    runs = {gamma: [request(gamma, 9, 9), request(gamma, 3, 3, slow=7.0)] for gamma in range(3)}
    found = profile(runs)  # a slow request does not move the medians
    assert found.costs == pytest.approx(STEPS)
    assert found.cost_ratio == pytest.approx(0.1)
    assert found.verify_curve == pytest.approx((1.0, 1.15, 1.3))
    assert Profile(found.draft, found.verify, (1.0, 1.5, 1.2), found.limit).costs == (1.0, 1.5, 1.5)


def test_cautious_costs_are_upper_limits_over_requests():
    even = profile({gamma: [request(gamma, 9, 9) for _ in range(8)] for gamma in range(3)})
    assert even.cautious == pytest.approx(STEPS)
    uneven = {gamma: [request(gamma, 9, 9, slow=1 + 0.1 * gamma * (i % 2)) for i in range(8)] for gamma in range(3)}
    found = profile(uneven)
    assert found.cautious[0] == 1
    for gamma in (1, 2):  # of half the steps; a resample's median may be theirs
        assert found.costs[gamma] < found.cautious[gamma] == pytest.approx(STEPS[gamma] * (1 + 0.1 * gamma))
    few = profile({gamma: requests[:2] for gamma, requests in uneven.items()})
    assert few.cautious == pytest.approx(few.costs)  # two requests have no interval


@pytest.mark.parametrize(
    "lone, expected", [((1.5, 1.75), 0.25), ((1.25, 1.5), 0.0), ((1.75, 1.5), 0.25), ((1.0, 1.25), 0.0)]
)
def test_a_switch_is_what_a_lone_draft_costs_besides(lone, expected):
    """Groups of steps whose first drafts, beside groups of plain steps; on average over the lengths, never negative."""
    seconds = {0: (APART * STEPS[0],) * 3} | {
        gamma: (APART - 1 + cost,) * 3 for gamma, cost in enumerate(lone, start=1)
    }
    runs = {gamma: [replace(request(gamma, 9, 9), lone=seconds[gamma]) for _ in range(8)] for gamma in range(3)}
    assert profile(runs).switch == pytest.approx(expected)
    shortest = {gamma: [request(gamma, 9, 9) for _ in range(8)] for gamma in range(3)}
    assert profile(shortest).switch == 0  # no request was long enough


def test_a_length_that_was_never_drafted_is_said():
    with pytest.raises(ValueError, match="gamma=2: no step drafted so many tokens"):
        profile({0: [request(0, 4, 4)], 1: [request(1, 4, 4)], 2: [Request(4, 4, 1.0, ())]})


def test_the_speed_law_foretells_what_its_costs_say_and_no_other():
    """Requests whose steps cost exactly what was profiled are foretold exactly; others are not."""
    runs = {gamma: [request(gamma, 4 + i + gamma, 4 + i, slow=1 + 0.1 * i) for i in range(6)] for gamma in range(3)}
    found = profile(runs)
    for row in foretold(found, runs):
        pace = sum(r.tokens for r in runs[row["gamma"]]) / sum(r.steps for r in runs[row["gamma"]])
        assert row["tokens_per_step"] == pytest.approx(pace)
        assert row["predicted"] == pytest.approx(pace / STEPS[row["gamma"]])
        assert row["holds"]
    cheaper = Profile(found.draft, found.verify, (1.0, 1.0, 1.0), found.limit)
    assert [row["holds"] for row in foretold(cheaper, runs)] == [False, False]


def test_measuring_serves_every_prompt_at_every_length():
    pair = random_pair("llama", "float64")
    drafter = drafter_of(pair, Method("independent"), Serving())
    models = SimpleNamespace(pair_of=lambda method: pair, drafter=lambda method, serving: drafter)
    serving, prompts = Serving(2, sampling=Sampling(0.0), max_new_tokens=12), random_prompts(3, 512, 3)
    runs = measure(models, Method("independent"), serving, prompts)
    served = {gamma: [request.tokens for request in requests] for gamma, requests in runs.items()}
    assert served == dict.fromkeys(range(3), [12] * 3)
    assert all(r.steps == len(r.full) == 12 for r in runs[0])
    assert all(1 <= len(r.full) <= r.steps < 12 for r in runs[2])
    assert [len(r.lone) for r in runs[0]] == [12 // APART] * 3
    assert [sum(len(r.lone) for r in runs[gamma]) for gamma in (1, 2)] == [3, 3]
    for requests in runs.values():
        assert all(0 < sum(step[2] for step in r.full) <= r.seconds * (1 + 1e-9) for r in requests)
        assert all(draft + verify <= whole for r in requests for draft, verify, whole in r.full)


def decoder(pair, costs=COSTS, sampling=Sampling(0.0)):
    method, serving = Method("adapter", OGD(8.0)), Serving(4, 16, sampling, 40, burn_in=16, costs=costs)
    return decoder_of(pair, method, drafter_of(pair, method, serving), serving)


def test_lengths_by_cost_vary_and_the_text_stays_the_targets():
    """While learning; the account and the estimate are saved and taken up again."""
    pair, prompts = random_pair("llama", "float64"), random_prompts(4, 512, 3)
    one, lengths = decoder(pair), []
    one.watch = lambda step: lengths.append(step.drafted)
    texts = [one.serve(prompt, Ledger())[0] for prompt in prompts]
    assert texts == reference(pair, prompts, 40)
    assert len(set(lengths)) > 2

    first, second = decoder(pair), decoder(pair)
    for prompt in prompts[:2]:
        first.serve(prompt, Ledger())
    second.restore(first.state())
    assert second.length_state == pytest.approx(first.length_state)
    assert [second.serve(prompt, Ledger())[0] for prompt in prompts[2:]] == texts[2:]
    assert second.length_state == pytest.approx(one.length_state)


def test_where_drafting_is_dear_it_decodes_plainly_but_for_its_account():
    pair, steps = random_pair("llama", "float64"), []
    dear = decoder(pair, costs=(1.0, 3.0, 5.0, 7.0, 9.0))
    dear.watch = lambda step: steps.append(step.drafted)
    for prompt in random_prompts(4, 512, 3):
        dear.serve(prompt, Ledger())
    assert steps.count(0) > 0.9 * len(steps)


def test_costs_must_fit_gamma():
    with pytest.raises(ValueError, match=r"costs=\(1.0, 2.0\): needs one entry for each of 0 … gamma = 4"):
        Serving(4, costs=(1.0, 2.0))


def test_floor_rows_are_paired_by_request_and_domain():
    plain = [{"tokens": 10, "seconds_total": 1.0 + i, "steps": 10, "drafted": 0} for i in range(10)]
    faster = [2.0] * 5 + [0.8] * 5
    ours = [row | {"seconds_total": row["seconds_total"] / f} for row, f in zip(plain, faster, strict=True)]
    ours = [row | {"steps": 5, "drafted": 10} for row in ours]
    rows = {row["domain"]: row for row in _rows("sd", plain, ours, [0] * 5 + [1] * 5, ["a", "b"])}
    assert (rows["a"]["speedup"]["value"], rows["a"]["one_sided"]) == pytest.approx((2.0, 2.0))
    assert (rows["b"]["speedup"]["value"], rows["b"]["one_sided"]) == pytest.approx((0.8, 0.8))
    assert [row["holds"] for row in rows.values()] == [True, False, rows["all"]["one_sided"] >= 0.98]
    assert rows["all"]["tokens_per_step"] == rows["all"]["drafted_per_step"] == 2.0


def test_the_commands_measure_once_and_serve_by_cost(tmp_path, monkeypatch):
    result = real("profile", "frozen", "--prompts", "prose:6", "--gamma", 2, "--new", 12, "--out", "p.json")
    assert result.exit_code == 0, said(result)
    kept = json.loads((tmp_path / "p.json").read_text())
    assert len(kept["costs"]) == 3
    assert [row["gamma"] for row in kept["foretold"]] == [1, 2]
    assert "cost_ratio" in said(result)
    again = ("--prompts", "prose:3", "--by-cost", "--gamma")
    assert run(*again, 1).exit_code == 0
    monkeypatch.setattr(profiling, "measure", None)  # what was measured is taken from its file
    for gamma in (1, 2):  # by the run before, and by the profile
        result = run(*again, gamma)
        assert result.exit_code == 0, said(result)
        assert "cost 1.00, " in said(result)
    assert isinstance(run(*again, 3).exception, TypeError)  # another gamma would be measured


def test_the_floor_command_has_a_row_for_every_drafter_and_domain(tmp_path):
    chosen = ("--drafter", "uniform", "--drafter", "ngram", "--domain", "prose", "--domain", "c")
    result = real("floor", "--prompts", 1, "--new", 10, "--gamma", 2, *chosen, "--out", "f.json")
    assert result.exit_code == 0, said(result)
    rows = json.loads((tmp_path / "f.json").read_text())["rows"]
    assert {(row["drafter"], row["domain"]) for row in rows} == {
        (drafter, domain) for drafter in ("uniform", "ngram") for domain in ("prose", "c", "all")
    }
    assert "at least one of" in said(real("floor", "--drafter", "nothing"))
    assert set(DRAFTERS) == {"uniform", "sd", "ngram", "heads", "hydra", "eagle", "mixture"}


@pytest.mark.parametrize(
    "gamma, varied, lengths", [(4, False, (4,)), (1, True, (1,)), (4, True, (1, 2, 4)), (6, True, (1, 2, 4, 6))]
)
def test_shorter_drafts_are_compiled_for_where_lengths_vary(gamma, varied, lengths):
    asked = []
    pair = SimpleNamespace(device=torch.device("cpu"), encode=lambda turns, chat: [0] * len(turns[0]))
    models = SimpleNamespace(pair=pair, chat=False, compile=lambda *args: asked.append(args))
    stream = SimpleNamespace(prompts=[SimpleNamespace(turns=("a" * length,)) for length in (3, 7)])
    compile_for(models, Method("independent"), stream, Serving(gamma, max_new_tokens=10), varied=varied)
    assert asked == [(lengths, 7 + 10 + gamma + 1, True, False)]
