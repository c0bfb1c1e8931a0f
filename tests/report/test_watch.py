"""Pages that keep up: what is served, what is refused, and what a change does."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from many_runs import write_many

from resseg.cli.main import main
from resseg.report import watch
from resseg.report.pages import INDEX, RUN, SWEEP, fingerprint, scan
from resseg.report.serve import Server
from resseg.report.watch import Pages

SECRET = "nobody may read this"


def contents(folder):
    """Every file of a folder with what it holds."""
    files = (each for each in folder.rglob("*") if each.is_file())
    return {str(each): (each.read_bytes(), each.stat().st_mtime_ns) for each in files}


class Served:
    """A server in a thread; `ask` sends an address as it is."""

    def __init__(self, root):
        self.server = Server(0, Pages(root, every=0.1))
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def ask(self, address, method="GET", host=None):
        port = self.server.server_port
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        link.putrequest(method, address, skip_host=True)
        if host != "":
            link.putheader("Host", host or f"127.0.0.1:{port}")
        link.endheaders()
        answer = link.getresponse()
        text = answer.read().decode()
        link.close()
        return answer, text

    def page(self, address, other_than=""):
        """Version and text of the page once it is not of that version."""
        deadline = time.monotonic() + 60
        while True:
            version = self.ask(f"{address}?version")[1]
            if version != other_than:
                return version, self.ask(address)[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def serve():
    with contextlib.ExitStack() as made:

        def start(root):
            served = Served(root)
            made.callback(served.close)
            return served

        yield start


@pytest.fixture
def folder(tmp_path, page_run):
    """A folder with a run, a sweep, a link to a run elsewhere, and a file."""
    root = tmp_path / "runs"
    root.mkdir()
    page_run(root / "one")
    write_many(root / "many", alphas=(0.0, 1.0), rates=(0.1,), seeds=2)
    page_run(tmp_path / "outside")
    (root / "link").symlink_to(tmp_path / "outside", target_is_directory=True)
    (tmp_path / "secret.txt").write_text(SECRET)
    (root / "secret.txt").write_text(SECRET)
    return root


def test_a_folder_has_an_index_runs_and_sweeps(folder):
    places = scan(folder)
    kinds = {address: place.kind for address, place in places.items()}
    assert kinds == {
        "/": INDEX,
        "/many/report.html": SWEEP,
        **{f"/many/run00{n}/report.html": RUN for n in range(4)},
        "/one/report.html": RUN,
    }
    assert scan(folder / "one")["/"].kind == RUN
    assert next(iter(scan(folder / "many"))) == "/"


def test_pages_are_served_and_folders_only_read(folder, serve):
    before = contents(folder)
    served = serve(folder)
    _, index = served.page("/")
    assert 'href="many/report.html"' in index and 'href="one/report.html"' in index
    assert "link/report.html" not in index
    _, sweep = served.page("/many/report.html")
    assert "<h1>Is it?</h1>" in sweep
    assert '<a href="run000/report.html">' in sweep
    _, run = served.page("/one/report.html")
    assert "Gradient flow" in run
    assert contents(folder) == before


def test_nothing_else_is_served(folder, serve):
    served = serve(folder)
    served.page("/")
    inside = ["/secret.txt", "/one/config.json", "/one/", "/one", "/link/report.html"]
    dots = ["/../secret.txt", "/one/../../secret.txt", "/%2e%2e/secret.txt"]
    dots += ["/..%2fsecret.txt", "/one/%2e%2e%2f%2e%2e%2fsecret.txt", "/.%00./x"]
    other = [f"/{folder}/secret.txt", f"/{folder.parent}/outside/report.html"]
    other += ["/etc/passwd", "//etc/passwd", "http://127.0.0.1/secret.txt", "*"]
    for address in (*inside, *dots, *other, "/one/report.html/", "/ONE/report.html"):
        answer, text = served.ask(address)
        assert answer.status == 404, address
        assert text == "there is no such page\n"


def test_only_get_and_head_and_our_own_name(folder, serve):
    served = serve(folder / "one")
    _, page = served.page("/")
    answer, text = served.ask("/", "HEAD")
    assert (answer.status, text) == (200, "")
    assert answer.headers["Content-Length"] == str(len(page.encode()))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert served.ask("/", method)[0].status == 405
    assert served.ask("/", "TRACE")[0].status == 501
    hosts = ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::"]
    for host in (*hosts, "a@evil.example", "0.0.0.0", "192.168.0.1:8710"):
        answer, text = served.ask("/", host=host)
        assert answer.status == 403 and "report" not in text
    for host in ("localhost:1", "LOCALHOST", "127.0.0.1"):
        assert served.ask("/", host=host)[0].status == 200


def test_a_page_is_made_again_when_a_run_has_written(folder, serve):
    served = serve(folder / "many")
    version, page = served.page("/")
    assert f'<meta name="live" content="{version} 0.1">' in page
    assert "; connect-src &#x27;self&#x27;; " in page
    time.sleep(0.5)
    assert served.page("/")[0] == version
    with open(folder / "many" / "run000" / "metrics.jsonl", "a") as file:
        file.write('{"step": 10, "split": "val", "mean_iou": 0.123}\n')
    _, newer = served.page("/", other_than=version)
    assert "0.123" in newer


def test_a_damaged_run_is_told_and_repaired(folder, serve):
    log = folder / "many" / "run000" / "metrics.jsonl"
    whole = log.read_bytes()
    log.write_bytes(b"{broken\n")
    served = serve(folder / "many")
    version, page = served.page("/")
    assert "This page cannot be made now" in page and "not JSON" in page
    log.write_bytes(whole)
    assert "<h1>Is it?</h1>" in served.page("/", other_than=version)[1]


def test_what_is_shown_decides_when_it_changed(folder):
    place = scan(folder / "many")["/"]
    before = fingerprint(place)
    assert fingerprint(place) == before
    (folder / "many" / "run001" / "log.txt").write_text("words")
    (folder / "many" / "report.html").write_text("words")
    assert fingerprint(place) == before
    (folder / "many" / "run001" / "status.json").write_text('{"attempts": []}')
    assert fingerprint(place) != before


def test_a_page_is_made_once_while_nothing_changes(folder, monkeypatch):
    made = []
    monkeypatch.setattr(watch, "render", lambda *given: made.append(given) or "page")
    pages, config = Pages(folder, every=0), folder / "one" / "config.json"
    pages.get("/one/report.html")
    pages.get("/one/report.html")
    assert len(made) == 1
    os.utime(config)
    pages.get("/one/report.html")
    assert len(made) == 2
    seldom = Pages(folder, every=1000)
    seldom.get("/one/report.html")
    os.utime(config)
    seldom.get("/one/report.html")
    assert len(made) == 3


def test_a_folder_that_vanishes_has_no_pages(folder):
    pages = Pages(folder / "one", every=0)
    (folder / "one").rename(folder / "two")
    assert pages.get("/") is None


def test_the_page_that_was_asked_for_longest_ago_is_forgotten(folder, monkeypatch):
    monkeypatch.setattr(watch, "_KEPT", 2)
    made = []
    monkeypatch.setattr(watch, "render", lambda place, live: made.append(place) or "")
    pages = Pages(folder, every=1000)
    for number in (0, 1, 0, 2, 0, 1):
        pages.get(f"/many/run00{number}/report.html")
    names = [place.folder.name for place in made]
    assert names == ["run000", "run001", "run002", "run001"]


def test_a_damaged_plan_leaves_the_written_page(folder):
    out = folder / "page.html"
    lines = watch.follow(scan(folder / "many")["/"], out, "mean_iou", every=0.01)
    next(lines)
    (folder / "many" / "sweep.json").write_text("{")
    assert next(lines).startswith(f"{out} is left as it was: ")


def test_a_page_that_is_written_is_left_while_nothing_changes(folder, monkeypatch):
    made, slept, config = [], [], folder / "one" / "config.json"

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            os.utime(config)

    monkeypatch.setattr(watch, "render", lambda place, metric: made.append(place) or "")
    monkeypatch.setattr(watch.time, "sleep", sleep)
    lines = watch.follow(scan(folder / "one")["/"], folder / "page.html", "mean_iou")
    next(lines)
    next(lines)
    assert len(made) == 2 and slept == [watch.EVERY] * 3


def test_names_are_quoted_in_addresses(folder, serve):
    (folder / "one").rename(folder / "ü 1")
    served = serve(folder)
    assert 'href="%C3%BC%201/report.html"' in served.page("/")[1]
    assert served.ask("/%C3%BC%201/report.html")[0].status == 200


def test_the_answer_to_head_has_no_body(folder, serve):
    port = serve(folder / "one").server.server_port
    with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
        link.sendall(b"HEAD / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        answer = b"".join(iter(lambda: link.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.0 200") and answer.endswith(b"\r\n\r\n")
    assert b"<" not in answer


def test_a_run_that_begins_gets_a_page(folder, serve, page_run):
    served = serve(folder)
    version, page = served.page("/")
    assert "late/report.html" not in page
    assert served.ask("/late/report.html")[0].status == 404
    page_run(folder / "late")
    assert "late/report.html" in served.page("/", other_than=version)[1]
    assert served.ask("/late/report.html")[0].status == 200


def test_a_bug_is_shown_where_the_page_is_looked_for(folder, monkeypatch):
    def fail(*arguments):
        raise ZeroDivisionError("<b>1 / 0</b>")

    monkeypatch.setattr(watch, "render", fail)
    page = Pages(folder / "one").get("/")
    assert "ZeroDivisionError(&#x27;&lt;b&gt;1 / 0&lt;/b&gt;&#x27;)" in page.text
    assert '<meta http-equiv="refresh" content="5">' in page.text


def test_a_page_that_is_written_is_written_again(folder, tmp_path):
    out = tmp_path / "page.html"
    log = folder / "many" / "run000" / "metrics.jsonl"
    whole = log.read_bytes()
    place = scan(folder / "many")["/"]
    lines = watch.follow(place, out, "mean_iou", every=0.01)
    assert next(lines) == f"wrote {out}"
    before = out.read_text()
    assert "<h1>Is it?</h1>" in before and 'name="live"' not in before
    log.write_bytes(b"{broken\n")
    line = next(lines)
    assert line.startswith(f"{out} is left as it was: ") and "not JSON" in line
    assert out.read_text() == before
    log.write_bytes(whole + b'{"step": 10, "split": "val", "mean_iou": 0.123}\n')
    assert next(lines) == f"wrote {out}"
    assert "0.123" in out.read_text()
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_file()) == [
        *("page.html", "secret.txt")
    ]


def start(folder, *options):
    command = ["-m", "resseg", "report", str(folder), "--watch", *options]
    return subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_server(folder, number):
    before = contents(folder)
    process = start(folder / "one", "--serve", "0")
    line = process.stdout.readline()
    assert line.startswith(f"{folder / 'one'} at http://127.0.0.1:")
    port = int(line.partition("127.0.0.1:")[2].partition("/")[0])
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    link.request("GET", "/")
    assert b"Gradient flow" in link.getresponse().read()
    link.close()
    process.send_signal(number)
    assert process.communicate(timeout=60) == ("\n", "")
    assert process.returncode == 0
    assert contents(folder) == before


def test_a_signal_ends_a_page_that_is_written(folder):
    process = start(folder / "one")
    out = folder / "one" / "report.html"
    assert process.stdout.readline() == f"wrote {out}\n"
    assert out.read_text().startswith("<!doctype html>")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("\n", "")
    assert process.returncode == 0


def error_line(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def test_a_port_in_use_is_one_clear_line(folder, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = error_line(capsys, "report", folder, "--watch", "--serve", port)
    assert f"--serve {port}: Address already in use (0 = any port that is free)" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{none}", "--watch"], "does not exist"),
        (["{empty}", "--watch", "--serve", "0"], "holds no runs"),
        (["{folder}", "--watch"], "to see all in it, add --serve 8710"),
        (["{one}", "--serve", "8710"], "--serve 8710: goes with --watch"),
        (["{one}", "--watch", "--serve", "70000"], "--serve 70000: expected 0 to 655"),
        (["{one}", "--watch", "--serve", "x"], "argument --serve: invalid int value"),
        (["{one}", "--watch", "--serve", "0", "--out", "x"], "--out: not with --serve"),
        (["{one}", "--watch", "--metric", "train_loss"], "one is no sweep folder"),
        (["{many}", "--watch", "--metric", "iou"], "--metric='iou': choose from"),
        (["{one}", "--watch", "--format", "md"], "expected one RUN or SWEEP, in html"),
        (["{one}", "--watch", "--compare", "{one}"], "expected one RUN or SWEEP, in h"),
        (["--watch"], "report: RUN is missing"),
    ],
)
def test_wrong_input_is_one_line(folder, tmp_path, capsys, arguments, message):
    (tmp_path / "empty").mkdir()
    names = {"folder": folder, "one": folder / "one", "many": folder / "many"}
    names |= {"none": tmp_path / "none", "empty": tmp_path / "empty"}
    given = [argument.format(**names) for argument in arguments]
    assert message in error_line(capsys, "report", *given)


def test_the_board_says_what_it_is_now(capsys):
    line = error_line(capsys, "board", "runs", "--port", "9000")
    assert "resseg board is now resseg report DIR --watch --serve 8710" in line
