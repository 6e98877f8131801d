"""The limit of open files is raised as far as it may be; too low a one is said."""

import resource

import pytest

from hpc_recon.run import descriptors

INFINITY = resource.RLIM_INFINITY


@pytest.fixture
def limits(monkeypatch):
    """Return a function that pretends limits, and what was set then."""
    found = {}

    def pretend(soft, hard):
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda _, pair: found.update(set=pair))
        return found

    return pretend


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        (1024, 4096, None),
        (1024, 524288, (5100, 524288)),
        (1024, INFINITY, (5100, INFINITY)),
        (INFINITY, INFINITY, None),
    ],
)
def test_a_thousand_workers(limits, soft, hard, expected):
    found = limits(soft, hard)
    warning = descriptors.raise_limit(1000)
    if hard == 4096:
        assert found == {"set": (4096, 4096)}
        assert "1,000 workers need about 5,100 open files" in warning
        assert "allows 4,096" in warning
        assert "at most 799 jobs" in warning
    else:
        assert warning is None
        assert found.get("set") == expected


def test_few_workers_change_nothing(limits):
    found = limits(1024, 524288)
    assert descriptors.raise_limit(16) is None
    assert not found


def test_the_real_limit_can_be_raised():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, before[1]))
        assert descriptors.raise_limit(100) is None
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 600
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
