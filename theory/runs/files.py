"""How files are written and owned: whole or not at all, by one process at a time.

write_whole(path, content)              text or bytes at once
with atomic(path) as partial: …         what other libraries write, a file or a folder
with owned(path): …                     for as long as a process works on what it will resume
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOLCK, ENOSYS, EOPNOTSUPP
from pathlib import Path
from secrets import token_hex

try:
    import fcntl
except ModuleNotFoundError:  # Windows: files are whole there too, but two processes are not kept apart
    fcntl = None

LEFT = r"(\.\w+)?\.\d+-[0-9a-f]{8}\.partial"
"""What ``atomic`` adds to a name, before which the name may have a suffix."""

LOCK = r"\.\w+\.lock"
"""What ``owned`` adds to a name with a suffix."""


class Owned(ValueError):
    """Another process works on the same file or folder."""


class atomic:
    """``with atomic(path) as partial``: write ``partial``; it becomes ``path`` only if the block ends well.

    It may be a file, or a folder where none is yet. Its name is the writer's own, so that two never write the same.
    """

    def __init__(self, path: Path):
        self.path, self.partial = path, path.with_name(f"{path.name}.{os.getpid()}-{token_hex(4)}.partial")

    def __enter__(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self.partial

    def __exit__(self, kind, error, traceback) -> None:
        try:
            if kind is None:
                os.replace(self.partial, self.path)
        finally:
            _remove(self.partial)


def write_whole(path: Path, content: str | bytes, private: bool = False) -> None:
    """Write a whole file, text as UTF-8; OSError (full disk, no permission) leaves what was there.

    private: for the user's eyes alone (mode 0600), from its first byte.
    """
    with atomic(path) as partial:
        if private:
            partial.touch(0o600, exist_ok=False)
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def for_user(path: str, flags: int) -> int:
    """An ``opener`` of files that are for the user's eyes alone: mode 0600, from the first byte."""
    return os.open(path, flags, 0o600)


@contextmanager
def owned(path: Path, wait: bool = False) -> Iterator[None]:
    """Keep a file or folder, and the files that only add a suffix to its name, to this process.

    The system lets go of it when the process ends, however it ends. What a writer that was killed had left half
    written is removed first.

    Args:
        path: need not be there.
        wait: until another lets go of it.

    Raises:
        Owned: if another process has it.
    """
    whole = path.absolute()
    lock = whole.with_name(f"{whole.name}.lock")
    made = [folder for folder in lock.parents if not folder.exists()]
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(lock, wait)
    if descriptor is None:
        raise Owned(f"{path}: another process is writing it; wait until that has ended, or choose another name")
    try:
        _clear(whole)
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)
        with suppress(OSError):  # they hold something now
            for folder in made:
                folder.rmdir()


def _locked(lock: Path, wait: bool) -> int | None:
    """The descriptor of a lock that is held; None if another holds it."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            if error.errno not in (ENOSYS, ENOLCK, EOPNOTSUPP):  # a file system without locks is used without them
                raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        os.close(descriptor)  # its last owner removed it meanwhile


def _clear(path: Path) -> None:
    """Remove what a writer of the path, or of a file in the folder, left behind: half a file, a lock without owner."""
    for folder, name in ((path.parent, re.escape(path.name)), (path, ".*")):
        for left in folder.iterdir() if folder.is_dir() else ():
            if re.fullmatch(name + LEFT, left.name):
                _remove(left)
            elif re.fullmatch(name + LOCK, left.name) and _is_empty(left):
                _unlock(left)


def _is_empty(path: Path) -> bool:
    with suppress(OSError):  # its owner may remove it at any time
        return path.is_file() and path.stat().st_size == 0
    return False


def _unlock(lock: Path) -> None:
    """Remove a lock that no process holds."""
    descriptor = None if fcntl is None else _locked(lock, wait=False)
    if descriptor is not None:
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
