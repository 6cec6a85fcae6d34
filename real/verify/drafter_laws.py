"""The laws of a drafter, each a function that anybody's class can be held to: ``python -m real check DRAFTER``.

A law raises ``Broken`` with the values that break it.

    subject = Subject.of("mine.py:Mine")
    for name, law in laws(subject.kind).items():
        print(name, fault(law, subject) or "ok")

What they are tried on is in ``on_trial.py``.
"""

from collections.abc import Callable
from dataclasses import is_dataclass, replace
from math import isclose

import torch
from torch import Tensor

from real.drafters import Drafter
from real.drafters.objective import DISTIL, Objective
from real.models.state import copied
from real.serving.decoder import in_order, online_decoder
from real.serving.ledger import Ledger
from real.serving.settings import Serving
from real.serving.step import alone, generate
from real.verify.lossless import reference
from real.verify.on_trial import (
    GREEDY,
    PROMPT,
    PROMPTS,
    SAMPLED,
    VOCAB,
    Broken,
    Subject,
    elsewhere,
    need,
    serve,
    widened,
)
from theory.runs.users_file import users_own

OBJECTIVES = tuple(Objective(name, gamma=3) for name in ("kl", "reverse_kl", "jsd", "tv", "speed"))
OBJECTIVES += (Objective(positions="wrong"),)


# What every drafter keeps


def drafts_laws(subject: Subject) -> None:
    """Logits are [1, V]; tokens come with the laws they were drawn from: [g, V], not negative, of sum 1."""
    drafter, pair = subject.make(), subject.pair
    session = alone(pair.target, drafter, PROMPT, 30)
    with torch.inference_mode():
        logits = drafter.logits_after([])
    need(drafter.vocab == VOCAB, f"vocab is {drafter.vocab}, the target's is {VOCAB}: of(pair) takes pair.target.vocab")
    shape = tuple(getattr(logits, "shape", ()))
    need(shape == (1, VOCAB), f"logits_after([]) has shape {shape}: it must be (1, {VOCAB}), one row over the target's")
    drafter.commit()
    gamma = min(3, drafter.reach(session.texts[0]))
    uniforms = torch.rand(1, gamma, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens, probs, counts = drafter.propose([gamma], SAMPLED, uniforms)
    drafter.commit()
    shape = tuple(tokens.shape)
    need(
        tokens.dtype == torch.int64 and shape == (1, *counts) and 1 <= counts[0] <= gamma,
        f"propose([{gamma}]) drafted {tokens!r}, counts {counts}: int64 [1, g] and [g]",
    )
    need(
        probs is not None and tuple(probs.shape) == (*shape, VOCAB),
        f"propose reported laws {None if probs is None else tuple(probs.shape)} of tokens {shape}: [1, g, {VOCAB}]",
    )
    assert probs is not None
    sums = probs.double().sum(-1)
    need(probs.min() >= 0 and (sums - 1).abs().max() < 1e-5, f"laws with least entry {probs.min()} and sums {sums}")
    text = session.texts[0].tokens
    need(text == PROMPT, f"the text was changed to {text}: only the session may append to it")


def samples_what_it_reports(subject: Subject, trials: int = 400) -> None:
    """Tokens are drawn from the very law that is reported, or the output is not the target's."""
    drafter = subject.make()
    session = alone(subject.pair.target, drafter, PROMPT, 30)
    excess, spread = torch.zeros(VOCAB, dtype=torch.float64), torch.zeros(VOCAB, dtype=torch.float64)
    for trial in range(trials):
        uniform = torch.tensor([[(trial + 0.5) / trials]], dtype=torch.float64)
        tokens, probs, _ = drafter.propose([1], SAMPLED, uniform)
        drafter.commit()
        assert probs is not None
        law = probs[0, 0].double()
        excess[int(tokens)] += 1
        excess -= law
        spread += law * (1 - law)
    worst = int((excess.abs() - 5 * spread.sqrt()).argmax())
    need(
        excess[worst].abs() <= 5 * spread[worst].sqrt() + 2,
        f"token {worst} was drawn {float(excess[worst]):+.1f} times more than reported in {trials} trials after "
        f"{session.texts[0].tokens}",
    )


def made_alike(subject: Subject) -> None:
    """Made twice with one seed it drafts one text; global randomness is left alone."""
    before = torch.get_rng_state()
    one, two = subject.make(), subject.make()
    texts = [list(serve(subject.pair, drafter)[1].tokens) for drafter in (one, two)]
    need(torch.equal(torch.get_rng_state(), before), "torch's global generator was used: take a generator of your own")
    need(torch.equal(one.x, two.x), f"x differs: {one.x} and {two.x}")
    need(texts[0] == texts[1], f"two texts under one seed: {texts[0]} and {texts[1]}")


def follows_the_text(subject: Subject) -> None:
    """After rejections, and a swap, it drafts as one does that meets the text afresh."""
    drafter = subject.make()
    state = drafter.state()
    session = alone(subject.pair.target, drafter, PROMPT, 30)
    (text,) = session.texts
    for number, _ in enumerate(generate(session, 3, SAMPLED, torch.Generator().manual_seed(9))):
        if text.done:
            break
        if number == 3 and drafter.trains:
            drafter.load(elsewhere(drafter, torch.Generator().manual_seed(2)))
        laws, drafted = list[Tensor](), list[Tensor]()
        with torch.inference_mode():
            for _ in range(3):
                laws.append(drafter.logits_after(drafted).softmax(-1))
                drafted.append(laws[-1].argmax(-1))
            fresh = subject.make()
            fresh.restore(drafter.state() if drafter.watches else state)  # laws it was told of are not in the text
            fresh.load(drafter.x)
            fresh.begin(list(text.tokens), text.hidden)
            for i, mine in enumerate(laws):
                gap = float((mine - fresh.logits_after(drafted[:i]).softmax(-1)).abs().max())
                need(gap < 1e-6, f"laws differ by {gap:.2g} after {text.tokens} and {[int(t) for t in drafted[:i]]}")
        drafter.commit()


def remembers_by_its_state(subject: Subject) -> None:
    """What a fresh one takes up of another is all that the other remembers: it drafts as that one does."""

    def served() -> Drafter:
        drafter = subject.make()
        decoder = online_decoder(subject.pair, drafter, drafter.trial, Serving(3, 8, SAMPLED, 24))
        for prompt in PROMPTS:
            decoder.serve(prompt, Ledger())
        return drafter

    def laws_after(drafter: Drafter) -> Tensor:
        found = []
        for prompt in PROMPTS:
            (text,) = alone(subject.pair.target, drafter, prompt, 8).texts
            with torch.inference_mode():
                drafted: list[Tensor] = []
                for _ in range(min(3, drafter.reach(text))):
                    found.append(drafter.logits_after(drafted).softmax(-1))
                    drafted.append(found[-1].argmax(-1))
            drafter.commit()
        return torch.cat(found)

    wanted, one, two = laws_after(served()), served(), served()
    by_state, aside = subject.make(), subject.make()
    by_state.restore(copied(one.state()))
    aside.take_up(two.put_aside())
    for how, drafter, before in (("state and restore", by_state, one), ("put_aside and take_up", aside, two)):
        drafter.load(before.x)
        gap = float((laws_after(drafter) - wanted).abs().max())
        need(
            gap < 1e-6,
            f"after {how} laws differ by {gap:.2g}: all that it remembers of texts, besides x, belongs there",
        )


def keeps_the_greedy_text(subject: Subject) -> None:
    """Greedy text is transformers' own, while a learner moves the decision; and moved it is."""
    drafter, pair = subject.make(), subject.pair
    decoder = online_decoder(pair, drafter, drafter.trial, Serving(3, 8, GREEDY, 40))
    before = drafter.x
    texts = [decoder.serve(prompt, Ledger())[0] for prompt in PROMPTS]
    for prompt, text, wanted in zip(PROMPTS, texts, reference(pair, PROMPTS, 40), strict=True):
        at = next((i for i, (one, two) in enumerate(zip(text, wanted, strict=False)) if one != two), len(text))
        need(text == wanted, f"after {prompt} the text is {text[: at + 1]}, transformers' own {wanted[: at + 1]}")
    need(not drafter.trains or not torch.equal(drafter.x, before), "trains, but no update moved x")


def follows_several_texts(subject: Subject) -> None:
    """Served side by side, every text is transformers' own, whoever comes and goes beside it."""
    drafter, pair = subject.make(), subject.pair
    if drafter.alone:
        return  # it says why it follows one text at a time
    decoder = online_decoder(pair, drafter, drafter.trial, Serving(3, 8, GREEDY, 24), rows=2)
    texts = [request.tokens for request in in_order(decoder.serve_all(PROMPTS, Ledger()))]
    for prompt, text, wanted in zip(PROMPTS, texts, reference(pair, PROMPTS, 24), strict=True):
        need(text == wanted, f"in two rows, after {prompt}, the text is {text}, transformers' own {wanted}")


# What drafters that train keep besides


def one_flat_vector(subject: Subject) -> None:
    """The decision is one flat float32 vector: x is a copy of what was loaded."""
    drafter = subject.make()
    x, other = drafter.x, elsewhere(drafter, torch.Generator().manual_seed(1))
    need(x.shape == (drafter.dimension,), f"x has shape {tuple(x.shape)}, dimension is {drafter.dimension}")
    need(x.dtype == torch.float32, f"x is {x.dtype}: it must be float32")
    drafter.load(other)
    need(torch.equal(drafter.x, other), f"after load(x) it serves x moved by {float((drafter.x - other).abs().max())}")
    drafter.x.zero_()
    need(torch.equal(drafter.x, other), "writing into x changed what is served: return a copy")
    drafter.load(x)
    need(torch.equal(drafter.x, x), "loading x_1 again does not bring it back")


def gradient_is_the_derivative(subject: Subject) -> None:
    """The gradient of every loss is the slope of its value, by finite differences."""
    drafter, piece = subject.warmed()
    for objective in OBJECTIVES:
        for loss in drafter.losses([piece], objective)[:3]:
            exact = widened(loss)
            x = drafter.x.double()
            value, grad = exact.value_and_grad(x)
            told = f"loss={objective.divergence!r}, positions={objective.positions!r}"
            need(torch.equal(value, exact.value(x)), f"{told}: value and value_and_grad disagree")
            need(torch.equal(grad, exact.grad(x)), f"{told}: grad and value_and_grad disagree")
            noise = torch.randn(len(x), generator=torch.Generator().manual_seed(2)) / len(x) ** 0.5
            direction = grad / grad.norm() + noise
            of_theory = is_dataclass(exact)
            step = 1e-6 if of_theory else 1e-3  # transformers' norms compute in float32 whatever the model's dtype
            measured = float((exact.value(x + step * direction) - exact.value(x - step * direction)) / (2 * step))
            kinks = objective.divergence in ("tv", "speed")
            tolerance = 1e-6 if of_theory else 1e-2 if kinks else 1e-3
            slope = float(grad @ direction)
            need(
                isclose(measured, slope, rel_tol=tolerance),
                f"{told}: grad says {slope:.6g} along a line, values {measured:.6g}",
            )


def loss_is_of_the_law_drafted(subject: Subject) -> None:
    """The loss of one position, first drafted in a step, is the KL from the very law that was reported there."""
    drafter, _ = subject.warmed()
    steps, piece = serve(subject.pair, drafter)
    at, checked = piece.start, 0
    for step in steps:
        if step.draft_probs is not None and step.drafted:
            late = piece.since(at)
            rows = {name: getattr(late, name) for name in ("target_probs", "features", "wrong")}
            one = replace(late, stop=at + 1, **{k: None if v is None else v[:1] for k, v in rows.items()})
            (found,) = drafter.losses([one], Objective(temperature=SAMPLED.temperature))
            first = drafter.first_in_step(found)
            if first is None:
                return  # its loss is not about the law that was drafted from
            loss, x = first
            target, draft = one.target_probs[0].double(), step.draft_probs[0].double()
            wanted = float(torch.xlogy(target, target).sum() - (target * draft.log()).sum())
            value = float(loss.value(x))
            need(
                isclose(value, wanted, rel_tol=1e-3, abs_tol=1e-4),
                f"position {at}: the loss is {value:.6g}, KL(target ‖ draft) {wanted:.6g}",
            )
            checked += 1
        at += len(step.tokens)
    need(checked > 5, f"only {checked} steps drafted anything")


def losses_are_convex(subject: Subject) -> None:
    """A drafter that says it is convex has losses below their chords and above their tangents."""
    drafter, piece = subject.warmed()
    (loss, *_), rng = drafter.losses([piece], DISTIL), torch.Generator().manual_seed(4)
    for _ in range(20):
        x, y = elsewhere(drafter, rng), elsewhere(drafter, rng)
        at_x, at_y, middle = (float(loss.value(point)) for point in (x, y, (x + y) / 2))
        need(middle <= (at_x + at_y) / 2 + 1e-5, f"between values {at_x:.6g} and {at_y:.6g} it is {middle:.6g}, above")
        tangent = at_x + float(loss.grad(x) @ (y - x))
        need(at_y >= tangent - 1e-4, f"the tangent at x gives {tangent:.6g} at y, above the value {at_y:.6g}")


Law = Callable[[Subject], None]
ALWAYS: tuple[Law, ...] = (
    drafts_laws,
    samples_what_it_reports,
    made_alike,
    follows_the_text,
    remembers_by_its_state,
    keeps_the_greedy_text,
    follows_several_texts,
)
TRAINING: tuple[Law, ...] = (one_flat_vector, gradient_is_the_derivative, loss_is_of_the_law_drafted)


def laws(kind: type[Drafter]) -> dict[str, Law]:
    """The laws that a class of drafters is to keep, by name; all others rest on the first."""
    found = (*ALWAYS, *TRAINING * kind.trains, *(losses_are_convex,) * kind.convex)
    return {law.__name__: law for law in found}


def fault(law: Law, subject: Subject) -> str:
    """What is wrong with the drafter by this law; empty if it holds."""
    try:
        with users_own(subject.name if isinstance(subject.name, str) else ""):
            try:
                law(subject)
            except Broken as broken:
                return str(broken)
    except ValueError as error:
        return str(error)
    except (Exception, SystemExit) as error:
        return f"raised {type(error).__name__}: {error}"
    return ""
