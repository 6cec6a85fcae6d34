"""State files are for their user's eyes alone."""

import os
import stat

import pytest

torch = pytest.importorskip("torch")

from real.models.state import load, save  # noqa: E402


@pytest.fixture
def open_to_all():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_a_state_is_readable_by_its_user_alone_from_its_first_byte(tmp_path, open_to_all, monkeypatch):
    """Also over a file that all can read, and over what an interrupted run has left."""
    path, seen = tmp_path / "s.safetensors", []
    replace = os.replace

    def watched(source, goal):
        seen.append(stat.S_IMODE(os.stat(source).st_mode))
        replace(source, goal)

    monkeypatch.setattr(os, "replace", watched)
    for name in (path, path.with_name(path.name + ".partial")):
        name.write_bytes(b"old")
        assert stat.S_IMODE(name.stat().st_mode) == 0o666
    save(path, {"x": torch.ones(3)}, {"made": "here"})
    assert seen == [0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert torch.equal(load(path)[0]["x"], torch.ones(3))
