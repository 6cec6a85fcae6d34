"""Calls in several processes at once, which end with the one that started them, however that ends.

Every worker holds a connection to the process that started it. It tells over it how far it is, and ends when the other
end is gone: the system closes that even if the process was killed.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from threading import Event, Thread
from typing import Any

from joblib import Parallel, delayed

Tell = Callable[..., Any]
"""Told how far a call is, in words of its own."""
BREATH = 0.01
"""Seconds until the next worker is taken in, after one that could not be."""
_parent: list[Connection] = []
"""The connection of this process, if it is a worker."""


def at_once(call: Callable[..., Any], tasks: Sequence[Sequence[Any]], jobs: int, tell: Tell = print) -> Iterator[Any]:
    """``call(*task, tell)`` for every task, ``jobs`` at a time → what each gives, in the order they end.

    With one job, or one task, all is done in this process; there are never more workers than tasks.

    Args:
        call: what is called, a function of a module.
        tasks: its arguments.
        jobs: how many at a time.
        tell: called in this process with what a call told.

    Raises:
        ChildProcessError: if a worker was killed.
    """
    if min(jobs, len(tasks)) <= 1:
        yield from (call(*task, tell) for task in tasks)
        return
    key, over = os.urandom(32), Event()
    with Listener(backlog=len(tasks), authkey=key) as listener:
        Thread(target=_accept, args=(listener, tell, over), daemon=True).start()
        attached: dict[str, Any] = {"initializer": _attach, "initargs": (listener.address, key)}
        workers = Parallel(n_jobs=min(jobs, len(tasks)), return_as="generator_unordered", **attached)
        try:
            yield from workers(delayed(_work)(call, task) for task in tasks)  # pyright: ignore[reportReturnType]
        except BrokenProcessPool:
            raise ChildProcessError(
                "a worker process was killed, most often because memory ran out; what is done is kept: run the same "
                f"again, with fewer jobs than {jobs} if memory is short"
            ) from None
        finally:
            over.set()


def _accept(listener: Listener, tell: Tell, over: Event) -> None:
    """Take in the workers as they come, each on a thread of its own, until all is ``over`` and the listener closed."""
    while not over.is_set():
        try:
            worker = listener.accept()
        except (AuthenticationError, EOFError, OSError):  # none of ours, or gone at once; the others still come
            over.wait(BREATH)
        else:
            Thread(target=_listen, args=(worker, tell), daemon=True).start()


def _listen(worker: Connection, tell: Tell) -> None:
    with suppress(EOFError, OSError):
        while True:
            tell(*worker.recv())


def _attach(address: Any, key: bytes) -> None:
    """A worker begins: it ends when the process that started it is gone."""
    try:
        _parent[:] = [Client(address, authkey=key)]
    except (EOFError, OSError):
        os._exit(1)
    Thread(target=_end_with, args=(_parent[0],), daemon=True).start()


def _end_with(parent: Connection) -> None:
    with suppress(EOFError, OSError):
        parent.recv()
    os._exit(1)


def _work(call: Callable[..., Any], task: Sequence[Any]) -> Any:
    return call(*task, lambda *said: _parent[0].send(said))
