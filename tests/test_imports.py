"""Who may import whom: the rules of docs/architecture.md, read from the source."""

import ast
import functools
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(source):
    """Dotted names that a module imports, at its top or inside a function.

    `from resseg.data import spec` counts as `resseg.data.spec`: whether it is a module
    or a name inside one, the part before it is what the rules speak of.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name, package):
    return name == package or name.startswith(f"{package}.")


SOURCES = {
    module_name(path): path.read_text()
    for folder in ("resseg", "configs", "experiments")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
IMPORTS = {name: set(imported_names(text)) for name, text in SOURCES.items()}


def modules_of(*packages):
    return [name for name in IMPORTS if any(within(name, p) for p in packages)]


def offenders(modules, forbidden, allowed=()):
    """Pairs (module, import) where an import is forbidden and not allowed after all."""
    return [
        (module, name)
        for module in modules
        for name in sorted(IMPORTS[module])
        if any(within(name, package) for package in forbidden)
        and not any(within(name, package) for package in allowed)
    ]


def module_of(name):
    """The module of resseg that an imported name is, or is in; "" for other names."""
    while name and name not in SOURCES:
        name = name.rpartition(".")[0]
    return name if within(name, "resseg") else ""


def room_of(module):
    """First part below resseg: a folder, or a file of the hall."""
    return [*module.split("."), "__init__"][1]


OPEN = ("errors", "text")  # to every room
# What each room may import of resseg, besides itself and these.
MAY_IMPORT = {
    "config": ["architecture"],
    "gradients": [],
    "models": ["architecture", "gradients", "xla"],
    "blueprint": ["architecture", "config", "console", "gradients", "models"],
    "data": ["console"],
    "runs": ["__version__", "config"],
    "programs": ["console"],
    "processes": [],
    "gradient_log": ["config", "console", "figures", "runs"],
    "inference": [
        *("architecture", "blueprint", "config", "console", "data", "figures"),
        *("models", "processes", "runs", "sharding"),
    ],
    "training": [
        *("architecture", "blueprint", "config", "console", "data", "gradients"),
        *("inference", "processes", "programs", "runs", "sharding"),
    ],
    "pruning": ["architecture", "config", "gradients", "inference"],
    "interop": [
        *("architecture", "blueprint", "config", "data", "inference", "runs"),
        "sharding",
    ],
    "export": [
        *("architecture", "blueprint", "data", "inference", "interop", "models"),
        *("runs", "sharding"),
    ],
    "probes": [
        *("architecture", "blueprint", "config", "console", "data", "figures"),
        *("gradient_log", "gradients", "inference", "models", "runs"),
        *("sharding", "training"),
    ],
    "sweeps": [
        *(
            "__version__",
            "architecture",
            "config",
            "console",
            "data",
            "figures",
            "gradient_log",
            "runs",
        ),
    ],
    "sweeps.worker": [
        "sweeps",
        "config",
        "console",
        "gradient_log",
        "programs.place",
        "runs",
        "training",
    ],
    "report": [
        *("config", "console", "data.colors", "data.spec", "figures", "gradient_log"),
        *("inference.pictures", "runs", "sweeps"),
        *("__version__", "export"),  # the card of an export
    ],
}
HALL = (
    *("errors", "text", "architecture", "console", "figures", "sharding", "xla"),
    "malloc",
)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_only_what_they_may(room):
    allowed = [f"resseg.{name}" for name in (room, *OPEN, *MAY_IMPORT[room])]
    inner = [f"resseg.{name}" for name in MAY_IMPORT if name.startswith(f"{room}.")]
    modules = set(modules_of(f"resseg.{room}")) - set(modules_of(*inner))
    assert offenders(sorted(modules), ["resseg"], allowed) == []


def test_the_hall_is_ten_files_that_know_no_room():
    files = {path.stem for path in (ROOT / "resseg").glob("*.py")}
    assert files == {*HALL, "__init__", "__main__"}
    for name in HALL:
        allowed = [f"resseg.{other}" for other in HALL]
        assert offenders([f"resseg.{name}"], ["resseg"], allowed) == []


def test_every_room_has_a_rule():
    rooms = {room_of(module) for module in modules_of("resseg")}
    assert rooms == {*MAY_IMPORT, *HALL, "__init__", "__main__", "cli"} - {
        "sweeps.worker"
    }


def edges():
    """(importing module, imported module), both of resseg; its version is no module."""
    return {
        (module, module_of(name))
        for module in modules_of("resseg")
        for name in IMPORTS[module] - {"resseg.__version__"}
        if module_of(name) not in ("", module)
    }


def longest_chains(pairs):
    """Height of each node over what it imports, 1 for one that imports nothing.

    Raises:
        AssertionError: there is a circle; names it.
    """
    below = {}
    for above, under in pairs:
        below.setdefault(above, set()).add(under)
        below.setdefault(under, set())
    way = []

    @functools.cache
    def height(node):
        assert node not in way, f"a circle: {[*way[way.index(node) :], node]}"
        way.append(node)
        result = 1 + max(map(height, below[node]), default=0)
        way.pop()
        return result

    return {node: height(node) for node in below}


def test_no_module_imports_itself_by_a_circle():
    # A package is imported with each of its modules; what it offers is no way back.
    pairs = {(a, b) for a, b in edges() if not within(a, b) and not within(b, a)}
    assert longest_chains(pairs)


def test_rooms_stand_on_ten_floors_and_no_import_goes_up():
    pairs = {(room_of(a), room_of(b)) for a, b in edges()}
    heights = longest_chains({(a, b) for a, b in pairs if a != b})
    assert max(heights.values()) <= 10, heights


def test_a_circle_is_seen():
    with pytest.raises(AssertionError, match="circle"):
        longest_chains({("a", "b"), ("b", "c"), ("c", "a")})
    assert longest_chains({("a", "b"), ("b", "c"), ("a", "c")})["a"] == 3


def test_nothing_but_the_commands_and_the_worker_imports_the_trainers():
    trainers = ["resseg.training.run", "resseg.training.together"]
    allowed = modules_of("resseg.cli", "resseg.training", "resseg.sweeps.worker")
    rest = [m for m in modules_of("resseg") if m not in allowed]
    assert offenders(rest, trainers) == []
    assert offenders(modules_of("resseg"), ["resseg.cli"], ["resseg.cli"]) == []
    entry = offenders(["resseg.__main__"], ["resseg"])
    assert [name for _, name in entry] == ["resseg.cli.main.main"]


def test_models_and_steps_never_see_a_config():
    modules = modules_of("resseg.models", "resseg.training.steps", "resseg.gradients")
    assert offenders(modules, ["ml_collections", "resseg.config"]) == []


def test_data_and_configs_know_no_jax():
    """Data runs in workers; configs load where no device is."""
    worker = "resseg.sweeps.worker"
    modules = modules_of(
        "resseg.architecture",
        "resseg.config",
        "resseg.data",
        "resseg.sweeps",
        "configs",
    ) + [m for m in modules_of("experiments") if m.endswith((".study", ".config"))]
    modules = [m for m in modules if m != worker]
    assert offenders(modules, ["jax", "jaxlib", "flax", "optax"]) == []
    assert offenders(modules_of("configs"), ["resseg"], ["resseg.config"]) == []


def test_commands_import_nothing_heavy_at_their_top():
    """So that `resseg --help` answers at once."""
    light = (
        *("resseg", "resseg.errors", "resseg.text", *modules_of("resseg.cli")),
        *("resseg.training", "resseg.training.stops"),
        *modules_of("resseg.processes"),
    )
    for module in light:
        for node in ast.parse(SOURCES[module]).body:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            else:
                continue
            for name in names:
                known = name.partition(".")[0] in sys.stdlib_module_names
                assert known or name in light, f"{module}: {name}"


def test_only_commands_and_the_worker_read_a_command_line():
    allowed = [*modules_of("resseg.cli"), "resseg.sweeps.worker"]
    rest = [m for m in modules_of("resseg") if m not in allowed]
    assert offenders(rest, ["argparse"]) == []


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("orbax", ["resseg.runs"]),
        ("jax.make_mesh", ["resseg.sharding"]),
        ("tensorboardX", ["resseg.runs"]),
        ("wandb", ["resseg.runs.trackers.to_wandb"]),
        ("mlflow", ["resseg.runs.trackers.to_mlflow"]),
        ("trackio", ["resseg.runs.trackers.to_trackio"]),
        ("pyarrow", ["resseg.runs"]),
        ("grain", ["resseg.data"]),
        ("tensorflow_datasets", ["resseg.data"]),
        ("tensorflow", []),
        ("torch", ["resseg.interop.files"]),  # the reader of .pth alone
        ("safetensors", ["resseg.interop.files"]),
        ("onnx", ["resseg.export"]),
        ("onnxruntime", ["resseg.export"]),
        ("litert_converter", ["resseg.export"]),
        ("ai_edge_litert", ["resseg.export"]),
    ],
)
def test_libraries_that_move_have_one_home(library, homes):
    """And none that resseg runs without."""
    modules = [m for m in modules_of("resseg") if not any(within(m, h) for h in homes)]
    assert offenders(modules, [library]) == []


def test_meshes_are_made_in_sharding_alone():
    """Naming `Mesh` as a type is no construction."""
    constructors = ("jax.make_mesh", "jax.sharding.Mesh", "Mesh")
    makers = {
        module
        for module, source in SOURCES.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in constructors
    }
    assert makers == {"resseg.sharding"}


@pytest.mark.parametrize("module", modules_of("resseg"))
def test_every_module_imports(module):
    importlib.import_module(module)


def test_the_walk_sees_imports_inside_functions_and_of_names():
    names = imported_names("import a.b\ndef f():\n    from c.d import e, g\n")
    assert list(names) == ["a.b", "c.d.e", "c.d.g"]
