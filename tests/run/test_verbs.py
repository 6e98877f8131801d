"""The table of verbs."""

import importlib

import pytest

from hpc_recon.core.errors import StudyError
from hpc_recon.run import verbs


def test_a_step_by_name():
    assert verbs.step("fit").module == "hpc_recon.fit"
    with pytest.raises(StudyError, match="did you mean 'extract'"):
        verbs.step("extarct")


def test_every_module_of_the_table_has_its_functions():
    for verb in verbs.STEPS:
        module = importlib.import_module(verb.module)
        assert all(callable(getattr(module, name)) for name in ("plan", "prepare", "work", "main"))
    for verb in verbs.OTHERS:
        assert callable(importlib.import_module(verb.module).main)


def test_the_late_binding_resolves():
    module, _, function = verbs.SHAPES.partition(":")
    assert callable(getattr(importlib.import_module(module), function))
