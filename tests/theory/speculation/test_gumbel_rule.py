"""The Gumbel rule: its choice has the law, the text is the noise's alone, and how often two laws choose alike."""

from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import kstest

from theory.speculation import gumbel_rule as module
from theory.speculation import speedup
from theory.speculation.acceptance import alpha
from theory.speculation.gumbel_rule import agreement, gumbel_rule, key, lead, mixed, race
from theory.speculation.tabular import Tabular, threshold
from theory.testing.strategies import laws

EXACT = {"rtol": 1e-9, "atol": 1e-12}


@cache
def nodes(count=512, power=4):
    """Points and weights of an integral over a uniform in [0, 1], dense near 0, where powers are not smooth."""
    points, weights = np.polynomial.legendre.leggauss(count)
    points = (points + 1) / 2
    return points**power, weights / 2 * power * points ** (power - 1)


def choosing(y, *probs):
    """P(every law chooses y), by the races of y against each other token alone; nothing is assumed but monotony."""
    own, weights = nodes()
    vocab, measure = probs[0].shape[-1], np.ones_like(own)
    for z in set(range(vocab)) - {y}:

        def wins(uniform, z=z):
            noise = np.full((len(own), vocab), 1e9)
            noise[:, y], noise[:, z] = -np.log(own), -np.log(np.maximum(uniform, 1e-300))
            return np.logical_and.reduce([module.race(p, noise) == y for p in probs])

        measure = measure * threshold(wins, own.shape)
    return float(np.sum(weights * measure))


# The law


@given(laws(4, positive=True))
@example(np.array([0.25, 0.75]))
def test_the_choice_has_exactly_the_law(law):
    np.testing.assert_allclose([choosing(y, law) for y in range(len(law))], law, **EXACT)


def test_what_has_no_probability_is_never_chosen_and_a_law_of_nan_gives_a_token():
    noise = module.noise(np.array([key(0, 0)]), np.arange(2000)[:, None], 3)[:, 0]
    chosen = race(np.array([0.5, 0.0, 0.5]), noise)
    assert set(chosen.tolist()) == {0, 2}
    assert race(np.full(3, np.nan), noise[0]) == 0
    assert int(race(torch.full((3,), torch.nan), torch.from_numpy(noise[0]))) == 0


@given(laws(5, positive=True), st.integers(0, 10**6))
def test_the_lead_is_that_of_the_perturbed_logits(law, position):
    noise = module.noise(np.array([3]), np.array([position]), 5)[0]
    scores = np.sort(np.log(law) - np.log(noise))
    np.testing.assert_allclose(lead(law, noise), scores[-1] - scores[-2], atol=1e-12)


# How often two laws choose alike


@given(laws(4, positive=True), laws(4, positive=True))
@example(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.4, 0.3, 0.2, 0.1]))
@example(np.full(4, 0.25), np.full(4, 0.25))
def test_the_agreement_is_what_the_races_give(one, other):
    found = sum(choosing(y, one, other) for y in range(len(one)))
    np.testing.assert_allclose(module.agreement(one, other), found, **EXACT)


def by_the_formula(one, other):
    """Σ_y 1/Σ_z max(p_z/p_y, q_z/q_y), in its own V² terms."""
    both = [y for y in range(len(one)) if one[y] > 0 and other[y] > 0]
    return sum(1 / np.maximum(one / one[y], other / other[y]).sum() for y in both)


@given(laws(3, 6), laws(3, 6))
@example(np.eye(3, 6), np.eye(6)[2::-1].copy())
@example(np.eye(3, 6), np.full((3, 6), 1 / 6))
def test_two_running_sums_are_the_formula(one, other):
    wanted = [by_the_formula(p, q) for p, q in zip(one, other, strict=True)]
    np.testing.assert_allclose(module.agreement(one, other), wanted, rtol=1e-9, atol=1e-12)
    theirs = module.agreement(torch.from_numpy(one), torch.from_numpy(other))
    np.testing.assert_allclose(theirs.numpy(), wanted, rtol=1e-9, atol=1e-12)


@given(laws(6), laws(6))
def test_the_agreement_lies_between_its_limits(one, other):
    found, overlap = module.agreement(one, other), alpha(one, other)
    assert 1 - speedup.shared_noise_rejections(1 - overlap) - 1e-12 <= found <= overlap + 1e-12
    np.testing.assert_allclose(found, module.agreement(other, one), atol=1e-12)


@given(st.floats(0, 1), st.floats(0, 1))
def test_both_limits_of_the_agreement_are_attained(apart, split):
    """Laws that agree where both have mass reject 2TV/(1 + TV); of two tokens only TV is rejected, as by any rule."""
    one = np.array([(1 - apart) * split, (1 - apart) * (1 - split), apart, 0.0])
    other = one[[0, 1, 3, 2]]
    rejected = speedup.shared_noise_rejections(apart)
    np.testing.assert_allclose(1 - agreement(one, other), rejected, rtol=1e-9, atol=1e-12)
    two, more = np.array([apart, 1 - apart]), np.array([split, 1 - split])
    np.testing.assert_allclose(1 - agreement(two, more), abs(apart - split), atol=1e-12)


@given(st.floats(0, 1), st.integers(1, 12))
def test_the_price_of_shared_noise_is_at_most_twice_the_rejections(total_variation, gamma):
    """… and one factor of tokens a step that stays below 2; it enters every theorem of speed in place of TV."""
    rejected = speedup.shared_noise_rejections(total_variation)
    assert total_variation <= rejected <= min(1.0, 2 * total_variation)
    paid = speedup.tokens_per_step(rejected, gamma) / speedup.tokens_per_step(total_variation, gamma)
    assert 0.5 < paid <= 1 + 1e-12


# The text


def text_of(target, seed, request, length, drafts):
    """Decode on a table: before every step ``drafts`` gives gamma and a drafter, which is even shown the noise."""
    text, steps, accepted = [0] * target.order, 0, 0
    while len(text) < target.order + length:
        gamma, choose = next(drafts)
        positions = np.arange(len(text), len(text) + gamma + 1)
        noise = module.noise(np.full(gamma + 1, key(seed, request)), positions, target.vocab)
        path = list(text)
        for i in range(gamma):
            path.append(choose(path, noise[i]))
        probs = np.stack([target.law(path[: len(text) + i]) for i in range(gamma + 1)])
        kept, token = module.gumbel_rule(probs, np.array(path[len(text) :], dtype=int), noise)
        text, steps, accepted = [*path[: len(text) + kept], int(token)], steps + 1, accepted + int(kept)
    return text[target.order :][:length], accepted / steps


def by_table(table, gamma):
    while True:
        yield gamma, lambda path, noise: int(module.race(table.law(path), noise))


def changing(tables, rng):
    """Lengths and weights that change at every step, and a drafter that picks by what it has seen of the noise."""
    while True:
        table = tables[rng.integers(len(tables))]
        yield (
            int(rng.integers(6)),
            lambda path, noise, table=table: int(noise.argmax() if noise[0] > 1 else race(table.law(path), noise)),
        )


def texts_do_not_depend_on_the_draft():
    rng = np.random.default_rng(0)
    target = Tabular.random(rng, 5, 2)
    near = Tabular(0.7 * target.table + 0.3 * Tabular.random(rng, 5, 2).table)
    far = Tabular.random(rng, 5, 2)
    for seed, request in product(range(2), range(2)):
        plain, _ = text_of(target, seed, request, 60, by_table(target, 0))
        same, all_kept = text_of(target, seed, request, 60, by_table(target, 3))
        assert same == plain
        assert all_kept == 3, "the target as its own draft is always accepted, for the noise is the same"
        for drafts in (*(by_table(near, gamma) for gamma in (1, 2, 4)), by_table(far, 3), changing([near, far], rng)):
            assert text_of(target, seed, request, 60, drafts)[0] == plain


def test_the_text_is_the_noise_s_whatever_is_drafted():
    texts_do_not_depend_on_the_draft()


@given(laws(3, 5), laws(3, 5), st.integers(0, 10**6))
def test_it_is_the_greedy_rule_on_perturbed_logits_in_numpy_and_torch(target, draft, position):
    noise = module.noise(np.full(3, 7), position + np.arange(3), 5)
    drafted = race(draft[:2], noise[:2])
    accepted, token = gumbel_rule(target, drafted, noise)
    chosen = [int(np.argmax(p / e)) for p, e in zip(target, noise, strict=True)]
    wanted = next((i for i in range(2) if chosen[i] != drafted[i]), 2)
    assert (accepted, token) == (wanted, chosen[wanted])
    theirs = gumbel_rule(*(torch.from_numpy(a) for a in (target, drafted, noise)))
    assert tuple(map(int, theirs)) == (accepted, token)


# The noise


def the_generator_is_splitmix():
    """Vigna's reference implementation from the state 1234567."""
    states = np.int64(1234567) + np.arange(1, 4) * module.STRIDE
    wanted = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert module.mixed(states).view(np.uint64).tolist() == wanted


def test_the_generator_is_splitmix():
    the_generator_is_splitmix()


def by_hand(seed, request, position, token):
    """A uniform in plain whole numbers: the stream of a request gives every place a stream of its own."""

    def number(state, count):
        z = (state + count * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    start = int(np.random.SeedSequence([seed, request]).generate_state(1, np.uint64)[0])
    return (2 * (number(number(start, position), token) >> 12) + 1) / 2**53


@pytest.mark.parametrize("name", [(0, 0, 1, 0), (7, 3, 12, 150_000), (2**63 - 1, 10**6, 2**20, 5)], ids=str)
def test_noise_is_a_function_of_its_name_for_ever(name):
    """A seed must give the same text in the next version too."""
    seed, request, position, token = name
    found = module.noise(np.array([key(seed, request)]), np.array([position]), token + 1)[0, token]
    np.testing.assert_allclose(found, -np.log(by_hand(*name)), rtol=1e-15)


def test_bits_are_the_same_in_torch_and_noise_to_the_last_place():
    states = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, size=1000)
    np.testing.assert_array_equal(mixed(torch.from_numpy(states)).numpy(), mixed(states))
    keys, positions = np.array([[key(1, 2)], [key(1, 3)]]), np.array([[0, 1], [2**20, 5]])
    ours = module.noise(keys, positions, 7)
    theirs = module.noise(torch.from_numpy(keys), torch.from_numpy(positions), 7)
    assert ours.shape == (2, 2, 7)
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-15)


def test_the_extreme_states_have_noise_above_zero_and_finite(monkeypatch):
    for bits in (0, -1):
        monkeypatch.setattr(module, "mixed", lambda states, bits=bits: np.full_like(states, bits))
        noise = module.noise(np.array([0]), np.array([0]), 2)
        assert (noise > 0).all()
        assert np.isfinite(noise).all()
        np.testing.assert_allclose(noise, -np.log(2.0**-53) if bits == 0 else 2.0**-53)


def every_part_of_its_name_counts():
    """Seed, request, position and token: another one gives noise that has nothing to do with it."""
    shape = np.zeros(2000, dtype=np.int64)
    at = np.arange(2000)
    by_token = module.noise(np.array([key(0, 0)]), np.array([0]), 2000)[0]
    columns = {
        "tokens": (by_token[:-1], by_token[1:]),
        "positions": tuple(module.noise(shape + key(0, 0), at + i, 1)[:, 0] for i in (0, 1)),
        "requests": tuple(module.noise(np.array([key(0, r + i) for r in at]), shape, 1)[:, 0] for i in (0, 1)),
        "seeds": tuple(module.noise(np.array([key(s + i, 0) for s in at]), shape, 1)[:, 0] for i in (0, 1)),
        "position for token": (by_token, module.noise(shape + key(0, 0), at, 1)[:, 0]),
    }
    for name, (one, other) in columns.items():
        assert kstest(np.exp(-one), "uniform").pvalue > 1e-4, name
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.1, name  # 4.5 standard errors of what is independent


def test_every_part_of_its_name_counts():
    every_part_of_its_name_counts()


def test_a_token_s_noise_does_not_depend_on_the_vocabulary():
    wide, narrow = (module.noise(np.array([5]), np.array([9]), vocab)[0] for vocab in (300, 100))
    np.testing.assert_array_equal(wide[:100], narrow)


# Planted bugs


def law_of_the_choice():
    test_the_choice_has_exactly_the_law.hypothesis.inner_test(SKEWED)


def two_laws_agree():
    test_the_agreement_is_what_the_races_give.hypothesis.inner_test(OTHER, SKEWED)


RACE, NOISE, GREEDY = race, module.noise, module.greedy_rule
SKEWED, OTHER = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.4, 0.3, 0.25, 0.05])


def added_up(keys, positions, vocab):
    """Position and token share one counter: the noise of a place is that of the one before, a token on."""
    counters = positions[..., None] + np.arange(vocab)
    return NOISE(keys[..., None] + 0 * counters, counters, 1)[..., 0]


def of_the_sorted(one, other):
    return agreement(np.sort(one), other)


def limits():
    for apart in (0.1, 0.5):
        one = np.array([1 - apart, apart, 0.0])
        np.testing.assert_allclose(module.agreement(one, one[[0, 2, 1]]), (1 - apart) / (1 + apart))


MUTANTS = {
    "the law's square root chooses": ("race", lambda p, e: RACE(np.sqrt(p), e), law_of_the_choice),
    "the smallest, not the largest": ("race", lambda p, e: RACE(1 / p, e), law_of_the_choice),
    "noise of no account": ("race", lambda p, e: RACE(p, 1.0), law_of_the_choice),
    "agreement taken for the overlap": ("agreement", alpha, two_laws_agree),
    "agreement of the sorted law": ("agreement", of_the_sorted, two_laws_agree),
    "the price forgotten": ("agreement", alpha, limits),
    "noise by place in the step": (
        "noise",
        lambda keys, positions, vocab: NOISE(keys, positions - positions[..., :1], vocab),
        texts_do_not_depend_on_the_draft,
    ),
    "a drafted token kept whatever the target chooses": (
        "greedy_rule",
        lambda chosen, drafted: GREEDY(np.concatenate([drafted, chosen[len(drafted) :]]), drafted),
        texts_do_not_depend_on_the_draft,
    ),
    "bonus and recovered tokens of another noise": (
        "greedy_rule",
        lambda chosen, drafted: (GREEDY(chosen, drafted)[0], (GREEDY(chosen, drafted)[1] + len(drafted)) % 5),
        texts_do_not_depend_on_the_draft,
    ),
    "one noise for all positions": ("noise", lambda k, p, v: NOISE(k, 0 * p, v), every_part_of_its_name_counts),
    "one noise for all requests": ("noise", lambda k, p, v: NOISE(0 * k, p, v), every_part_of_its_name_counts),
    "position and token added up": ("noise", added_up, every_part_of_its_name_counts),
    "bits not mixed": ("mixed", lambda states: states, every_part_of_its_name_counts),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_bug_is_caught(name, monkeypatch):
    attribute, bug, guard = MUTANTS[name]
    guard()
    monkeypatch.setattr(module, attribute, bug)
    with pytest.raises(AssertionError):
        guard()
