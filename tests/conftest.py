"""One thread, float64 references, reproducible hypothesis; fresh games by ``make nightly``. Warnings are errors."""

import os

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
for size in ("COLUMNS", "LINES"):  # consoles made at import keep the size they find there
    os.environ.pop(size, None)

settings.register_profile(
    "suite",
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.register_profile(
    "nightly", settings.get_profile("suite"), max_examples=10_000, derandomize=False, print_blob=True
)
settings.load_profile("suite")  # pytest loads the one that it is given afterwards


@pytest.fixture(scope="session")
def compiler() -> None:
    """Skips where torch.compile does not work at all: without a C++ compiler there is nothing to test it with."""
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.zeros(3))
    except Exception as error:
        pytest.skip(f"torch.compile does not work here: {str(error).splitlines()[0]}")
