"""Calls on the workers of a Dask cluster: one that runs already, or a local one that ends with the calls."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from theory.runs.extras import needs

LOCAL = "local"
RETRIES = 3
"""How often a call whose worker died is given to another."""


def on_cluster(
    call: Callable[..., Any], tasks: Sequence[Sequence[Any]], address: str, workers: int = 1
) -> Iterator[Any]:
    """``call(*task)`` for every task → what each gives, in the order they end. A worker that dies is replaced.

    Args:
        call: a function of a module that the workers have too.
        tasks: its arguments.
        address: of a scheduler (``tcp://host:8786``), or ``local`` for a cluster of this machine.
        workers: of a local cluster, processes of one thread.

    Raises:
        ModuleNotFoundError: without ``distributed``.
        ValueError: if no scheduler answers.
    """
    try:
        from distributed import Client, LocalCluster, as_completed  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(needs("a cluster", "distributed"), name="distributed") from missing
    settings: dict[str, Any] = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    own = LocalCluster(**settings) if address == LOCAL else None
    try:
        with Client(address if own is None else own) as client:
            futures = [client.submit(call, *task, pure=False, retries=RETRIES) for task in tasks]
            for future in as_completed(futures):
                yield future.result()
    except OSError as error:
        raise ValueError(
            f"cluster={address!r}: no scheduler answers there ({error}); start one, or say local"
        ) from None
    finally:
        if own is not None:
            own.close()
