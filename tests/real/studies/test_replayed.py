# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""One text for all systems, rates along it, a mixture's parts and hindsight; made once, gone on with, never mixed."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import make_drafter  # noqa: E402
from real.drafters.piece import Piece  # noqa: E402
from real.drafters.start import save_start  # noqa: E402
from real.models.load import load_pair  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving.decoder import online_decoder  # noqa: E402
from real.serving.follow import follow  # noqa: E402
from real.serving.ledger import Ledger  # noqa: E402
from real.serving.settings import Serving  # noqa: E402
from real.studies import replayed  # noqa: E402
from real.studies.hindsight import Laws  # noqa: E402
from real.studies.replayed import Cell, cells, load_recording, place, record, rows_of  # noqa: E402
from real.systems.loaded import Models, start_path  # noqa: E402
from real.systems.rows import SPECIALISTS, SYSTEMS  # noqa: E402
from real.traffic.streams import scheduled  # noqa: E402
from tests.real.cli.test_real_cli import assets, quick  # noqa: E402, F401 (fixtures)
from theory.learners.frozen import Frozen  # noqa: E402
from theory.runs.trace import SettingsDiffer  # noqa: E402

SERVING = Serving(gamma=3, nu=8, max_new_tokens=24)
CELL = Cell("qwen3", "specialist", "prose:3,c:2", ("sd", "memory", "tv-mixture", "tv-mixture-shared"), SERVING)


@pytest.fixture(autouse=True)
def warmed(assets):  # noqa: F811
    """The warm-ups of the drafts at rest."""
    for row in (SYSTEMS["sd"], SPECIALISTS["specialist-sd"]):
        drafter = make_drafter("adapter", load_pair(assets / "target", assets / row.draft), burn_in=4)
        drafter.whitener.absorb(torch.randn(4, drafter.width, generator=torch.Generator().manual_seed(0)))
        path = start_path("qwen3", row)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_start(path, drafter, {})


def made(cell, out, told=None):
    ((_, ran),) = record([cell], out, 1, lambda *far: None if told is None else told.append(far[1:]))
    return load_recording(place(cell, out)), ran


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return tmp_path_factory.mktemp("once")


@pytest.fixture
def whole(once, warmed):
    return made(CELL, once)[0]


def test_every_position_of_every_request_has_a_rate(whole):
    assert whole.lengths.tolist() == [24] * 5
    assert whole.segment.tolist() == [0, 0, 0, 1, 1]
    assert whole.header["segments"] == ["prose", "c"]
    assert set(whole.rates) == set(CELL.systems)
    for rates in whole.rates.values():
        assert rates.dtype == np.float32
        assert rates.shape == (120,)
        assert 0.3 < rates.mean() < 1
        assert 0 <= rates.min() <= rates.max() <= 1


def test_a_part_of_a_mixture_is_what_it_is_as_a_drafter_of_its_own(whole, once):
    """The draft and the memory have rows; the copies on the memory are made here."""
    assert whole.header["mixtures"]["tv-mixture"]["parts"] == [
        "independent", "residualmemory on independent", "backoff on residualmemory", "backoff on backoff"
    ]  # fmt: skip
    parts = whole.parts["tv-mixture"].T
    np.testing.assert_allclose(parts[0], whole.rates["sd"], atol=1e-5)
    np.testing.assert_allclose(parts[1], whole.rates["memory"], atol=1e-5)
    models = Models()
    decoder = online_decoder(models.pair, make_drafter("backoff", models.pair, base="memory"), Frozen(), SERVING, 1)
    with np.load(once / "qwen3/prose-3-c-2/text.npz", allow_pickle=False) as file:
        texts = np.split(file["tokens"], 5)
    alone = []
    for prompt, text in zip(models.encoded(scheduled(CELL.schedule, 1).prompts), texts, strict=True):
        alone += follow(decoder, prompt, text.tolist(), Ledger())
    np.testing.assert_allclose(parts[2], alone, atol=1e-5)
    assert np.abs(parts[2] - parts[1]).max() > 0.01


def test_the_best_fixed_mixture_in_hindsight_is_no_worse_than_a_part_or_what_was_played(whole):
    for name in ("tv-mixture", "tv-mixture-shared"):
        told, best = whole.header["mixtures"][name], whole.hindsight[name].mean()
        assert sum(told["weights"]) == pytest.approx(1)
        assert whole.parts[name].mean(0).max() <= best + told["gap"] + 1e-6
        assert 0 <= told["gap"] <= 1e-5
    np.testing.assert_array_equal(whole.hindsight["tv-mixture"], whole.hindsight["tv-mixture-shared"])


class Waiting:
    """A learner's account of a round that is not complete."""

    def __init__(self, pieces):
        self.rounds = type("Rounds", (), {"pieces": pieces})()


def test_hindsight_has_the_weights_of_least_total_variation_over_all_rounds():
    """The target is one third the first part and two thirds the second, at every position."""
    laws = torch.rand((40, 3, 6), generator=torch.Generator().manual_seed(1)).softmax(-1)
    target = laws[:, 0] / 3 + 2 * laws[:, 1] / 3
    pieces = [Piece([0] * 50, i + 1, i + 9, target[i : i + 8], laws[i : i + 8]) for i in range(0, 40, 8)]
    seen = Laws()
    for piece in pieces[:-1]:
        seen.see([piece])
    parts = [make_drafter("uniform", Models().pair) for _ in range(3)]
    drafter = type("Drafter", (), {"parts": parts, "bases": [None, 0, 1]})()
    told, of_parts, best = seen.judged(Waiting(pieces[-1:]), drafter, 40)
    assert told["weights"] == pytest.approx([1 / 3, 2 / 3, 0], abs=1e-3)
    assert told["parts"] == ["uniform", "uniform on uniform", "uniform on uniform"]
    torch.testing.assert_close(best, torch.ones(40), atol=1e-3, rtol=0)
    torch.testing.assert_close(of_parts, torch.minimum(laws, target[:, None]).sum(-1))


def test_all_starts_read_one_text_and_what_is_there_is_not_read_again(tmp_path):
    told = []
    first = replace(CELL, systems=("sd",))
    _, ran = made(first, tmp_path, told)
    assert ran
    assert told[-1] == (5, 5)
    text = (tmp_path / "qwen3/prose-3-c-2/text.npz").read_bytes()
    other, ran = made(replace(CELL, start="generalist", systems=("sd", "memory")), tmp_path)
    assert ran
    assert (tmp_path / "qwen3/prose-3-c-2/text.npz").read_bytes() == text
    assert set(other.rates) == {"sd", "memory"}
    before = made(first, tmp_path)[0].rates["sd"]
    more, ran = made(replace(CELL, systems=("sd", "memory")), tmp_path)
    assert ran
    np.testing.assert_array_equal(more.rates["sd"], before)
    assert not made(first, tmp_path)[1]
    assert np.abs(other.rates["sd"] - before).max() > 1e-3


def test_an_interruption_loses_only_the_system_that_was_reading(tmp_path, monkeypatch, whole):
    right, read = replayed.replayed, []

    def failing(models, name, *rest):
        read.append(name)
        if len(read) == 3:
            raise KeyboardInterrupt
        return right(models, name, *rest)

    monkeypatch.setattr(replayed, "replayed", failing)
    with pytest.raises(KeyboardInterrupt):
        made(CELL, tmp_path)
    again, _ = made(CELL, tmp_path)
    assert read == ["sd", "memory", "tv-mixture", "tv-mixture", "tv-mixture-shared"]
    for name, rates in whole.rates.items():
        np.testing.assert_array_equal(again.rates[name], rates)


@pytest.mark.parametrize("change", [{"serving": replace(SERVING, gamma=2)}, {"seed": 2}])
def test_a_recording_made_otherwise_is_in_the_way(change, tmp_path):
    small = replace(CELL, systems=("sd",))
    made(small, tmp_path)
    with pytest.raises(SettingsDiffer, match="was recorded with other settings"):
        made(replace(small, **change), tmp_path)


def test_a_row_that_has_changed_meanwhile_is_no_system_to_go_on_with(tmp_path, monkeypatch):
    small = replace(CELL, systems=("memory",))
    made(small, tmp_path)
    changed = {**rows_of("specialist"), "memory": replace(SPECIALISTS["specialist-memory"], nu=16)}
    monkeypatch.setattr(replayed, "rows_of", lambda start: changed)
    with pytest.raises(SettingsDiffer, match="other settings: memory"):
        made(small, tmp_path)


def test_streams_that_shift_have_the_sharing_mixture_beside_the_static_one():
    one, other = cells(["qwen3"], ["generalist"], ["prose:3", "return(prose,c;2):6"])
    assert one.systems == ("sd", "adapter-ensemble", "memory", "copies-mixture", "tv-mixture")
    assert other.systems == (*one.systems, "tv-mixture-shared")
    assert other.name == "qwen3/return-prose-c-2-6/generalist"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"families": ["gpt"]}, "family='gpt': must be one of qwen3, llama, gpt_neox"),
        ({"starts": ["novice"]}, "start='novice': must be one of generalist, specialist"),
        ({"schedules": ["poetry:3"]}, "no domain 'poetry'"),
        ({"systems": ["plain"]}, "system='plain': none that drafts; choose among"),
        ({"systems": ["genius"]}, "system='genius': none that drafts; choose among"),
        ({"serving": Serving(sampling=Sampling(0.0))}, "temperature=0: a shared text is sampled"),
    ],
)
def test_what_cannot_be_recorded_is_said_at_once(change, message):
    given = {"families": ["qwen3"], "starts": ["generalist"], "schedules": ["prose:3"]} | change
    with pytest.raises(ValueError, match=message):
        cells(**given)


def test_a_system_that_cannot_read_a_text_says_why(tmp_path):
    with pytest.raises(ValueError, match="system='routing': cannot read a given text, for its law at a position"):
        made(replace(CELL, systems=("routing",)), tmp_path)


def test_what_is_told_of_a_text_more_often_learns_sooner_and_so_has_other_rates(tmp_path):
    found, _ = made(replace(CELL, systems=("memory", "memory@1", "memory@3", "memory@24")), tmp_path)
    np.testing.assert_allclose(found.rates["memory@3"], found.rates["memory"], atol=1e-6)  # gamma at a time
    assert np.abs(found.rates["memory@1"] - found.rates["memory"]).max() > 1e-3
    np.testing.assert_allclose(found.rates["memory@24"][0], found.rates["memory"][0], atol=1e-6)
    for wrong in ("memory@", "memory@0", "memory@few", "plain@1"):
        with pytest.raises(ValueError, match=f"system='{wrong}': none that drafts"):
            cells(["qwen3"], ["specialist"], ["prose:3"], [wrong])


def test_a_domain_is_stayed_in_for_at_least_so_many_tokens():
    assert replayed.lengthened("prose", 49, SERVING) == "prose:3"
    with pytest.raises(ValueError, match="domain='poetry', tokens=9: one of "):
        replayed.lengthened("poetry", 9, SERVING)
