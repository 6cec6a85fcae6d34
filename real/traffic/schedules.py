"""Schedules: in which order domains are served, as text.

A schedule is parts joined by commas, each with the number of its prompts:

- ``prose:40`` stays in one domain;
- ``mix(prose,c):60`` moves slowly: the second domain's share grows evenly from none to all;
- ``return(prose,c;10):80`` goes round the domains, 10 prompts of each at a time;
- ``tenants(prose=2,sql=1):60`` has its users' domains interleaved at random, two of prose for one of sql;
- ``adverse(prose,c,sql):60`` never serves the domain of the request before: what was just learned is never what comes.
"""

import re
from collections.abc import Callable, Sequence
from random import Random

Stretch = tuple[str, list[str]]
"""What a stretch between two shifts is called, and the domain of each of its prompts."""

PART = re.compile(r"(?P<kind>[a-z]+)\((?P<given>[^()]*)\):(?P<count>[0-9]+)")
MOST = 1_000_000
"""Prompts of one part: a stream is held in memory."""
BETWEEN_PARTS = re.compile(r",(?![^(]*\))")


def stretches(schedule: str, seed: int, known: Sequence[str]) -> list[Stretch]:
    """The domains of a schedule's prompts, in order.

    Args:
        schedule: the text.
        seed: of the kinds that draw.
        known: the domains there are.

    Raises:
        ValueError: for a schedule that does not parse or a domain that is not there.
    """
    found: list[Stretch] = []
    for number, part in enumerate(BETWEEN_PARTS.split(schedule)):
        try:
            _check_count(part)
            found += _part(part, Random(f"{seed}/{number}/{part}"), known)
        except ValueError as error:
            raise ValueError(f"schedule={schedule!r}: {error}") from None
    return found


def _check_count(part: str) -> None:
    count = part.rpartition(":")[2]
    if count.isdecimal() and (len(count) > 9 or int(count) > MOST):
        raise ValueError(f"{part!r} asks for more than {MOST:,} prompts; serve fewer, or several schedules")


def _part(part: str, random: Random, known: Sequence[str]) -> list[Stretch]:
    if "(" not in part:
        domain, _, count = part.partition(":")
        _check([domain], known)
        if not count.isdecimal() or int(count) < 1:
            raise ValueError(f"{part!r} must be domain:count, for example {domain}:40, the count at least 1")
        return [(domain, [domain] * int(count))]
    match = PART.fullmatch(part)
    if match is None or int(match["count"]) < 1 or match["kind"] not in KINDS:
        raise ValueError(
            f"{part!r} must be one of {', '.join(f'{text}:40' for text, _ in KINDS.values())}, the count at least 1"
        )
    text, serve = KINDS[match["kind"]]
    try:
        return serve(match["given"], int(match["count"]), random, known)
    except _Malformed:
        raise ValueError(f"{part!r} must be like {text}:40") from None


class _Malformed(Exception):
    """What is in the brackets does not have its kind's form."""


def _mix(given: str, count: int, random: Random, known: Sequence[str]) -> list[Stretch]:
    domains = _domains(given, known)
    if len(domains) != 2:
        raise _Malformed
    return [(f"mix({given})", [domains[random.random() < (i + 0.5) / count] for i in range(count)])]


def _return(given: str, count: int, random: Random, known: Sequence[str]) -> list[Stretch]:
    names, _, period = given.partition(";")
    domains = _domains(names, known)
    if not period.isdecimal() or int(period) < 1:
        raise _Malformed
    size = int(period)
    starts = range(0, count, size)
    return [(domain, [domain] * min(size, count - start))
            for start, domain in ((start, domains[start // size % len(domains)]) for start in starts)]  # fmt: skip


def _tenants(given: str, count: int, random: Random, known: Sequence[str]) -> list[Stretch]:
    pairs = [tenant.partition("=")[::2] for tenant in given.split(",")]
    if len(pairs) < 2 or not all(weight.isdecimal() and int(weight) > 0 for _, weight in pairs):
        raise _Malformed
    domains = _domains(",".join(name for name, _ in pairs), known)
    return [(f"tenants({given})", random.choices(domains, [int(weight) for _, weight in pairs], k=count))]


def _adverse(given: str, count: int, random: Random, known: Sequence[str]) -> list[Stretch]:
    domains = _domains(given, known)
    served = [random.choice(domains)]
    while len(served) < count:
        served.append(random.choice([domain for domain in domains if domain != served[-1]]))
    return [(f"adverse({given})", served)]


KINDS: dict[str, tuple[str, Callable[[str, int, Random, Sequence[str]], list[Stretch]]]] = {
    "mix": ("mix(prose,c)", _mix),
    "return": ("return(prose,c;10)", _return),
    "tenants": ("tenants(prose=2,sql=1)", _tenants),
    "adverse": ("adverse(prose,c,sql)", _adverse),
}
"""Kind → its form, and what it serves."""


def _domains(given: str, known: Sequence[str]) -> list[str]:
    domains = given.split(",")
    if len(domains) < 2 or len(set(domains)) < len(domains):
        raise _Malformed
    _check(domains, known)
    return domains


def _check(domains: Sequence[str], known: Sequence[str]) -> None:
    for domain in domains:
        if domain not in known:
            raise ValueError(f"no domain {domain!r}; there are {', '.join(known)}")
