"""What a receipt says of a tile: time, true peak memory, warnings, versions."""

import subprocess
import sys
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
        time.sleep(0.05)
        warnings.warn("said twice", UserWarning, stacklevel=1)
        warnings.warn("said twice", UserWarning, stacklevel=1)
        warnings.warn("a library's", RuntimeWarning, stacklevel=1)
    assert figures["seconds"] >= 0.05
    assert figures["warnings"] == ["said twice", "RuntimeWarning: a library's"]
    assert figures["versions"]["numpy"] == np.__version__
    assert figures["peak_bytes"] > 0


PEAKS = """
import numpy as np
from hpc_recon.run import measure
with measure.recorded() as figures:
    block = np.ones(64 * 2**20, dtype=np.uint8)
    del block
with measure.recorded() as later:
    pass
print(figures["peak_bytes"] - later["peak_bytes"])
"""


def test_the_peak_is_the_blocks_own():
    """A later, smaller block has a smaller peak; in a process of its own, whose heap has no room to hide it."""
    found = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    assert int(found.stdout) >= 60 * 2**20


def test_errors_pass_through():
    with pytest.raises(ValueError, match="mine"), measure.recorded():
        raise ValueError("mine")
