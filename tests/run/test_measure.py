"""What a receipt says of a tile: time, true peak memory, warnings, versions."""

import time
import warnings

import numpy as np
import pytest
import threadpoolctl

from hpc_recon.run import measure

pytestmark = pytest.mark.skipif(not measure.reset_peak_memory(), reason="the kernel does not let VmHWM be reset")


def test_figures_of_a_block():
    with measure.recorded() as figures:
        pools = threadpoolctl.threadpool_info()
        assert {p["num_threads"] for p in pools if p["user_api"] == "blas"} <= {1}
        block = np.ones(64 * 2**20, dtype=np.uint8)
        time.sleep(0.05)
        warnings.warn("said twice", UserWarning, stacklevel=1)
        warnings.warn("said twice", UserWarning, stacklevel=1)
        warnings.warn("a library's", RuntimeWarning, stacklevel=1)
        del block
    assert figures["seconds"] >= 0.05
    assert figures["warnings"] == ["said twice", "RuntimeWarning: a library's"]
    assert figures["versions"]["numpy"] == np.__version__
    # The peak is this block's own: a later, smaller one has a smaller peak.
    with measure.recorded() as later:
        pass
    assert figures["peak_bytes"] - later["peak_bytes"] >= 60 * 2**20


def test_errors_pass_through():
    with pytest.raises(ValueError, match="mine"), measure.recorded():
        raise ValueError("mine")
