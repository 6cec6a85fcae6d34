# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""Profiles: what is measured, what the speed law foretells from it, and draft lengths chosen by it while serving."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters.base import COPIES, MODEL  # noqa: E402
from real.measure import profile as profiling  # noqa: E402
from real.measure.floor import AT_REST, rows_of  # noqa: E402
from real.measure.profile import SEEN, AtLevel, ByWay, Profile, Timing, cached, foretold, measure, place, profile  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.systems.loaded import compile_for, decoder_of, drafter_of  # noqa: E402
from real.systems.rows import Method  # noqa: E402
from real.traffic.prompts import Prompt  # noqa: E402
from real.verify.lossless import COSTS, random_pair, random_prompts, reference  # noqa: E402
from tests.real.cli.test_real_cli import assets, quick, real, run, said  # noqa: E402, F401 (fixtures)
from theory.learners.ogd import OGD  # noqa: E402

STEPS = (1.0, 1.25, 1.5)
"""Seconds of a step that drafts 0, 1, 2 tokens."""


def request(gamma: int, tokens: int, steps: int, seconds: float | None = None, slow: float = 1.0) -> Timing:
    full = tuple((0.1 * gamma, STEPS[gamma] - 0.1 * gamma, slow * STEPS[gamma]) for _ in range(steps))
    lone = (slow * (SEEN - 1 + STEPS[gamma]),)
    return Timing(tokens, (gamma,) * steps, slow * steps * STEPS[gamma] if seconds is None else seconds, full, lone)


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


def test_what_a_level_adds_is_charged_at_its_own_limit():
    """In every other request the higher level is much dearer and the lower one as much cheaper, so their difference has
    a wider limit than either: the costs that are applied lie as far apart."""
    runs = {gamma: [request(gamma, 9, 9) for _ in range(8)] for gamma in range(3)}
    for gamma in (1, 2):
        dear = [request(gamma, 9, 9, slow=1.2 + 0.1 * (i % 2)) for i in range(8)]
        runs[AtLevel(0, gamma)] = [request(gamma, 9, 9, slow=1.1 - 0.1 * (i % 2)) for i in range(8)]
        runs[gamma] = dear
    found = profile(runs)
    served = found.applied(Serving(2))
    (lower,) = served.lower_costs
    assert lower == pytest.approx([1.0, *(1.1 * STEPS[gamma] for gamma in (1, 2))])
    for gamma in (1, 2):
        assert found.limit[gamma] - lower[gamma] == pytest.approx(0.2 * STEPS[gamma])
        assert served.costs[gamma] - lower[gamma] == pytest.approx(0.3 * STEPS[gamma])


def test_ways_have_limits_of_their_own_and_the_usual_ones_where_they_were_seldom_taken():
    runs = {gamma: [request(gamma, 9, 9) for _ in range(8)] for gamma in range(3)}
    nothing = Timing(0, (), 0.0, ())
    for gamma in (1, 2):
        runs[ByWay(MODEL, gamma)] = [request(gamma, 9, 9, slow=1.1) for _ in range(8)]
        runs[ByWay(COPIES, gamma)] = [request(gamma, 9, 9, slow=0.9) if gamma == 1 else nothing for _ in range(8)]
    model, copies = profile(runs).applied(Serving(2)).way_costs
    assert model == pytest.approx([1.0, 1.1 * STEPS[1], 1.1 * STEPS[2]])
    assert copies == pytest.approx([1.0, 0.9 * STEPS[1], STEPS[2]])
    runs[ByWay(COPIES, 1)] = [request(1, 9, 9, slow=0.9), *[nothing] * 7]
    assert profile(runs).ways[1] == pytest.approx(STEPS)  # one request alone has no interval
    assert [row["gamma"] for row in foretold(profile(runs), runs)] == [1, 2]


def alone(cost: float, requests: int = 8, unlike: float = 0.0) -> dict[int, list[Timing]]:
    """Runs whose lone drafts cost ``cost`` plain steps, ``unlike`` more in every other request, and half have none."""
    runs = {gamma: [request(gamma, 9, 9) for _ in range(requests)] for gamma in range(3)}
    runs = {gamma: [replace(of, lone=()) for of in requests] for gamma, requests in runs.items()}
    for i in range(0, requests, 2):
        seconds = {0: (SEEN * STEPS[0],) * 2, 1: (SEEN - 1 + cost + unlike * (i % 4 == 0),) * 2}
        for gamma in seconds:
            runs[gamma][i] = replace(runs[gamma][i], lone=seconds[gamma])
    return runs


@pytest.mark.parametrize("requests", [2, 8])
@pytest.mark.parametrize("cost, switch_cost", [(1.75, 0.5), (1.5, 0.25), (1.25, 0.0), (1.0, 0.0)])
def test_a_switch_is_what_a_lone_draft_costs_besides(cost, switch_cost, requests):
    """Beside as many plain steps in the same places; never negative, and with few requests as it was measured."""
    assert profile(alone(cost, requests)).switch_cost == pytest.approx(switch_cost)


def test_a_switch_is_charged_at_its_upper_limit():
    assert profile(alone(1.5, 24)).switch_cost == pytest.approx(0.25)
    assert profile(alone(1.5, 24, unlike=0.1)).switch_cost == pytest.approx(0.35)  # as in half of the requests


def test_without_a_lone_draft_there_is_no_profile():
    runs = {gamma: [replace(request(gamma, 9, 9), lone=()) for _ in range(8)] for gamma in range(3)}
    with pytest.raises(
        ValueError,
        match=r"requests of 9 tokens at most are too short .*; let them have 8 new tokens or more",
    ):
        profile(runs)


def test_a_length_that_was_never_drafted_is_said():
    with pytest.raises(ValueError, match="gamma=2: no step drafted so many tokens"):
        profile({0: [request(0, 4, 4)], 1: [request(1, 4, 4)], 2: [Timing(4, (1,) * 4, 1.0, ())]})


def test_the_speed_law_foretells_what_its_costs_say_and_no_other():
    """Requests whose steps cost exactly what was profiled are foretold exactly; others are not."""
    runs = {gamma: [request(gamma, 4 + i + gamma, 4 + i, slow=1 + 0.1 * i) for i in range(6)] for gamma in range(3)}
    found = profile(runs)
    for row in foretold(found, runs):
        pace = sum(r.tokens for r in runs[row["gamma"]]) / sum(len(r.drafted) for r in runs[row["gamma"]])
        assert row["tokens_per_step"] == pytest.approx(pace)
        assert row["predicted"] == pytest.approx(pace / STEPS[row["gamma"]])
        assert row["holds"]
    last = [replace(of, drafted=(*of.drafted[1:], 1)) for of in runs[2]]
    whole = {gamma: [replace(of, seconds=len(of.drafted) * STEPS[gamma]) for of in runs[gamma]] for gamma in (0, 1)}
    last = [replace(of, seconds=(len(of.drafted) - 1) * STEPS[2] + STEPS[1]) for of in last]
    assert foretold(found, whole | {2: last})[1]["error"] == pytest.approx(0)  # last steps that draft less cost less
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
    assert all(r.drafted == (0,) * 12 and len(r.full) == 12 for r in runs[0])
    assert all(1 <= r.drafted.count(2) == len(r.full) <= len(r.drafted) < 12 for r in runs[2])
    assert [len(r.lone) for r in (*runs[0], *runs[2])] == [2] * 3 + [0] * 3  # of steps 4 … 7 and 8 … 11
    assert all(1 <= len(r.lone) <= 2 for r in runs[1])  # an accepted draft leaves a step less
    for requests in runs.values():
        assert all(0 < sum(step[2] for step in r.full) <= r.seconds * (1 + 1e-9) for r in requests)
        assert all(draft + verify <= whole for r in requests for draft, verify, whole in r.full)


def decoder(pair, costs=COSTS, switch_cost=0.0):
    method = Method("adapter", OGD(8.0))
    serving = Serving(4, 16, Sampling(0.0), 40, burn_in=16, costs=costs, switch_cost=switch_cost)
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
    assert second.own.known.lengths == pytest.approx(first.own.known.lengths)
    assert [second.serve(prompt, Ledger())[0] for prompt in prompts[2:]] == texts[2:]
    assert second.own.known.lengths == pytest.approx(one.own.known.lengths)


def test_where_drafting_is_dear_it_decodes_plainly_but_for_its_account():
    pair, steps = random_pair("llama", "float64"), []
    dear = decoder(pair, costs=(1.0, 3.0, 5.0, 7.0, 9.0))
    dear.watch = lambda step: steps.append(step.drafted)
    for prompt in random_prompts(4, 512, 3):
        dear.serve(prompt, Ledger())
    assert steps.count(0) > 0.9 * len(steps)


def test_the_decoder_looks_less_often_where_a_switch_is_dear():
    pair, looks = random_pair("llama", "float64"), {}
    for switch_cost in (0.0, 2.0):
        one, steps = decoder(pair, costs=(1.0, 3.0, 5.0, 7.0, 9.0), switch_cost=switch_cost), []
        one.watch = lambda step, steps=steps: steps.append(step.drafted)
        for prompt in random_prompts(4, 512, 3):
            one.serve(prompt, Ledger())
        looks[switch_cost] = sum(drafted > 0 for drafted in steps)
    assert 0 < looks[2.0] < looks[0.0]


def test_a_profile_of_old_and_what_is_none_are_measured_again(tmp_path):
    """Old ones knew nothing of switches."""
    pair = random_pair("llama", "float64")
    drafter = drafter_of(pair, Method("independent"), Serving())
    models = SimpleNamespace(pair_of=lambda method: pair, drafter=lambda method, serving: drafter, pair=pair, names={})
    models.device, models.dtype, models.target, models.drafts = "cpu", "float64", "t", {"specialist": "d"}
    method, serving = Method("independent"), Serving(2, sampling=Sampling(0.0), max_new_tokens=12)
    prompts = random_prompts(3, 512, 3)
    path = place(models, method, serving, tmp_path)
    fields = {name: [1, 2, 3] for name in ("draft", "verify", "step", "limit")}
    contents = ("", "[]", '{"measured": ', json.dumps({"seconds": fields}), json.dumps({"measured": fields}))
    for content in contents:
        path.write_text(content)
        found = cached(models, method, serving, prompts, tmp_path)
        assert found.step != (1, 2, 3)
        assert cached(models, method, serving, [], tmp_path) == found  # from its file
    cut = replace(serving, sampling=Sampling(0.0, top_k=3))
    assert place(models, method, cut, tmp_path) != path


def test_costs_must_fit_gamma():
    with pytest.raises(ValueError, match=r"costs=\(1.0, 2.0\): needs one entry for each of 0 … gamma = 4"):
        Serving(4, costs=(1.0, 2.0))
    with pytest.raises(ValueError, match=r"switch_cost=-1: must be at least 0"):
        Serving(switch_cost=-1)


def test_floor_rows_are_paired_by_request_and_domain():
    plain = [{"tokens": 10, "seconds_total": 1.0 + i, "steps": 10, "drafted": 0, "segment": i // 5} for i in range(10)]
    faster = [2.0] * 5 + [0.8] * 5
    ours = [row | {"seconds_total": row["seconds_total"] / f} for row, f in zip(plain, faster, strict=True)]
    ours = [row | {"steps": 5, "drafted": 10} for row in ours]
    rows = {row["domain"]: row for row in rows_of("sd", {"plain": plain, "sd": ours}, ["a", "b"])}
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
        assert "the first after a plain one" in said(result)
    assert isinstance(run(*again, 3).exception, TypeError)  # another gamma would be measured
    assert "take two or more" in said(real("profile", "--prompts", "prose:1"))
    assert "the target alone drafts nothing" in said(real("run", "plain", "--prompts", "prose:1", "--by-cost"))


def test_the_floor_command_has_a_row_for_every_drafter_and_domain(tmp_path):
    chosen = ("--drafter", "uniform", "--drafter", "ngram", "--domain", "prose", "--domain", "c")
    result = real("floor", "--prompts", 1, "--new", 10, "--gamma", 2, *chosen, "--out", "f.json")
    assert result.exit_code == 0, said(result)
    kept = json.loads((tmp_path / "f.json").read_text())
    assert (kept["gamma"], kept["new"], kept["prompts"]) == (2, 10, 1)
    rows = kept["rows"]
    assert all(len(row["costs"]) == 3 and row["switch_cost"] >= 0 for row in rows)
    assert {(row["drafter"], row["domain"]) for row in rows} == {
        (drafter, domain) for drafter in ("uniform", "ngram") for domain in ("prose", "c", "all")
    }
    assert "each one of uniform, sd" in said(real("floor", "--drafter", "nothing"))
    assert "at least one request of every domain" in said(real("floor", "--prompts", 0))
    assert set(AT_REST) == {"uniform", "sd", "ngram", "heads", "hydra", "eagle", "mixture"}


@pytest.mark.parametrize(
    "gamma, varied, lengths", [(4, False, (4,)), (1, True, (1,)), (4, True, (1, 2, 4)), (6, True, (1, 2, 4, 6))]
)
def test_shorter_drafts_are_compiled_for_where_lengths_vary(gamma, varied, lengths):
    asked = []
    pair = SimpleNamespace(device=torch.device("cpu"), encode=lambda turns, chat: [0] * len(turns[0]))
    models = SimpleNamespace(pair=pair, chat=False, compile=lambda *args: asked.append(args))
    stream = SimpleNamespace(prompts=[Prompt(0, "a", ("a" * length,)) for length in (3, 7)])
    compile_for(models, [Method("independent")], stream, Serving(gamma, max_new_tokens=10), varied=varied)
    assert asked == [(lengths, 7 + 10 + gamma + 1, True, False)]
