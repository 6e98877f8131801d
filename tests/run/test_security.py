"""Certificates: readable by their owner only, usable, short-lived, and gone at the end."""

from __future__ import annotations

import datetime
import os
import ssl
import stat

import pytest
from cryptography import x509

from hpc_recon.core.errors import ClusterError
from hpc_recon.run import security


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277, 0o777], ids=oct)
def test_certificates_are_private_valid_and_removed_whatever_the_umask(tmp_path, umask):
    folder = tmp_path / "tls-abc"
    before = os.umask(umask)
    try:
        with security.certificates(folder) as credentials:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
            assert len(list(folder.iterdir())) == 2
            assert credentials.require_encryption
            for role in ("scheduler", "worker", "client"):
                assert credentials.get_connection_args(role)["ssl_context"] is not None
    finally:
        os.umask(before)
    assert not folder.exists()


def test_certificates_are_removed_after_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), security.certificates(tmp_path / "tls"):
        raise RuntimeError("stop")
    assert not (tmp_path / "tls").exists()


def test_a_folder_that_is_there_already_is_neither_used_nor_removed(tmp_path):
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "key.pem").write_text("somebody's")
    with pytest.raises(FileExistsError), security.certificates(tmp_path / "tls"):
        pytest.fail("a folder was shared")
    (tmp_path / "link").symlink_to(tmp_path / "tls")
    with pytest.raises(FileExistsError), security.certificates(tmp_path / "link"):
        pytest.fail("a link was followed")
    assert (tmp_path / "tls" / "key.pem").read_text() == "somebody's"


def test_a_disk_that_does_not_keep_permissions(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "chmod", lambda *_, **__: None)  # as on a mounted Windows disk
    original = os.mkdir
    monkeypatch.setattr(os, "mkdir", lambda path, mode=0o777, **more: original(path, 0o755, **more))
    with pytest.raises(ClusterError, match="by its owner alone"), security.certificates(tmp_path / "tls"):
        pytest.fail("a key was written where others can read it")
    assert not (tmp_path / "tls").exists()


def test_a_certificate_lasts_a_month_and_bears_a_clock_that_is_behind():
    now = datetime.datetime(2030, 5, 1, tzinfo=datetime.UTC)
    found = x509.load_pem_x509_certificate(security.make_certificate(now)[0])
    assert now - found.not_valid_before_utc == datetime.timedelta(days=1)
    assert found.not_valid_after_utc - now == datetime.timedelta(days=30)


def test_every_run_has_a_key_of_its_own():
    now = datetime.datetime.now(tz=datetime.UTC)
    first, second = security.make_certificate(now), security.make_certificate(now)
    assert first[1] != second[1]
    assert (
        x509.load_pem_x509_certificate(first[0]).serial_number
        != x509.load_pem_x509_certificate(second[0]).serial_number
    )


@pytest.mark.parametrize("days", [-2, 31])
def test_no_connection_outside_of_its_time(tmp_path, days):
    """Client and server in memory: the certificate of another time is refused by both."""
    now = datetime.datetime.now(tz=datetime.UTC)
    for name, when in (("now", now), ("then", now - datetime.timedelta(days=days))):
        certificate, key = security.make_certificate(when)
        (tmp_path / f"{name}.pem").write_bytes(certificate)
        (tmp_path / f"{name}.key").write_bytes(key)
    assert handshake(tmp_path / "now.pem", tmp_path / "now.key")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"expired|not yet valid"):
        handshake(tmp_path / "then.pem", tmp_path / "then.key")


def handshake(certificate, key):
    """Let a client and a server with one certificate meet in memory, both as strict as Python can be."""
    ends = []
    server_in, server_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    for purpose, is_server in ((ssl.Purpose.CLIENT_AUTH, True), (ssl.Purpose.SERVER_AUTH, False)):
        context = ssl.create_default_context(purpose, cafile=str(certificate))
        context.load_cert_chain(certificate, key)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        incoming, outgoing = (server_in, server_out) if is_server else (server_out, server_in)
        ends.append(context.wrap_bio(incoming, outgoing, server_side=is_server))
    left = set(ends)
    for _ in range(10):
        for end in list(left):
            try:
                end.do_handshake()
                left.discard(end)
            except ssl.SSLWantReadError:
                continue
    return not left


def test_a_dry_run_only_names_the_files(tmp_path):
    credentials = security.of_files(tmp_path / "absent")
    assert credentials.get_tls_config_for_role("worker")["key"] == str(tmp_path / "absent" / "key.pem")
    assert not (tmp_path / "absent").exists()
