"""The board: what it serves, what it refuses, and that it keeps up."""

import http.client
import os
import socket
import threading
import time

import pytest
from many_runs import write_many

from resseg.cli.main import main
from resseg.report.board.builder import Builder
from resseg.report.board.live import make_live
from resseg.report.board.places import INDEX, RUN, SWEEP, fingerprint, scan
from resseg.report.board.server import Server, is_ours

SECRET = "nobody may read this"


def contents(folder):
    """Every file of a folder with what it holds."""
    files = (each for each in folder.rglob("*") if each.is_file())
    return {str(each): (each.read_bytes(), each.stat().st_mtime_ns) for each in files}


class Board:
    """A server in a thread; `get` sends an address as it is."""

    def __init__(self, root, into):
        self.builder = Builder(root, into, every=0.1)
        self.server = Server("127.0.0.1", 0, self.builder)
        self.builder.start()
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        self.builder.stop()

    def ask(self, address, method="GET", host=None):
        port = self.server.server_port
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        link.putrequest(method, address, skip_host=True)
        if host != "":
            link.putheader("Host", host or f"127.0.0.1:{port}")
        link.endheaders()
        answer = link.getresponse()
        text = answer.read().decode()
        link.close()
        return answer, text

    def page(self, address, other_than=""):
        """The page once it is made, and is not of that version."""
        deadline = time.monotonic() + 60
        folder = address.rpartition("/")[0]
        while True:
            version = self.ask(f"{folder}/version")[1].strip()
            if version not in ("", other_than):
                return version, self.ask(address)[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def opened(tmp_path):
    made = []

    def board(root):
        into = tmp_path / "pages"
        into.mkdir()
        made.append(Board(root, into))
        return made[0]

    yield board
    for each in made:
        each.close()


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


def test_pages_are_served_and_folders_only_read(folder, opened):
    before = contents(folder)
    board = opened(folder)
    _, index = board.page("/")
    assert 'href="many/report.html"' in index and 'href="one/report.html"' in index
    assert "link/report.html" not in index
    _, sweep = board.page("/many/report.html")
    assert "<h1>Is it?</h1>" in sweep
    assert '<a href="run000/report.html">' in sweep
    _, run = board.page("/one/report.html")
    assert "Gradient flow" in run
    assert contents(folder) == before


def test_nothing_else_is_served(folder, opened):
    board = opened(folder)
    board.page("/")
    inside = ["/secret.txt", "/one/config.json", "/one/", "/one", "/link/report.html"]
    dots = ["/../secret.txt", "/one/../../secret.txt", "/%2e%2e/secret.txt"]
    dots += ["/..%2fsecret.txt", "/one/%2e%2e%2f%2e%2e%2fsecret.txt", "/.%00./x"]
    other = [f"/{folder}/secret.txt", f"/{folder.parent}/outside/report.html"]
    other += ["/etc/passwd", "//etc/passwd", "http://127.0.0.1/secret.txt", "*"]
    for address in (*inside, *dots, *other, "/one/report.html/", "/ONE/report.html"):
        answer, text = board.ask(address)
        assert answer.status == 404, address
        assert text == "there is no such page\n"


def test_only_get_and_head_and_our_own_name(folder, opened):
    board = opened(folder / "one")
    _, page = board.page("/")
    answer, text = board.ask("/", "HEAD")
    assert (answer.status, text) == (200, "")
    assert answer.headers["Content-Length"] == str(len(page.encode()))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert board.ask("/", method)[0].status == 405
    assert board.ask("/", "TRACE")[0].status == 501
    for host in (
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "",
        "[::",
    ):
        answer, text = board.ask("/", host=host)
        assert answer.status == 403 and "report" not in text
    assert board.ask("/", host="localhost:1")[0].status == 200


@pytest.mark.parametrize(
    ("header", "ours"),
    [
        ("127.0.0.1:8710", True),
        ("[::1]:8710", True),
        ("LOCALHOST", True),
        ("lab-machine:1", True),
        ("lab-machine.evil.example", False),
        ("a@evil.example", False),
        (None, False),
    ],
)
def test_host_headers(header, ours):
    assert is_ours(header, "lab-machine") is ours


def test_a_page_is_made_again_when_a_run_has_written(folder, opened):
    board = opened(folder / "many")
    version, page = board.page("/")
    assert f'<meta name="board" content="{version} 0.1">' in page
    assert "default-src &#x27;none&#x27;; connect-src &#x27;self&#x27;" in page
    time.sleep(0.5)
    assert board.page("/")[0] == version
    with open(folder / "many" / "run000" / "metrics.jsonl", "a") as file:
        file.write('{"step": 10, "split": "val", "mean_iou": 0.123}\n')
    _, newer = board.page("/", other_than=version)
    assert "0.123" in newer
    assert len(os.listdir(folder.parent / "pages")) == 1


def test_a_damaged_run_is_told_and_repaired(folder, opened):
    log = folder / "many" / "run000" / "metrics.jsonl"
    whole = log.read_bytes()
    log.write_bytes(b"{broken\n")
    board = opened(folder / "many")
    version, page = board.page("/")
    assert "This page cannot be made now" in page and "not JSON" in page
    log.write_bytes(whole)
    assert "<h1>Is it?</h1>" in board.page("/", other_than=version)[1]


def test_what_is_shown_decides_when_it_changed(folder):
    place = scan(folder / "many")["/"]
    before = fingerprint(place)
    assert fingerprint(place) == before
    (folder / "many" / "run001" / "log.txt").write_text("words")
    assert fingerprint(place) == before
    (folder / "many" / "run001" / "status.json").write_text('{"attempts": []}')
    assert fingerprint(place) != before


def test_a_port_in_use_is_one_clear_line(folder, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["board", str(folder), "--port", str(port)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"--port {port}: Address already in use (try --port 0)" in told


def test_wrong_input_is_one_line(tmp_path, capsys):
    assert main(["board", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main(["board", str(tmp_path)]) == 2
    assert "holds no runs" in capsys.readouterr().err
    assert main(["board", str(tmp_path), "--port", "70000"]) == 2
    assert "--port 70000: expected 0 to 65535" in capsys.readouterr().err


def test_a_page_that_is_none_is_not_made_live():
    with pytest.raises(ValueError, match="the page has no"):
        make_live("<html></html>", "1", 5)
