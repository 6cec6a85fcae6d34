# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
"""On a device that is told apart from the host (``tests/fake_cuda.py``): texts, waits, memory, and planted faults."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from real.drafters import DRAFTERS, make_drafter  # noqa: E402
from real.models.compiled import Compiled  # noqa: E402
from real.models.hf import Pair  # noqa: E402
from real.models.random import perturbed, random_model  # noqa: E402
from real.models.sampling import Sampling  # noqa: E402
from real.serving import step as stepping  # noqa: E402
from real.serving.step import Session, alone, generate  # noqa: E402
from real.verify.lossless import random_prompts, reference  # noqa: E402
from tests.fake_cuda import FakeCuda, Fault  # noqa: E402

GAMMA, NEW, SLOTS = 3, 16, 64
GREEDY, SAMPLED = Sampling(0.0), Sampling(1.0)
PROMPTS = random_prompts(4, 128, 7)
ONCE = ["copy to the host"]
"""A step's waits: its outcome is read."""
LOOKED_UP = {"ngram": GAMMA - 1, "backoff": GAMMA - 1, "mixture": 2 * (GAMMA - 1) + 1}
"""Drafters that look up on the host what they drafted → for how many tokens they wait besides. The mixture has two such
parts, and reads its draft once more to learn from it."""


def pair_of(layers: int = 1) -> Pair:
    target = random_model("llama", 0, "float64", vocab=128, layers=layers)
    return Pair(target, perturbed(target, 0.05, 1), None)


@pytest.fixture(scope="module")
def wanted():
    return reference(pair_of(), PROMPTS, NEW)


@contextmanager
def on_device(captured: bool = True) -> Iterator[tuple[FakeCuda, Pair]]:
    """The device, and a pair on it; captured in graphs of what torch would have compiled."""
    pair = pair_of()
    with FakeCuda() as device, patch.object(torch, "compile", lambda forward, **_: forward):
        for model in (pair.target.model, pair.draft.model):
            model.to("cuda")
        if captured:
            pair.compile((GAMMA,), SLOTS)
            assert pair.target.compiled is not None
            assert pair.draft.compiled is not None
        yield device, pair


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("name", ["", *DRAFTERS])
def test_a_step_waits_for_the_device_once(name, rows):
    """What is looked up on the host is waited for besides, no more and no less."""
    with on_device(captured=False) as (device, pair):
        session = Session(pair.target, make_drafter(name, pair) if name else None, rows)
        for prompt in PROMPTS[:rows]:
            session.enter(prompt, NEW)
        for sampling in (GREEDY, SAMPLED) * 2:
            lengths = [session.room(text, GAMMA) for text in session.texts]
            uniforms = session.uniforms(lengths, sampling, torch.Generator().manual_seed(0))
            device.waits.clear()
            stepping.step(session, lengths, sampling, uniforms)
            assert device.waits == ONCE * (1 + LOOKED_UP.get(name, 0))


@pytest.mark.parametrize("captured", [False, True], ids=["eager", "captured"])
def test_greedy_text_is_transformers_own(wanted, captured):
    with on_device(captured) as (_, pair):
        drafter = make_drafter("adapter", pair)
        for prompt, want in zip(PROMPTS[:2], wanted[:2], strict=True):
            session = alone(pair.target, drafter, prompt, NEW)
            list(generate(session, GAMMA, GREEDY))
            assert session.texts[0].tokens[len(prompt) :] == want


def complaints(wanted, steps: int, plant: Callable = nullcontext) -> set[str]:
    """What is wrong with so many captured steps, request after request: their text, waits, memory and addresses.

    From the third request on, nothing more is asked of the driver, and as much is held after one as after another.
    """
    found = set()
    with on_device() as (device, pair):
        drafter, taken = make_drafter("adapter", pair), 0
        places, held = addresses(pair), list[tuple[int, int]]()
        with plant(pair):
            while taken < steps or len(held) < 4:
                prompt, want = PROMPTS[0], wanted[0]
                session = alone(pair.target, drafter, prompt, NEW)
                device.waits.clear()
                for _ in generate(session, GAMMA, GREEDY):
                    found |= {"waits"} if device.waits != ONCE else set()
                    device.waits.clear()
                    taken += 1
                found |= {"text"} if session.texts[0].tokens[len(prompt) :] != want else set()
                del session
                held.append((device.memory.asked, device.memory.live))
                found |= {"addresses"} if addresses(pair) != places else set()
        return found | ({"memory"} if len(set(held[2:])) > 1 else set())


def addresses(pair) -> list[int]:
    """Where everything lies that a graph reads or writes."""
    found = []
    for model in (pair.target, pair.draft):
        made = model.compiled
        found += [part.data_ptr() for part in (*made._ids.values(), *made._at.values(), made._offsets)]
        found += [part.data_ptr() for layer in made._memory.slots for part in (layer.keys, layer.values)]
        found += [part.data_ptr() for part in (*model.model.parameters(), *model.model.buffers())]
    return found


@pytest.mark.slow
def test_over_a_thousand_steps_nothing_is_allocated_and_nothing_moves(wanted):
    assert complaints(wanted, 1000) == set()


def planted(owner, name: str, fault: Callable) -> Callable:
    """Replaces ``owner.name`` by what ``fault`` makes of it."""
    return lambda pair: patch.object(owner, name, fault(getattr(owner, name)))


def beside(what: Callable) -> Callable:
    """A fault that does something with the logits before they are judged."""

    def fault(judge):
        def judged(self, logits):
            what(logits)
            return judge(self, logits)

        return judged

    return planted(Sampling, "judge", fault)


def kept_ids(call):
    """The ids are put in place of the buffer that the graph reads."""

    def called(self, ids, cache, width):
        padded = torch.zeros_like(self._ids[width])
        padded[:, : ids.shape[1]] = ids
        self._ids[width] = padded
        torch.add(self._offsets[:width], cache.length, out=self._at[width])
        hidden = self._runs[width]()[:, : ids.shape[1]]
        cache.extend(ids.shape[1])
        return hidden

    return called


def stays_where_it_was(call):
    """Positions are those of the capture: the host's number of them was baked into the graph."""

    def called(self, ids, cache, width):
        with patch.object(torch, "add", lambda *args, **kwargs: None):
            return call(self, ids, cache, width)

    return called


def moves_its_cache(call):
    """Keys and values are copied into fresh memory before every forward, as a growing cache does."""

    def called(self, ids, cache, width):
        for layer, lent in zip(self._memory.slots, cache.slots, strict=True):
            layer.keys, layer.values = layer.keys.clone(), layer.values.clone()
            lent.keys, lent.values = layer.keys, layer.values
        return call(self, ids, cache, width)

    return called


LEFT: list = []
FAULTS: dict[str, tuple[Callable, set[str] | type]] = {
    "a tensor left on the host": (
        planted(stepping, "sent", lambda _: lambda values, device: torch.as_tensor(values)), Fault
    ),
    "an item in the loop": (beside(lambda logits: float(logits.max())), {"waits"}),
    "a number asked as a condition": (beside(lambda logits: bool(logits.isfinite().all())), {"waits"}),
    "a shape that depends on numbers": (beside(lambda logits: logits[logits > 0]), {"waits"}),
    "a host that waits for all": (beside(lambda logits: torch.cuda.synchronize()), {"waits"}),
    "a copy to the host": (beside(lambda logits: logits.cpu()), {"waits"}),
    "a copy that is read too early": (beside(lambda logits: logits.to("cpu", non_blocking=True)), {"waits"}),
    "an upload that waits": (
        planted(stepping, "sent", lambda _: lambda values, device: torch.as_tensor(values).to(device)), {"waits"}
    ),
    "an upload of memory that is not pinned": (
        planted(stepping, "sent", lambda _: lambda values, to: torch.as_tensor(values).to(to, non_blocking=True)),
        {"waits"},
    ),
    "numpy in the loop": (beside(lambda logits: logits.numpy()), Fault),
    "logits that are kept": (beside(lambda logits: LEFT.append(logits.clone())), {"memory"}),
    "a buffer that is replaced": (planted(Compiled, "__call__", kept_ids), {"text", "addresses"}),
    "a position baked into a graph": (planted(Compiled, "__call__", stays_where_it_was), {"text"}),
    "a cache that moves": (planted(Compiled, "__call__", moves_its_cache), {"addresses"}),
}  # fmt: skip
"""What may go wrong only on a device → how it is planted, and what must be said of it."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(wanted, name):
    plant, want = FAULTS[name]
    if isinstance(want, type):
        with pytest.raises(want):
            complaints(wanted, 32, plant)
    else:
        assert complaints(wanted, 32, plant) >= want
    LEFT.clear()


def test_without_a_fault_there_is_nothing_to_say(wanted):
    assert complaints(wanted, 32) == set()
    assert len(FAULTS) >= 10


def test_weights_left_on_the_host_are_refused():
    pair = pair_of()
    with FakeCuda():
        pair.target.model.to("cuda")
        with pytest.raises(Fault, match="on the device and on the host"):
            list(generate(alone(pair.target, make_drafter("independent", pair), [5, 6, 7], 8), GAMMA, GREEDY))


@pytest.mark.parametrize("inside", [lambda x: float(x.sum()), lambda x: x + torch.ones(3).to("cuda")])
def test_a_capture_refuses_a_wait(inside):
    with FakeCuda():
        x = torch.ones(3, device="cuda")
        with pytest.raises(Fault, match="while a graph is captured"), torch.cuda.graph(torch.cuda.CUDAGraph()):
            inside(x)


def test_a_graph_replays_what_it_saw_on_the_same_memory():
    """Numbers of the host are those of the capture; before a replay the output holds nothing."""
    with FakeCuda():
        x, graph, factor = torch.ones(3, device="cuda"), torch.cuda.CUDAGraph(), 2.0
        with torch.cuda.graph(graph):
            y = (x * factor).cumsum(0)
        assert y.isnan().all()
        factor = 5.0
        for value in (1.0, 4.0):
            x.fill_(value)
            graph.replay()
            assert y.tolist() == [2 * value, 4 * value, 6 * value]
