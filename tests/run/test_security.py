"""Certificates: readable by their owner only, usable, and gone at the end."""

import stat

import pytest

from hpc_recon.run import security


def test_certificates_are_private_valid_and_removed(tmp_path):
    folder = tmp_path / "jobs" / "tls-abc"
    with security.certificates(folder) as credentials:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
        assert credentials.require_encryption
        for role in ("scheduler", "worker", "client"):
            assert credentials.get_connection_args(role)["ssl_context"] is not None
    assert not folder.exists()


def test_certificates_are_removed_after_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), security.certificates(tmp_path / "tls"):
        raise RuntimeError("stop")
    assert not (tmp_path / "tls").exists()


def test_a_dry_run_only_names_the_files(tmp_path):
    credentials = security.of_files(tmp_path / "absent")
    assert credentials.get_tls_config_for_role("worker")["key"] == str(tmp_path / "absent" / "key.pem")
    assert not (tmp_path / "absent").exists()
