"""TLS certificates of one run, in a folder that only its owner can read, removed when the run ends.

A dask scheduler without TLS runs any code that anyone on the network sends to it. dask-jobqueue would
leave its certificates (valid for a year) in the current folder; these live in `<workspace>/jobs/tls-<nonce>`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from distributed.security import Security


def of_files(folder: Path) -> Security:
    """Return the security settings that name the files in `folder`; they need not exist yet."""
    certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
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


@contextlib.contextmanager
def certificates(folder: Path) -> Iterator[Security]:
    """Make a key and a self-signed certificate in `folder` (0700, files 0600); remove it at the end.

    One certificate serves as authority, scheduler, worker and client: whoever can read the key belongs to the run.
    """
    temporary = Security.temporary()
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    try:
        for name, text in (("certificate.pem", temporary.tls_ca_file), ("key.pem", temporary.tls_client_key)):
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w") as stream:
                stream.write(text)
        yield of_files(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
