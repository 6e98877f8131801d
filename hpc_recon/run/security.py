"""TLS certificates of one run, in a folder that only its owner can read, removed when the run ends.

A dask scheduler without TLS runs any code that anyone on the network sends to it. dask's own temporary
certificates are valid for a year, and dask-jobqueue would leave them in the current folder; these are valid for
30 days and live in `<workspace>/jobs/tls-<nonce>`.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed.security import Security

from hpc_recon.core.paths import require_private

CERTIFICATE, KEY = "certificate.pem", "key.pem"
#: A run lasts at most this long: jobs that start later cannot connect. The same command then goes on.
LIFETIME = datetime.timedelta(days=30)
#: Clocks of nodes may be behind the controller's by this much.
CLOCK_SKEW = datetime.timedelta(days=1)


def of_files(folder: Path) -> Security:
    """Return the security settings that name the files in `folder`; they need not exist yet."""
    certificate, key = str(folder / CERTIFICATE), str(folder / KEY)
    return Security(
        require_encryption=True,
        tls_ca_file=certificate,
        tls_client_cert=certificate,
        tls_client_key=key,
        tls_scheduler_cert=certificate,
        tls_scheduler_key=key,
        tls_worker_cert=certificate,
        tls_worker_key=key,
    )


def make_certificate(now: datetime.datetime) -> tuple[bytes, bytes]:
    """Return a new self-signed certificate and its private key (NIST P-256), in PEM format.

    Parameters
    ----------
    now
        With a time zone; valid from a day before until 30 days after.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hpc_recon run")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        # It is its own authority, and signs no other certificate.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(encoding), private


@contextlib.contextmanager
def certificates(folder: Path) -> Iterator[Security]:
    """Make a key and a self-signed certificate in `folder` (0700, files 0600, whatever the umask), removed at the end.

    One certificate serves as authority, scheduler, worker and client: whoever can read the key belongs to the run.

    Raises
    ------
    FileExistsError
        If the folder exists: it is never shared.
    ClusterError
        If the file system gives others access nevertheless.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    try:
        folder.chmod(0o700)  # a umask takes bits away, even the owner's
        require_private(folder)
        certificate, key = make_certificate(datetime.datetime.now(tz=datetime.UTC))
        for name, content in ((CERTIFICATE, certificate), (KEY, key)):
            _write_private(folder / name, content)
        yield of_files(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_private(path: Path, content: bytes) -> None:
    """Write a new file of the owner's alone; its permissions are looked at before its content is written."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as stream:
        os.fchmod(descriptor, 0o600)
        require_private(path)
        stream.write(content)
