"""How fast the latest requests were beside plain decoding, which is timed after them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from real.measure.contest import Totals
from real.measure.intervals import Interval, interval
from real.models.hf import Pair
from real.serving.decoder import Decoder
from real.serving.ledger import Ledger
from real.serving.request import Request
from real.serving.settings import Serving


@dataclass
class Served:
    """A request that was served alone, as it was asked for, and its seconds; ``plain``: of plain decoding, later."""

    request: Request
    serving: Serving
    seconds: float
    plain: float | None = None


def net(latest: Iterable[Served], pair: Pair) -> Interval | None:
    """Tokens over seconds of these requests, over the same of plain decoding just as many tokens; None for no request.

    Plain decoding draws a text of its own and looks neither for end tokens nor for stop strings, for it must not end
    before. What looking for them costs is charged to the requests alone.
    """
    served = list(latest)
    if not served:
        return None
    for one in served:
        if one.plain is None:
            text, tokens, ledger = one.request.text, one.request.counts.tokens, Ledger(pair.device)
            plain = Decoder(pair, None, replace(one.serving, costs=()))
            with ledger.serving(), plain.one_text(text.tokens[: text.prompt_length], tokens, ledger) as session:
                plain.finish_text(session, ledger)
            one.plain = ledger.total
    ours = [{"tokens": one.request.counts.tokens, "seconds_total": one.seconds} for one in served]
    theirs = [{"tokens": one.request.counts.tokens, "seconds_total": one.plain} for one in served]
    return interval(Totals.of({"ours": ours, "plain": theirs}).ratio("ours", "plain"))
