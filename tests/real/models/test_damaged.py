# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
"""A damaged or foreign state is refused with the name of its entry, and what was there goes on as if never asked."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import real  # noqa: E402
from real.models.state import DIGESTS  # noqa: E402

COUNT = 2**62
DRAFTERS = {
    "adapter": {"learner": "ogd"},
    "ngram": {"learner": "frozen"},
    "memory": {"learner": "frozen"},
    "backoff": {"learner": "frozen", "drafter_settings": {"scope": "global"}},
    "mixture": {"learner": "hedge"},
}


@pytest.fixture(scope="module", params=DRAFTERS)
def served(request, tmp_path_factory):
    """A model that has served some text, its state, and the file of it."""
    llm = real.load(drafter=request.param, dtype="float32", nu=8, burn_in=8, **DRAFTERS[request.param])
    for i in range(3):
        llm.generate(f"def main{i}():", max_new_tokens=21, temperature=0.8)
    path = llm.save(tmp_path_factory.mktemp("state") / "s", keep_text=True)
    with safe_open(path, "pt") as file:
        return llm, load_file(path), file.metadata(), path


def told(name: str, entry: torch.Tensor) -> dict[str, torch.Tensor | None]:
    """The entry in wrong ways that no reading of the numbers is needed to see."""
    found: dict[str, torch.Tensor | None] = {"int16": entry.to(torch.int16)}
    if name != "log_sums":  # a state of before it was kept has none
        found["missing"] = None
    if entry.ndim:
        found["another axis"] = entry[..., None].contiguous()
    if entry.ndim and len(entry) > 1 and not name.endswith(("burned", "counts", "tokens", "log", "hidden")):
        found["cut"] = entry[:-1].clone()
    if entry.is_floating_point() and not name.startswith("rounds"):
        found["float16"] = entry.half()
    return found


def may_be_missing(name: str) -> bool:
    return name.startswith("rounds") and name.endswith((".hidden", ".wrong"))


def test_an_entry_of_another_form_is_named_and_nothing_is_taken_up(served, tmp_path):
    """Without the digests, as from another program."""
    llm, good, about, path = served
    about = {key: text for key, text in about.items() if key != DIGESTS}
    before = llm.decoder.state()
    for name, entry in good.items():
        for how, bad in told(name, entry).items():
            if how == "missing" and may_be_missing(name):
                continue
            state = {key: part for key, part in {**good, name: bad}.items() if part is not None}
            save_file(state, tmp_path / "bad", about)
            with pytest.raises(ValueError) as error:
                llm.resume(tmp_path / "bad")
            at = name.rsplit(".", 1)[0]
            assert at in str(error.value) or "rounds.…" in str(error.value), (name, how, str(error.value))
    after = llm.decoder.state()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert after.keys() == before.keys()
    llm.generate("def f", max_new_tokens=8)
    llm.resume(path)
    assert all(torch.equal(part, good[key]) for key, part in llm.decoder.state().items())


def test_numbers_that_cannot_be_are_named(served, tmp_path):
    llm, good, about, _ = served
    about = {key: text for key, text in about.items() if key != DIGESTS}
    wrong = {"rng": 255, "entered": -1, "log_sums": -1}
    wrong |= {name: -7 for name in good if name.endswith(("counts", "unigrams", "count", ".ids", ".tokens"))}
    wrong |= {name: 255 for name in good if name.endswith(".rng")}
    wrong |= {name: COUNT for name in good if name.endswith(("counts", ".ids", "entered"))}
    wrong |= {"x": 1e30} if "x" in good else {}
    for name, number in wrong.items():
        if name not in good:
            continue
        state = {**good, name: torch.full_like(good[name], number)}
        save_file(state, tmp_path / "bad", about)
        with pytest.raises(ValueError, match=rf"state entry '{name}'.*nothing was taken up"):
            llm.resume(tmp_path / "bad")


def test_a_damaged_file_names_what_is_not_what_was_written(served, tmp_path):
    """One number of one entry, whatever it is of; an entry that is gone."""
    llm, good, about, _ = served
    before = llm.decoder.state()
    for name, entry in good.items():
        if not entry.numel():
            continue
        flipped = entry.clone()
        first = flipped.view(-1)[:1]
        first.copy_(~first if entry.dtype == torch.bool else first + 1)
        without = {key: part for key, part in good.items() if key != name}
        for state in ({**good, name: flipped}, without):
            save_file(state, tmp_path / "bad", about)
            with pytest.raises(ValueError, match=rf"{name} are not what was written; nothing was taken up. Remove"):
                llm.resume(tmp_path / "bad")
    assert all(torch.equal(part, before[key]) for key, part in llm.decoder.state().items())


def test_a_refused_state_forgets_no_tenant(served, tmp_path):
    llm, good, about, _ = served
    about = {key: text for key, text in about.items() if key != DIGESTS} | {"tenant": "new"}
    before = llm.decoder.tenants
    save_file({**good, "entered": good["entered"] - COUNT}, tmp_path / "bad", about)
    with pytest.raises(ValueError, match="state entry 'entered'"):
        llm.resume(tmp_path / "bad", tenant="new")
    assert llm.decoder.tenants == before


def test_what_a_users_own_drafter_refuses_leaves_the_learner_as_it_was(served, monkeypatch):
    llm, good, _, _ = served
    before = llm.decoder.state()
    drafter = llm.decoder.drafter
    right = type(drafter).restore
    failed: list = []

    def refuses(self, state):
        right(self, state)
        if self is drafter and not failed:
            failed.append(1)
            raise ValueError("not mine")

    monkeypatch.setattr(type(drafter), "restore", refuses)
    other = {**good, "entered": good["entered"] + 1}
    with pytest.raises(ValueError, match="not mine"):
        llm.decoder.restore(other)
    assert all(torch.equal(part, before[key]) for key, part in llm.decoder.state().items())
