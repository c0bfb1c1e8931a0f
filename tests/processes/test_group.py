"""What processes say to each other; here each is a thread, and its death a socket's."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from resseg.errors import UserError
from resseg.processes.group import ALONE, Lost
from resseg.processes.joining import join
from resseg.processes.membership import Membership
from resseg.processes.relay import _started, start_relay


def free_port():
    """A port of which the next is free: what processes are connected by."""
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1] - 1


def at_once(calls):
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
        return [future.exception() or future.result() for future in futures]


def join_all(numbers, count, seconds=10.0):
    port = free_port()
    members = [Membership("127.0.0.1", port, count, number) for number in numbers]
    return at_once([lambda m=m: join(m, seconds) for m in members])


@pytest.fixture
def groups():
    found = join_all(range(3), 3)
    yield found
    for group in found:
        group.__exit__(None, None, None)


def cut(group):
    """As where its process is killed, which then says nothing any more."""
    group._over.set()
    for _, wire in group._wires.values():
        wire.end()


def test_all_get_what_each_gives_in_order(groups):
    for _ in range(3):
        results = at_once([lambda g=g: g.gather({"of": g.process}) for g in groups])
        assert results == [[{"of": 0}, {"of": 1}, {"of": 2}]] * 3


def test_the_first_alone_looks(groups):
    looked = []

    def look(group):
        return group.by_first(lambda: looked.append(group.process) or group.process)

    assert at_once([lambda g=g: look(g) for g in groups]) == [0, 0, 0]
    assert looked == [0]


@pytest.mark.parametrize("killed", [0, 1])
def test_one_that_is_killed_ends_the_others_with_its_name(groups, killed):
    left, ended = {}, threading.Barrier(3)
    for group in groups:

        def leave(status, line, group=group):
            left[group.process] = status, line
            ended.wait(10)

        if group.process != killed:
            group.ends_by(leave)
    cut(groups[killed])
    ended.wait(10)
    assert {status for status, _ in left.values()} == {75}
    assert sorted(left) == sorted({0, 1, 2} - {killed})
    for _, line in left.values():
        assert line.startswith(f"process {killed} (") and "gone" in line
    with pytest.raises(Lost, match=f"process {killed} "):
        groups[2].gather(1)


def test_where_nobody_ends_the_process_the_next_question_does(groups):
    cut(groups[1])
    with pytest.raises(Lost, match="process 1 "):
        groups[2].gather(1)


def test_whom_all_wait_for_is_known(groups):
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(groups[n].gather, n) for n in (0, 2)]
        until = time.monotonic() + 10
        while not all(g.waits_for().startswith("process 1 (") for g in groups[::2]):
            assert time.monotonic() < until
            time.sleep(0.05)
        groups[1].gather(1)
        assert [each.result() for each in waiting] == [[0, 1, 2]] * 2
    assert groups[0].waits_for() == ""


def test_one_that_does_not_answer_is_named(groups, monkeypatch):
    assert groups[0].waits_for() == ""
    monkeypatch.setattr(groups[1]._wires[0][1], "send", lambda *_: None)
    monkeypatch.setattr("resseg.processes.group._ANSWERS", 0.3)
    assert groups[0].waits_for().startswith("process 1 (")
    assert groups[0].waits_for().endswith(", which is silent")


def test_an_error_of_one_ends_all_with_its_words(groups):
    left = {}
    over = threading.Barrier(3)
    for group in groups[:2]:

        def leave(status, line, group=group):
            left[group.process] = status, line
            over.wait(10)

        group.ends_by(leave)
    with pytest.raises(UserError), groups[2]:
        raise UserError("a.png: not a picture")
    over.wait(10)
    for status, line in left.values():
        assert status == 2 and line.startswith("process 2 (")
        assert line.endswith(": a.png: not a picture")


def test_one_that_has_said_goodbye_is_not_missed(groups):
    left = []
    for group in groups:
        group.ends_by(lambda *said: left.append(said))
    for group in groups:
        with group:
            pass
        cut(group)
    time.sleep(0.2)
    assert left == []


def test_who_is_missing_is_named():
    first, second = join_all((0, 2), 4, seconds=1.0)
    assert "processes 1, 3 of 4 not there after 1 s" in str(first)
    assert str(first) == str(second)


def test_two_of_one_number_are_refused():
    for error in join_all((0, 1, 1), 3)[:1]:
        assert isinstance(error, UserError) and "have the same number" in str(error)


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of this host is not free"):
            join(Membership("127.0.0.1", port - 1, 2, 0), 1.0)


def test_a_process_alone_asks_nobody():
    assert ALONE.gather(3) == [3] and ALONE.by_first(lambda: 4) == 4 and ALONE.leads


def test_a_relay_passes_on_all_but_the_end():
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(
            ("127.0.0.1", start_relay(*server.getsockname()))
        )
        far, _ = server.accept()
        near.sendall(b"question")
        assert far.recv(8) == b"question"
        far.sendall(b"answer")
        assert near.recv(6) == b"answer"
        far.close()
        near.settimeout(0.3)
        with pytest.raises(TimeoutError):
            near.recv(1)
        near.close()
    (process,) = _started
    process.stdin.close()  # as at the end of this process
    assert process.wait(10) == 0
    process.stdout.close()
