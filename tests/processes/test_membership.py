"""Which process of how many: options, variables, Slurm."""

import pytest

from resseg.errors import UserError
from resseg.processes.membership import Membership, find, first_host

VARIABLES = {
    "JAX_COORDINATOR_ADDRESS": "gpu1:4000",
    "JAX_NUM_PROCESSES": "2",
    "JAX_PROCESS_ID": "1",
}
SLURM = {
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "gpu[07-09,12]",
    "SLURM_PROCID": "3",
    "SLURM_JOB_ID": "81",
    "SLURM_STEP_ID": "0",
}


def test_a_process_is_alone_where_nothing_says_else():
    assert find(None, None, None, {}) is None
    assert find(None, None, None, SLURM | {"SLURM_STEP_NUM_TASKS": "1"}) is None
    assert find("here:1", 1, 0, {}) is None


def test_options_come_before_variables_and_these_before_slurm():
    every = VARIABLES | SLURM
    assert find(None, None, None, every) == Membership("gpu1", 4000, 2, 1)
    assert find("a:9", 3, 0, every) == Membership("a", 9, 3, 0)
    assert find(None, None, 0, every) == Membership("gpu1", 4000, 2, 0)
    assert find("[::1]:9", 3, 0, {}) == Membership("::1", 9, 3, 0)


def test_slurm_says_who_is_who():
    found = find(None, None, None, SLURM)
    assert found is not None
    assert found == ("gpu07", found.port, 4, 3)
    others = [{"SLURM_STEP_ID": "1"}, {"SLURM_JOB_ID": "82"}]
    ports = {find(None, None, None, SLURM | other).port for other in [{}, *others]}
    assert len(ports) == 3 and all(49152 <= p < 65534 and p % 2 == 0 for p in ports)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("gpu1", "gpu1"),
        ("gpu1,gpu2", "gpu1"),
        ("gpu[07-09,12]-a,cpu1", "gpu07-a"),
        ("a[3,5]", "a3"),
        ("n-1.org,b[1-2]", "n-1.org"),
    ],
)
def test_the_first_host_of_a_list(nodes, host):
    assert first_host(nodes) == host


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            ("a:9", None, None),
            "expected --processes or JAX_NUM_PROCESSES, --process or",
        ),
        ((None, 2, 1), "expected --coordinator or JAX_COORDINATOR_ADDRESS too"),
        (("a", 2, 1), "--coordinator='a': expected HOST:PORT"),
        (("a:65535", 2, 1), "--coordinator='a:65535': expected HOST:PORT"),
        (("a:9", 0, 0), "--processes='0': expected a number from 1"),
        (("a:9", 2, 2), "--process='2': expected a number from 0 to 1"),
    ],
)
def test_what_is_wrong_is_named(given, line):
    with pytest.raises(UserError) as raised:
        find(*given, {})
    assert line in str(raised.value)


def test_a_wrong_variable_is_named():
    with pytest.raises(UserError, match="JAX_PROCESS_ID='x': expected a number"):
        find(None, None, None, VARIABLES | {"JAX_PROCESS_ID": "x"})
