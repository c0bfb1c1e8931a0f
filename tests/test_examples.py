"""The examples in docstrings say what happens."""

import doctest
import importlib
import pkgutil

import pytest

import resseg
import resseg.sweeps

MODULES = [
    "resseg",
    *(m.name for m in pkgutil.walk_packages(resseg.__path__, "resseg.")),
]


def examples(name):
    finder = doctest.DocTestFinder(exclude_empty=True)
    module = importlib.import_module(name)
    return [test for test in finder.find(module, module=module) if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    runner = doctest.DocTestRunner()
    for test in examples(name):
        runner.run(test)
    assert runner.failures == 0


@pytest.mark.parametrize(
    "public",
    [
        *(getattr(resseg, name) for name in resseg.__all__ if name != "__version__"),
        *(getattr(resseg.sweeps, name) for name in resseg.sweeps.__all__),
    ],
)
def test_what_is_public_has_an_example(public):
    assert doctest.DocTestParser().get_examples(public.__doc__)
