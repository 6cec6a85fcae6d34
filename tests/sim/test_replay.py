"""The replay against a decoder written out step by step, and the adapter's arithmetic in both worlds."""

import json

import numpy as np
import pytest

from sim.environments.recording import Recording
from sim.environments.replay import Replay, predict
from theory.runs.choose import make_learner
from theory.runs.practice import ADAPTER_LEARNERS, in_practice
from theory.speculation.acceptance import process
from theory.speculation.adapter import adapted, adapter_loss, readout, whitening
from theory.speculation.gumbel_rule import key, noise, race

WIDTH, VOCABULARY, POSITIONS, NU = 5, 17, 133, 12


def arrays(greedy, seed=0, **header):
    """A recording's arrays: random features, a target near the draft, prompts of uneven length."""
    rng = np.random.default_rng(seed)
    head = rng.standard_normal((VOCABULARY, WIDTH))
    features = rng.standard_normal((POSITIONS, WIDTH)) * [3, 2, 1, 1, 0.2]
    logits = features @ (head + 0.7 * rng.standard_normal(head.shape)).T
    law = np.exp(logits - logits.max(axis=1, keepdims=True))
    law /= law.sum(axis=1, keepdims=True)
    token = law.argmax(axis=1) if greedy else np.array([rng.choice(VOCABULARY, p=p) for p in law])
    prompt, place = np.searchsorted([20, 36, 37, 90], np.arange(POSITIONS), side="right"), 7 + np.arange(POSITIONS)
    by_rule = {}
    if header.get("rule"):
        keys = np.array([key(seed, number) for number in prompt])
        token, by_rule = race(law, noise(keys, place, VOCABULARY)), {"place": place.astype(np.int32)}
    kept = 1 if greedy else VOCABULARY
    order = np.argsort(-law, axis=1)[:, :kept]
    prob = np.take_along_axis(law, order, axis=1)
    settings = {"format": "onlinespec-recording-1", "gamma": 3, "nu": NU, "temperature": 0 if greedy else 0.8}
    settings |= {"top_k": 0, "top_p": 1.0, "burn_in_rounds": 2, "ridge": 1e-2, "radius": None}
    settings |= {"digest": f"{seed}{'greedy' if greedy else 'sampled'}", "seed": seed} | header
    return {
        "features": features.astype(np.float32),
        "head": head.astype(np.float32),
        "whitener": whitening(features[: 2 * NU]),
        "token": token.astype(np.int32),
        "token_prob": (np.ones(POSITIONS) if greedy else law[np.arange(POSITIONS), token]).astype(np.float32),
        "law_index": order.astype(np.int32),
        "law_prob": (prob / prob.sum(axis=1, keepdims=True)).astype(np.float32),
        "prompt": prompt.astype(np.int32),
        "segment": (np.arange(POSITIONS) > 60).astype(np.int32),
        "header": np.array(json.dumps(settings)),
    } | by_rule


def save(path, content):
    np.savez(path, **content)
    return path


@pytest.fixture
def greedy(tmp_path):
    return Recording.load(save(tmp_path / "greedy.npz", arrays(True)))


@pytest.fixture
def sampled(tmp_path):
    return Recording.load(save(tmp_path / "sampled.npz", arrays(False)))


@pytest.fixture
def seeded(tmp_path):
    return Recording.load(save(tmp_path / "seeded.npz", arrays(False, 5, rule="gumbel")))


def chosen(recording, place, logits):
    """What a greedy draft, or one by the Gumbel rule, drafts at a position of the recording."""
    if recording.greedy:
        return np.argmax(logits)
    keys = np.array([key(recording.header["seed"], int(recording.prompt[place]))])
    return race(process(logits, 0.8), noise(keys, recording.place[place : place + 1], VOCABULARY)[0])


def decode_by_hand(recording, learner, gamma):
    """A chain decoder, one step at a time; (accepted, committed) of every step, and x after the last round."""
    q, r = readout(recording.head)
    position, rounds, state, started, steps = 0, 0, learner.init(np.zeros(WIDTH**2)), False, []
    x = np.zeros(WIDTH**2)
    while position <= len(recording.token):
        while (rounds + 1) * recording.nu <= position:  # at a step boundary: learn from every finished round
            part = slice(rounds * recording.nu, (rounds + 1) * recording.nu)
            features = recording.features[part, 0]
            loss_t = adapter_loss(
                features, recording.law(part), features @ recording.head.T, recording.whitener, q, recording.temperature
            )
            if rounds >= recording.header["burn_in_rounds"]:
                state, started = learner.update(state, loss_t), True
            rounds += 1
        x = learner.predict(state) if started else x
        if position == len(recording.token):
            return steps, x
        end = np.sum(recording.prompt <= recording.prompt[position])
        accepted = 0
        for place in range(position, min(position + gamma, end)):
            hidden = adapted(recording.features[place, 0], x, recording.whitener, np.linalg.inv(r))
            drafted = chosen(recording, place, recording.head @ hidden)
            if drafted != recording.token[place]:
                break
            accepted += 1
        committed = min(accepted + 1, end - position)
        steps.append((accepted, committed))
        position += committed
    raise AssertionError("a step went beyond the text")


@pytest.mark.parametrize("gamma", [1, 2, 3, 5, 8, 12])
@pytest.mark.parametrize("spec", ADAPTER_LEARNERS)
@pytest.mark.parametrize("kind", ["greedy", "seeded"])
def test_replay_is_the_decoder_step_for_step(request, kind, spec, gamma):
    recording = request.getfixturevalue(kind)
    learner = in_practice(spec, {}, recording.problem)
    trace, x_t = predict(recording, learner, gamma, 1, 0, {})
    steps, x = decode_by_hand(recording, learner, gamma)
    starts = np.flatnonzero(trace.columns["step_start"])
    accepted = np.add.reduceat(trace.columns["accepted"], starts)
    committed = np.diff(starts, append=POSITIONS)
    assert list(zip(accepted.tolist(), committed.tolist(), strict=True)) == steps
    assert trace.header["steps"] == [len(steps)]
    assert trace.header["tokens_per_step"] == [POSITIONS / len(steps)]
    np.testing.assert_allclose(x_t, x, rtol=1e-9, atol=1e-12)
    assert (spec == "frozen") == (not x_t.any())


def test_sampled_acceptance_has_the_rules_probability(sampled):
    """Examined positions accept with probability min(1, draft/target) at the token: within 5 standard errors."""
    replay = Replay(sampled, make_learner("frozen", {}, sampled.problem), 3, 4000, np.random.default_rng(0))
    for part, x_t, loss_t, decoded, _margin, overlap in replay.run():
        draft = loss_t.draft_probs(x_t)
        place = np.arange(len(draft)), sampled.token[part]
        chance = np.minimum(1.0, draft[place] / sampled.token_prob[part])
        examined = decoded.examined.sum(axis=1)
        error = np.sqrt(chance * (1 - chance) / examined) + 1e-9
        assert np.all(np.abs(decoded.accepted.sum(axis=1) / examined - chance) <= 5 * error)
        np.testing.assert_allclose(overlap[:, 0], np.minimum(draft, loss_t.target_probs).sum(axis=-1), atol=1e-12)


@pytest.mark.parametrize("gamma", [1, 4])
def test_counts_add_up(sampled, gamma):
    learner = make_learner("ogd", {"step_size": 1.0}, sampled.problem)
    header = predict(sampled, learner, gamma, 7, 0, {})[0].header
    totals = np.array([header[name] for name in ("accepted", "recovered", "bonus")]).sum(axis=0)
    assert totals.tolist() == [POSITIONS] * 7
    cut = np.array(header["steps"]) - header["recovered"] - header["bonus"]
    assert np.all((cut >= 0) & (cut <= 5))  # at most one step a prompt is cut


def test_alpha_is_over_the_places_where_a_draft_was_examined(tmp_path):
    """Of two heads the second is hopeless: it is met after the first was right, and at bonuses, which do not count."""
    content = arrays(False)
    features = np.stack([content["features"], 0.0 * content["features"]], axis=1)
    header = json.loads(str(content["header"])) | {"weights": [1.0, 1.0], "burn_in_rounds": 0}
    path = save(tmp_path / "heads.npz", content | {"features": features, "header": np.array(json.dumps(header))})
    recording, copies = Recording.load(path), 64
    learner = make_learner("frozen", {}, recording.problem)
    replay, both = Replay(recording, learner, 2, copies, np.random.default_rng(0)), []
    for part, x_t, loss_t, decoded, _margin, _overlap in replay.run():
        laws = [loss.draft_probs(own) for loss, own in zip(loss_t.losses, np.split(x_t, 2), strict=True)]
        target = recording.law(part)
        at = np.stack([np.minimum(target, law).sum(axis=-1) for law in laws], axis=1)[..., None]
        here = np.take_along_axis(np.broadcast_to(at, (*at.shape[:2], copies)), decoded.place[:, None], axis=1)[:, 0]
        both.append((np.sum(here[decoded.examined]), decoded.examined.sum()))
    wanted = sum(one for one, _ in both) / sum(count for _, count in both)
    trace, _ = predict(recording, learner, 2, copies, 0, {})
    assert trace.header["alpha"] == pytest.approx(wanted, rel=1e-9)
    assert trace.header["alpha"] > 1.01 * np.mean(trace.columns["overlap"])


def test_losses_and_learner_do_not_depend_on_the_draft_length(sampled):
    learner = make_learner("ogd", {"step_size": 2.0}, sampled.problem)
    runs = [predict(sampled, learner, gamma, 3, seed, {}) for gamma, seed in ((1, 0), (4, 1))]
    np.testing.assert_array_equal(runs[0][1], runs[1][1])
    assert runs[0][0].header["losses"] == runs[1][0].header["losses"]


def test_learning_lowers_the_loss(sampled):
    losses = [
        predict(sampled, make_learner(*who, sampled.problem), 3, 2, 0, {})[0].header["losses"][-3:]
        for who in (("ogd", {"step_size": 1.0}), ("frozen", {}))
    ]
    assert np.mean(losses[0]) < np.mean(losses[1])


def test_a_seeded_replay_has_the_luck_of_its_seed_alone(seeded):
    """Draws have no part in it; by another seed than the text's the draft chooses independently, and less is kept."""
    learner = make_learner("frozen", {}, seeded.problem)
    traces = [predict(seeded, learner, 3, 1, seed, {})[0] for seed in (0, 1)]
    assert traces[0].header["steps"] == traces[1].header["steps"]
    kept = np.mean(traces[0].columns["accepted"])
    seeded.header["seed"] += 1
    assert np.mean(predict(seeded, learner, 3, 1, 0, {})[0].columns["accepted"]) < kept - 0.1 < 0.7
    with pytest.raises(ValueError, match="copies=2"):
        Replay(seeded, learner, 3, 2, np.random.default_rng(0))


BROKEN = {
    "must be gumbel, or left out": {"rule": "block", "seed": 5},
    "seed must be a whole number": {"rule": "gumbel", "seed": 1.5},
    "place must have one entry a position": {"rule": "gumbel", "seed": 5},
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_recording_says_what_its_rule_needs(tmp_path, message):
    content = arrays(False)
    header = json.loads(str(content["header"])) | BROKEN[message]
    content |= {"header": np.array(json.dumps(header)), "place": np.arange(POSITIONS)}
    if "place" in message:
        content["place"] = content["place"][:-1]
    with pytest.raises(ValueError, match=message):
        Recording.load(save(tmp_path / "broken.npz", content))


@pytest.mark.parametrize("copies, gamma, message", [(2, 3, "copies=2"), (1, 0, "gamma=0"), (1, 13, "gamma=13")])
def test_replay_refuses(greedy, copies, gamma, message):
    with pytest.raises(ValueError, match=message):
        Replay(greedy, make_learner("frozen", {}, greedy.problem), gamma, copies, np.random.default_rng(0))


def test_whitened_features_have_mean_squared_norm_one():
    features = np.random.default_rng(0).standard_normal((500, 7)) * np.arange(1, 8)
    whitened = features @ whitening(features, ridge=1e-12)
    np.testing.assert_allclose(np.mean(np.sum(whitened**2, axis=1)), 1.0, rtol=1e-9)
    np.testing.assert_allclose(7 * whitened.T @ whitened / 500, np.eye(7), atol=1e-9)
    assert np.mean(np.sum((features @ whitening(features, ridge=0.1)) ** 2, axis=1)) < 1.0


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_adapted_draft_is_the_loss_that_was_learned(library):
    """softmax(W (h + B h)) equals SoftmaxKL's draft at x, for a batch of decisions, numpy and torch alike."""
    rng = np.random.default_rng(1)
    features, head = rng.standard_normal((9, WIDTH)), rng.standard_normal((VOCABULARY, WIDTH))
    x = rng.standard_normal((4, WIDTH**2))
    logits, target = features @ head.T, rng.dirichlet(np.ones(VOCABULARY), size=9)
    if library == "torch":
        torch = pytest.importorskip("torch")
        features, head, x, logits, target = map(torch.tensor, (features, head, x, logits, target))
    whitener = whitening(features)
    q, r = readout(head)
    loss = adapter_loss(features, target, logits, whitener, q, 0.7)
    hidden = adapted(features, x, whitener, np.linalg.inv(r))
    for i in range(4):
        own = np.asarray(hidden[i] @ head.T) / 0.7
        law = np.exp(own - own.max(axis=1, keepdims=True))
        np.testing.assert_allclose(
            np.asarray(loss.draft_probs(x[i])), law / law.sum(axis=1, keepdims=True), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: whitening(np.ones((0, 3))), "needs|give rows"),
        (lambda: whitening(np.ones((4, 3)), ridge=0.0), "ridge=0.0"),
        (lambda: whitening(np.zeros((4, 3))), "not all zero"),
        (lambda: readout(np.ones((2, 3))), "at least as large as the width"),
    ],
)
def test_adapter_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
