"""Workers on this machine; that they work, encrypted and with what environment, is in test_clusters and test_cuda."""

import contextlib
import urllib.error
import urllib.request

import pytest

from hpc_recon.run import here, security


def pages(cluster):
    """Return where the scheduler listens for HTTP."""
    server = cluster.scheduler.http_server
    return server.address, server.port


def test_without_web_pages_two_clusters_keep_out_of_each_others_way(tmp_path):
    """They would both want dask's own port, 8787."""
    with contextlib.ExitStack() as stack:
        credentials = stack.enter_context(security.certificates(tmp_path / "tls"))
        found = [
            pages(stack.enter_context(here.open_cluster([], security=credentials, dashboard=False))) for _ in range(2)
        ]
        assert [address for address, _ in found] == ["127.0.0.1"] * 2
        ports = {port for _, port in found}
        assert len(ports) == 2
        assert 8787 not in ports
        for port in ports:
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=60)
