"""Open files that a controller may have: dask's scheduler holds about three connections for every worker."""

from __future__ import annotations

import resource

#: Measured: 23 open files with one job, 2.6 more for each further one; twice that while connections come and go.
PER_WORKER = 5
OTHERS = 100


def raise_limit(n_workers: int) -> str | None:
    """Let this process open as many files as the system's administrator allows; warn if that is too few.

    Login nodes give programs 1,024 (the soft limit), which 300 workers use up; up to the hard limit a program may ask
    for more by itself.

    Returns
    -------
    str or None
        A warning for the user, if even the hard limit does not suffice for `n_workers`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = PER_WORKER * n_workers + OTHERS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    return (
        f"{n_workers:,} workers need about {needed:,} open files of the controller, but this machine allows {hard:,} "
        f"(ulimit -Hn), so connections may fail; use at most {max(1, (hard - OTHERS) // PER_WORKER):,} jobs, or have "
        "the limit raised"
    )
