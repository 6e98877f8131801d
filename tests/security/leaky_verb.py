"""A verb whose tiles put secrets into everything that they may say: warnings, errors, and the causes of errors.

It is the fake verb otherwise, which lies in another folder: imported where it is used.
"""

import importlib
import os
import warnings

from hpc_recon.core.errors import DataError


def plan(study, shapes):
    """Return the fake verb's tiles."""
    return importlib.import_module("fake_verb").plan(study, shapes)


def prepare(study):
    """Prepare the fake verb."""
    importlib.import_module("fake_verb").prepare(study)


def work(study, tile):
    """Write one file, after a warning with a secret, or raise an error with one."""
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    if tile.start == 0:
        try:
            raise OSError(5, f"PUT https://bucket.example.org/a?X-Amz-Signature={secret[::-1]} failed")
        except OSError as error:
            raise RuntimeError(f"cannot store: signed by {secret}, as s3://me:{secret[::-1]}@bucket/a") from error
    if tile.start == 10:
        raise DataError(f"the service does not know the token {os.environ['LAB_API_TOKEN']}; ask for another")
    warnings.warn(f"repeated with Authorization: Bearer {os.environ['LAB_API_TOKEN']}", stacklevel=1)
    return importlib.import_module("fake_verb").work(study, tile)
