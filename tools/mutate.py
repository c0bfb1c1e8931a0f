"""Changes the code in small wrong ways, and looks whether a test notices.

    python tools/mutate.py                 200 mutants, as many of each subject
    python tools/mutate.py --list          what would be run, and nothing is
    python tools/mutate.py --only models   of files whose path holds the word
    python tools/mutate.py --survivors     those again that no test noticed
    python tools/mutate.py --report        what is known, by subject

A mutant is one change of one expression: another constant, sign or comparison, sides or
arguments swapped, a factor or a keyword less, an attribute or a key taken for the one
beside it. It is written into a copy of the tree, where the tests of its file alone run
(SUBJECTS), until the first fails. The tree itself is never touched.

Results go to `build/mutants.jsonl`, one line each, and a mutant that stands there is
not run again: a call that was stopped goes on where it stopped. A mutant keeps its name
while its function stays, so that results outlive changes elsewhere. It ends as

    killed      a test failed, or could not be collected
    timeout     the tests took longer than --timeout: noticed too
    survived    every test passed: write the one that is missing

A survivor that computes the same is named in EQUIVALENT, with the reason. The exit
status is 1 where others survived.
"""

import argparse
import ast
import collections
import difflib
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "mutants.jsonl"
# Code -> tests that shall notice; the longest path that fits counts. Those that notice
# soonest stand first, and those that take long, whole trainings, are not there.
FORKS = "gradients/test_fork.py gradients/test_training_oracles.py"
LOG = "training/test_whole_log.py"
WIRING = f"blueprint/test_paths_table.py {LOG}"
NAMES = "gradients/test_names.py"
SHAPES = "models/test_structure.py interop/test_tables.py"
WIDTHS = "blueprint/test_wiring.py"
LAYERS = "models/test_layers.py"
TABLE = "blueprint/test_description.py"
SUBJECTS = {
    "resseg/gradients/": f"{FORKS} {NAMES} gradients/test_network_oracles.py {LOG}",
    "resseg/gradients/analysis/": "gradients/analysis gradients/test_linear_stacks.py",
    "resseg/gradients/coefficients.py": f"{NAMES} config/test_coefficients.py",
    "resseg/gradients/measure.py": f"gradients/test_measure.py {LOG}",
    "resseg/gradients/preserve.py": "models/test_ablations.py",
    "resseg/models/": f"models/test_ablations.py {SHAPES} {WIRING}",
    "resseg/models/branch.py": f"models/test_ablations.py {WIDTHS} {LAYERS}",
    "resseg/models/heads/": f"{WIDTHS} {SHAPES} {WIRING} models/test_heads.py",
    "resseg/models/layers.py": f"{LAYERS} models/test_structure.py",
    "resseg/models/resizing.py": f"{LAYERS} interop/test_resizing.py",
    "resseg/models/ops/": "models/ops",
    "resseg/models/resnet.py": f"{WIDTHS} {SHAPES} {WIRING} models/test_backbones.py",
    "resseg/models/shortcuts.py": f"models/test_backbones.py models/test_ablations.py "
    f"{SHAPES} {WIRING}",
    "resseg/models/classifier.py": "models interop/test_numbers.py",
    "resseg/blueprint/": "blueprint/test_trace.py blueprint/test_blueprint.py",
    "resseg/blueprint/blueprint.py": f"blueprint/test_titles.py {WIRING}",
    "resseg/blueprint/description.py": f"{TABLE} cli/test_describe.py",
    "resseg/blueprint/network.py": f"{WIDTHS} {WIRING} blueprint/test_network.py",
    "resseg/blueprint/receptive_field.py": "blueprint/test_receptive_field.py",
    "resseg/blueprint/table.py": f"cli/test_describe.py {TABLE}",
    "resseg/training/": f"{LOG} training/test_run.py",
    "resseg/training/accumulation.py": "training/test_rematerialisation.py",
    "resseg/training/autopsy.py": "training/test_dropping.py",
    "resseg/training/beginning.py": "training/test_dropping.py",
    "resseg/training/dropping.py": "training/test_dropping.py",
    "resseg/training/examination.py": "training/test_autopsy.py",
    "resseg/training/faults.py": "training/test_autopsy.py",
    "resseg/training/guard.py": "training/test_dropping.py",
    "resseg/training/unread.py": "training/test_dropping.py",
    "resseg/training/initial.py": "training/test_initial.py",
    "resseg/training/intervals.py": "training/test_intervals.py",
    "resseg/training/losses/": "training/test_loss_terms.py training/test_losses.py",
    "resseg/training/messages.py": "training/test_messages.py training/test_run.py",
    "resseg/training/optim.py": "training/test_optim.py",
    "resseg/training/progress.py": f"training/test_progress.py {LOG}",
    "resseg/training/recorder.py": f"training/test_recorder.py {LOG}",
    "resseg/training/steps.py": f"{LOG} training/test_steps.py",
    "resseg/training/together.py": "training/test_together.py",
    "resseg/inference/metrics.py": "inference/test_metrics.py",
    "resseg/probes/": "probes/test_registry.py",
    "resseg/probes/calibration.py": "probes/test_subject.py probes/test_lesion.py",
    "resseg/sweeps/table/": "sweeps/table report/test_sweep_page.py",
} | {
    f"resseg/probes/{name}.py": f"probes/test_conclusions.py probes/test_{tests}.py"
    for name, tests in {
        "features": "rank",
        "hessian": "hessian",
        "jacobian": "jacobian",
        "landscape": "landscape",
        "lesion": "lesion",
        "noise_scale": "noise_scale",
        "paths": "paths",
        "profile": "profile",
        "rank": "rank",
        "receptive_field": "effective_field_probe",
        "reorder": "lesion",
        "routes": "paths",
        "scoring": "lesion",
        "shattering": "shattering",
        "signal": "signal",
        "subject": "subject",
        "surgery": "surgery",
        "underflow": "underflow",
    }.items()
}
# Survivors that compute the same: name -> why no test can notice.
EQUIVALENT: dict[str, str] = {
    "22dcdae7": "what a bar on the terminal counts to",
    "57797dde": "a sum of truths is int32 anyway",
    "bb5635ee": "a share that is always 1 is 1 whatever it ends at",
    "bfa5bc78": "to multiply by 1 or -1 is to divide by it",
}
EVERYDAY = "not slow and not cluster and not browser"
PASSED = 0  # pytest's exit status

COMPARISONS = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


class Mutant(NamedTuple):
    """One change of one expression.

    Attributes:
        name: stays while the function that holds it stays.
        file: path in the tree.
        line: of the expression, first is 1.
        kind: of the change.
        before, after: the expression as code.
        span: first and last place in the file's bytes.
    """

    name: str
    file: str
    line: int
    kind: str
    before: str
    after: str
    span: tuple[int, int]

    def __str__(self) -> str:
        return (
            f"{self.name} {self.file}:{self.line} {self.kind}: "
            f"{self.before}  ->  {self.after}"
        )


def changes(node: ast.AST, neighbours: dict[str, list[str]]) -> Iterator[tuple]:
    """`(kind, other expression)` of an expression; `neighbours` as below."""
    if isinstance(node, ast.Constant):
        yield from (("constant", ast.Constant(x)) for x in other_values(node.value))
    elif isinstance(node, ast.BinOp):
        if type(node.op) in OPERATORS:
            op = OPERATORS[type(node.op)]()
            yield "operator", ast.BinOp(node.left, op, node.right)
        if isinstance(node.op, ast.Mult | ast.Div):
            yield "factor dropped", node.left
        if isinstance(node.op, ast.Mult):
            yield "factor dropped", node.right
        if isinstance(node.op, ast.Sub | ast.Div | ast.FloorDiv):
            yield "sides swapped", ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield "sign dropped", node.operand
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        op = COMPARISONS[type(node.ops[0])]()
        yield "comparison", ast.Compare(node.left, [op], node.comparators)
    elif isinstance(node, ast.BoolOp):
        op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "condition", ast.BoolOp(op, node.values)
    elif isinstance(node, ast.IfExp):
        yield "branches swapped", ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.Call):
        yield from changed_calls(node)
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        for other in most_alike(node.attr, neighbours[f"{ast.unparse(node.value)}."]):
            yield "neighbour", ast.Attribute(node.value, other)
    elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        asked = neighbours[f"{ast.unparse(node.value)}[]"]
        for other in most_alike(node.slice.value, asked):
            yield "neighbour", ast.Subscript(node.value, ast.Constant(other))


def most_alike(name: object, others: list[str]) -> list[str]:
    """The one of `others` whose name is most like that of an attribute or a key."""
    if name not in others:
        return []
    rest = [other for other in others if other != name]
    alike = difflib.SequenceMatcher(b=name, autojunk=False)

    def ratio(other: str) -> float:
        alike.set_seq1(other)
        return alike.ratio()

    return sorted(rest, key=ratio)[-1:]


def changed_calls(node: ast.Call) -> Iterator[tuple]:
    """Two arguments of one form swapped, or a keyword less."""
    for i, (one, two) in enumerate(itertools.pairwise(node.args)):
        if type(one) is type(two) and not isinstance(one, ast.Starred):
            args = [*node.args[:i], two, one, *node.args[i + 2 :]]
            yield "arguments swapped", ast.Call(node.func, args, node.keywords)
    for i, keyword in enumerate(node.keywords):
        if keyword.arg not in (None, "strict"):
            rest = node.keywords[:i] + node.keywords[i + 1 :]
            yield "keyword dropped", ast.Call(node.func, node.args, rest)


def other_values(value: object) -> list:
    """Of a number or a truth."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value * 2 if value else 1.0]
    return []


class Reader(ast.NodeVisitor):
    """The mutants of one file, in the order of its lines."""

    def __init__(self, file: str, text: str):
        self._file, self._bytes = file, text.encode()
        self._starts = [0]
        for line in self._bytes.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        tree = ast.parse(text)
        self._neighbours = neighbours_in(tree)
        self._scope: list[str] = []
        self._seen: collections.Counter[str] = collections.Counter()
        self.mutants: list[Mutant] = []
        self.visit(tree)

    def visit(self, node: ast.AST) -> None:
        skipped = (ast.Raise, ast.Import, ast.ImportFrom, ast.JoinedStr, ast.Assert)
        if isinstance(node, skipped) or is_docstring(node) or is_alias(node):
            return
        if isinstance(node, ast.expr):
            for kind, other in changes(node, self._neighbours):
                self._add(node, kind, other)
        super().visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Its body and the defaults of its arguments; no type, no decorator.

        Of pictures nothing: they are looked at.
        """
        types = {ast.unparse(a.annotation) for a in node.args.args if a.annotation}
        if types & {"Figure", "Axes"}:
            return
        self._scope.append(node.name)
        arguments = node.args
        for part in (*arguments.defaults, *arguments.kw_defaults, *node.body):
            if part is not None:
                self.visit(part)
        self._scope.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scope.append(node.name)
        for part in node.body:
            self.visit(part)
        self._scope.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def _add(self, node: ast.expr, kind: str, other: ast.expr) -> None:
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[node.end_lineno - 1] + node.end_col_offset
        before = self._bytes[start:end].decode()
        after = ast.unparse(other)
        if after == ast.unparse(node):  # two arguments that are the same
            return
        what = "/".join([self._file, *self._scope, kind, before, after])
        self._seen[what] += 1  # the same change at another place of the function
        name = hashlib.sha1(f"{what}/{self._seen[what]}".encode()).hexdigest()[:8]
        words = " ".join(before.split()), " ".join(after.split())
        mutant = Mutant(name, self._file, node.lineno, kind, *words, (start, end))
        self.mutants.append(mutant)


def is_docstring(node: ast.AST) -> bool:
    """A text that stands by itself."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def is_alias(node: ast.AST) -> bool:
    """A name for a type, such as `Batch = Mapping[str, Array]`."""
    value = node.value if isinstance(node, ast.Assign) else None
    base = value.value if isinstance(value, ast.Subscript) else None
    return isinstance(base, ast.Name) and base.id in ("Mapping", "Callable", "dict")


def neighbours_in(tree: ast.AST) -> dict[str, list[str]]:
    """By expression what its file asks it for: attributes that are not called, keys."""
    asked: dict[str, set] = collections.defaultdict(set)
    called = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in called:
            asked[f"{ast.unparse(node.value)}."].add(node.attr)
        key = node.slice if isinstance(node, ast.Subscript) else None
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            asked[f"{ast.unparse(node.value)}[]"].add(key.value)
    lists: dict[str, list] = collections.defaultdict(list)
    modules = ("np.", "jnp.", "jax.")
    return lists | {k: sorted(v) for k, v in asked.items() if not k.startswith(modules)}


def tests_of(file: str) -> list[str]:
    """Paths of the tests that run for a file."""
    subject = max((s for s in SUBJECTS if file.startswith(s)), key=len)
    return [f"tests/{name}" for name in SUBJECTS[subject].split()]


def all_mutants() -> list[Mutant]:
    """Of every file of the subjects."""
    files = sorted({path for s in SUBJECTS for path in files_of(s)})
    return [
        mutant
        for path in files
        for mutant in Reader(str(path.relative_to(ROOT)), path.read_text()).mutants
    ]


def files_of(subject: str) -> list[Path]:
    path = ROOT / subject
    return [path] if path.is_file() else list(path.rglob("*.py"))


def room_of(file: str) -> str:
    """`gradients`, `models`, … and losses and metrics, subjects of their own."""
    parts = file.removesuffix(".py").split("/")
    return parts[-1] if parts[-1] in ("losses", "metrics") else parts[1]


def draw(mutants: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """As many of each room, and there of each file and kind; the same for a seed."""
    shuffled = random.Random(seed)
    rooms: dict[str, dict[tuple[str, str], list[Mutant]]] = {}
    for mutant in mutants:
        groups = rooms.setdefault(room_of(mutant.file), {})
        groups.setdefault((mutant.file, mutant.kind), []).append(mutant)
    queues = []
    for _, groups in sorted(rooms.items()):
        lists = [shuffled.sample(group, len(group)) for group in groups.values()]
        queues.append(in_turn(shuffled.sample(lists, len(lists))))
    return in_turn(queues)[:count]


def in_turn(lists: list[list[Mutant]]) -> list[Mutant]:
    """The first of each list, then the second of each, …"""
    turns = itertools.zip_longest(*lists)
    return [mutant for turn in turns for mutant in turn if mutant is not None]


def known() -> dict[str, dict]:
    """The last result of each mutant, by name."""
    if not RESULTS.exists():
        return {}
    rows = map(json.loads, RESULTS.read_text().splitlines())
    return {row["name"]: row for row in rows}


def copy_tree(folder: Path) -> Path:
    """What git knows of the tree, and what is new in it."""
    shutil.rmtree(folder, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def prepare(cache: Path) -> None:
    """Imports what every test needs, once: each mutant is a fork of this process."""
    os.environ |= {
        "JAX_PLATFORMS": "cpu",
        "MPLBACKEND": "Agg",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    sys.dont_write_bytecode = True
    import flax.linen  # noqa: F401
    import jax  # noqa: F401
    import optax  # noqa: F401
    import pandas  # noqa: F401
    import pytest  # noqa: F401


def start(tree: Path, tests: list[str], log: Path) -> int:
    """Runs tests in a fork, in a session of its own; returns its process id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX has threads, but none has begun anything
        pid = os.fork()
    if pid:
        return pid
    os.setsid()
    with open(log, "w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.chdir(tree)
    os.environ["PYTHONPATH"] = str(tree)
    sys.path[:] = [str(tree), *(p for p in sys.path if Path(p).resolve() != ROOT)]
    import pytest

    # What promises bits runs here too, not in a process of its own at its own level.
    sys.path.append(str(tree / "tests"))
    import own_level

    own_level.is_own_level = lambda: True
    # Trainings that are killed and go on take minutes, and are of no single line.
    quiet = [
        "-k",
        "not killed and not crashed",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "--no-header",
        "--tb=line",
    ]
    code = pytest.main([*quiet, "-m", EVERYDAY, *tests])
    sys.stdout.flush()
    os._exit(int(code))


class Worker:
    """A copy of the tree, and the mutant that runs there."""

    def __init__(self, folder: Path):
        self.tree, self.log = copy_tree(folder), folder.with_suffix(".log")
        self.mutant: Mutant | None = None

    def begin(self, mutant: Mutant | None, tests: list[str]) -> None:
        """Of no mutant: the tests as they are."""
        self.mutant, self.began = mutant, time.monotonic()
        if mutant is not None:
            self.text = (self.tree / mutant.file).read_bytes()
            first, last = mutant.span
            after = f"({mutant.after})".encode()
            changed = self.text[:first] + after + self.text[last:]
            (self.tree / mutant.file).write_bytes(changed)
        self.pid = start(self.tree, tests, self.log)

    def ended(self, limit: float) -> str | None:
        """How it ended; None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            if time.monotonic() - self.began < limit:
                return None
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            return self._restore("timeout")
        code = os.waitstatus_to_exitcode(status)
        return self._restore("survived" if code == PASSED else "killed")

    def _restore(self, outcome: str) -> str:
        if self.mutant is not None:
            (self.tree / self.mutant.file).write_bytes(self.text)
        return outcome

    def by_which(self) -> str:
        """The test that noticed, from pytest's last lines."""
        lines = self.log.read_text(errors="replace").splitlines()
        failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
        return failed[0].split(" - ")[0] if failed else (lines or [""])[-1]


def run(
    mutants: list[Mutant], jobs: int, limit: float, scratch: Path, trust: bool
) -> None:
    """Runs mutants, writes their results and says how far it is."""
    prepare(scratch / "cache")
    workers = [Worker(scratch / f"tree{i}") for i in range(jobs)]
    if not trust:
        check_baseline(workers[0], mutants)
    waiting, done, began = list(mutants), 0, time.monotonic()
    counts: collections.Counter[str] = collections.Counter()
    RESULTS.parent.mkdir(exist_ok=True)
    free, busy = workers, []
    while waiting or busy:
        while free and waiting:
            worker, mutant = free.pop(), waiting.pop(0)
            worker.begin(mutant, tests_of(mutant.file))
            busy.append(worker)
        time.sleep(0.2)
        for worker in list(busy):
            outcome = worker.ended(limit)
            if outcome is None:
                continue
            busy.remove(worker)
            free.append(worker)
            done, counts[outcome] = done + 1, counts[outcome] + 1
            seconds = time.monotonic() - worker.began
            write(worker, outcome, seconds)
            each = (time.monotonic() - began) / done
            left = (len(mutants) - done) * each / 60
            print(
                f"{done}/{len(mutants)} {outcome:8} {seconds:4.0f} s  "
                f"{counts['survived']} survived, {left:.0f} min left  {worker.mutant}",
                flush=True,
            )


def check_baseline(worker: Worker, mutants: list[Mutant]) -> None:
    """The tests have to pass without a mutant; what they compile is then cached."""
    tests = list(dict.fromkeys(t for m in mutants for t in tests_of(m.file)))
    print(f"the tests as they are: {' '.join(tests)}", flush=True)
    worker.begin(None, tests)
    while (outcome := worker.ended(3600)) is None:
        time.sleep(0.5)
    if outcome != "survived":
        sys.exit(f"tools/mutate.py: tests fail without any mutant: {worker.by_which()}")


def write(worker: Worker, outcome: str, seconds: float) -> None:
    mutant = worker.mutant
    assert mutant is not None
    row = {key: value for key, value in mutant._asdict().items() if key != "span"}
    row |= {"outcome": outcome, "seconds": round(seconds, 1)}
    if outcome == "killed":
        row["test"] = worker.by_which()
    with open(RESULTS, "a") as file:
        file.write(json.dumps(row) + "\n")


def report(mutants: list[Mutant]) -> int:
    """Prints results by room and every survivor; 1 where one is not explained."""
    results = known()
    rows = [(m, results[m.name]) for m in mutants if m.name in results]
    rooms: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    survivors = []
    for mutant, row in rows:
        outcome = row["outcome"]
        if outcome == "survived":
            outcome = "equivalent" if mutant.name in EQUIVALENT else outcome
            survivors += [mutant] * (outcome == "survived")
        rooms[room_of(mutant.file)][outcome] += 1
    print(f"{'':10} {'mutants':>8} {'noticed':>8} {'equal':>8} {'survived':>8}")
    total: collections.Counter = sum(rooms.values(), collections.Counter())
    for room, counts in [*sorted(rooms.items()), ("all", total)]:
        noticed = counts["killed"] + counts["timeout"]
        numbers = counts.total(), noticed, counts["equivalent"], counts["survived"]
        print(f"{room:10} " + " ".join(f"{n:8}" for n in numbers))
    for mutant in survivors:
        print(mutant)
    return int(bool(survivors))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200, help="mutants that are drawn")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--only", default="", help="part of the path, or a name")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument(
        "--timeout", type=float, default=600, help="seconds that the tests may take"
    )
    parser.add_argument(
        "--scratch",
        type=Path,
        default=ROOT / "build" / "mutants",
        help="where the copies of the tree go",
    )
    for name, text in (
        ("list", "print the mutants and run none"),
        ("report", "print the results and run none"),
        ("survivors", "run those again that survived"),
        ("trust", "do not run the tests as they are first"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=text)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    every = all_mutants()
    chosen = [m for m in every if options.only in f"{m.file} {m.name}"]
    if not chosen:
        print(f"tools/mutate.py: no mutant of {options.only!r}", file=sys.stderr)
        return 2
    if options.report:
        return report(chosen)
    results = known()
    if options.survivors:
        kept = (m for m in chosen if results.get(m.name, {}).get("outcome"))
        waiting = [m for m in kept if results[m.name]["outcome"] == "survived"]
        waiting = [m for m in waiting if m.name not in EQUIVALENT]
    else:
        drawn = draw(chosen, options.count, options.seed)
        waiting = [m for m in drawn if m.name not in results]
    if options.list:
        print(*waiting, f"{len(waiting)} of {len(every)} mutants", sep="\n")
        return 0
    if waiting:
        scratch = options.scratch.resolve()
        run(waiting, options.jobs, options.timeout, scratch, options.trust)
    return report(chosen)


if __name__ == "__main__":
    sys.exit(main())
