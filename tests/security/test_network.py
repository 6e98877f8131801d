"""Nobody gets in: TLS with mutual authentication, and no other port open beyond this machine.

Controllers run as processes of their own, once with local workers and once with jobs; their real sockets are tried.
"""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from pathlib import Path

import psutil
import pytest

from hpc_recon.run import security

#: Seconds that a port gets to answer.
ANSWER_WITHIN = 20


def listening(run):
    """Return every address on which a process of a run listens."""
    found = set()
    for process in run.tree():
        try:
            connections = process.net_connections(kind="inet")
        except psutil.NoSuchProcess:
            continue  # a command that asks the scheduler has ended since
        found |= {(one.laddr.ip, one.laddr.port) for one in connections if one.status == psutil.CONN_LISTEN}
    return sorted(found)


def is_loopback(ip):
    return ipaddress.ip_address(ip).is_loopback


def reachable(ip):
    """Return an address under which a socket bound to `ip` is reached."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(ip, ip)


def say_plainly(address, text):
    """Return what a port answers to plain bytes; empty if it closes the connection."""
    with socket.create_connection(address, timeout=ANSWER_WITHIN) as stream:
        stream.sendall(text)
        try:
            return stream.recv(64)
        except (ConnectionError, TimeoutError):
            return b""


def greeting(address, context):
    """Return the first byte that a TLS port sends to a client, empty if it refuses the client, None if it keeps silent.

    dask's server speaks first. In TLS 1.3 a client learns only when it reads that its certificate was refused.
    """
    with socket.create_connection(address, timeout=ANSWER_WITHIN) as stream:
        try:
            with context.wrap_socket(stream) as secured:
                return secured.recv(1)
        except TimeoutError:
            return None
        except (ssl.SSLError, ConnectionError):
            return b""


def is_web_page(address):
    """Return whether a port answers to a browser; it is then no TLS port."""
    return say_plainly(address, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/")


def context_of(certificate=None, key=None):
    """Return a client's context that trusts every server: what is tested is whom the server trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def own_context(workspace):
    (folder,) = (workspace / "jobs").glob("tls-*")
    return context_of(folder / security.CERTIFICATE, folder / security.KEY)


def foreign_context(folder):
    """Return the context of a stranger who made a certificate the very same way."""
    certificate, key = security.make_certificate(datetime.datetime.now(tz=datetime.UTC))
    for name, content in (("foreign.pem", certificate), ("foreign.key", key)):
        (folder / name).write_bytes(content)
    return context_of(folder / "foreign.pem", folder / "foreign.key")


@pytest.fixture(params=["local", "slurm"])
def run(request, start):
    """A run in the middle of its work, with at least one worker."""
    if request.param == "slurm" and not beyond_loopback():
        pytest.skip("this machine has no address but loopback, on which a job's worker could be shown to listen")
    found = start(request.param, dashboard=True, n=2000, seconds=0.5)
    found.wait_for(found.receipts)
    found.kind = request.param
    return found


def beyond_loopback():
    """Return the addresses of this machine that others may reach."""
    return [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not is_loopback(address.address)
    ]


def test_only_the_owner_of_the_certificate_gets_in(run, tmp_path: Path) -> None:
    ports = listening(run)
    assert ports
    own, foreign, none = own_context(run.workspace), foreign_context(tmp_path), context_of()
    addresses = [(reachable(ip), port) for ip, port in ports]
    secured = [address for address in addresses if not is_web_page(address) and greeting(address, own)]
    # A scheduler, a nanny and a worker at least.
    assert len(secured) >= 3, (ports, secured)
    versions = set()
    for address in secured:
        with socket.create_connection(address, timeout=ANSWER_WITHIN) as stream, own.wrap_socket(stream) as connection:
            versions.add(connection.version())
        assert greeting(address, none) == b"", f"{address} lets a client in that has no certificate"
        assert greeting(address, foreign) == b"", f"{address} lets a client in that made its own certificate"
        assert say_plainly(address, b"GET / HTTP/1.0\r\n\r\n") == b"", f"{address} answers to plain bytes"
    assert versions == {"TLSv1.3"}


def test_what_others_can_reach_speaks_tls_and_nothing_else(run) -> None:
    ports = listening(run)
    own = own_context(run.workspace)
    plain = []
    open_to_others = [(ip, port) for ip, port in ports if not is_loopback(ip)]
    for ip, port in ports:
        address = (reachable(ip), port)
        answer = say_plainly(address, b"GET / HTTP/1.0\r\n\r\n")
        if not is_loopback(ip):
            assert answer == b"", f"{ip}:{port} is open to others and answers to plain bytes: {answer!r}"
            assert greeting(address, own), f"{ip}:{port} is open to others and is none of dask's TLS ports"
        elif answer:
            plain.append(address)
    if run.kind == "local":
        assert not open_to_others
    else:  # the test would prove nothing if the job's processes were not found, or listened on loopback alone
        assert len(open_to_others) >= 3, ports
    # The web pages of scheduler and worker are there, and were just shown to be on loopback.
    assert len(plain) >= 2, (ports, plain)
