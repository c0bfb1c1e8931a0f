"""Who may import whom: the rules of the architecture, read from the source."""

import ast
import importlib
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


# Rules 1 to 3: what each room may import of resseg, besides itself and resseg.errors.
MAY_IMPORT = {
    "models": ["gradients.fork", "gradients.joins", "gradients.preserve"],
    "gradients": [],
    "losses": [],
    "metrics": [],
    "optim": [],
    "sharding": [],
    "data": [],
    # `resseg data show --config FILE`, or the base config
    "data.commands": ["data", "config.load_config", "fields.base_config"],
    "runs": [
        "__version__",
        "checkpoints.restore_variables",
    ],  # behind Run.variables, when it is called
    "coefficients": [],
    "fields": ["coefficients"],
    "refusals": ["fields"],
    "path_rules": ["backbone", "coefficients", "fields", "refusals"],
    # `to_torch` is given a config and spells out its backbone
    "models.interop": ["models", "backbone"],
    "models.plan": [],
    "backbone": ["models.plan"],
    "combinations": ["backbone", "path_rules", "refusals"],
    "validation": ["fields", "combinations", "models.plan"],
    "config": ["fields", "combinations", "validation"],
    "steps": ["losses", "metrics", "optim", "gradients"],
    "checkpoints": ["steps", "runs.layout"],
    "report": [
        "runs",
        "data.spec",
        "data.VOID",
        "fields.flatten",
        "fields.base_config",  # to mark what differs from it
    ],
    # the reading side of sweeps; a sweep itself reads the two modules named below
    "report.sweep_page": ["report", "runs", "fields.flatten", "sweeps"],
    "report.board": ["report", "runs", "sweeps"],
    "sweeps": [
        *("__version__", "runs", "config", "fields", "progress", "structure"),
        *("data.sources", "data.pipeline.TrainLoader"),  # is all data there?
        *("report.profile", "report.timeline"),  # scores of the gradient log
    ],
}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_only_what_they_may(room):
    allowed = [f"resseg.{name}" for name in (room, "errors", *MAY_IMPORT[room])]
    inner = [f"resseg.{name}" for name in MAY_IMPORT if name.startswith(f"{room}.")]
    modules = set(modules_of(f"resseg.{room}")) - set(modules_of(*inner))
    assert offenders(sorted(modules), ["resseg"], allowed) == []


def test_nothing_but_the_commands_imports_the_trainers():
    """`resseg train`, and the worker of a sweep."""
    above = ["resseg.training.run", "resseg.training.together", "resseg.cli"]
    command = ("resseg.cli", "resseg.subcommands", "resseg.sweeps.worker")
    rest = [m for m in modules_of("resseg") if m not in (*command, *above)]
    found = offenders(rest, above)
    assert [pair for pair in found if pair[0] != "resseg.__main__"] == []


def test_models_and_steps_never_see_a_config():
    """Rule 4."""
    modules = modules_of("resseg.models", "resseg.training.steps", "resseg.gradients")
    assert offenders(modules, ["ml_collections", "resseg.config.load", "configs"]) == []


def test_data_and_configs_know_no_jax():
    """Rules 4 and 5: data runs in workers; configs load where no device is."""
    modules = modules_of(
        "resseg.data",
        "resseg.config.coefficients",
        "resseg.config.fields",
        "resseg.config.keys",
        "resseg.config.shortcut_rules",
        "resseg.architecture",
        "resseg.architecture",
        "resseg.config.rules",
        "resseg.config.validation",
        "resseg.config.load",
        "resseg.config.structure",
        "resseg.sweeps",
        "configs",
    ) + [m for m in modules_of("experiments") if m.endswith((".study", ".config"))]
    assert offenders(modules, ["jax", "jaxlib", "flax", "optax"]) == []
    assert offenders(modules_of("configs"), ["resseg"]) == []


def test_the_command_imports_nothing_heavy_at_its_top():
    """So that `resseg --help` answers at once."""
    light = (
        "resseg",
        "resseg.errors",
        "resseg.command_line",
        "resseg.help_texts",
        "resseg.interrupts",
        "resseg.subcommands",
    )
    for module in (*light, "resseg.cli"):
        for node in ast.parse(SOURCES[module]).body:
            if isinstance(node, ast.Import):
                assert not {"jax", "numpy"} & {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom) and within(node.module, "resseg"):
                assert node.module in light, f"{module}: {node.module}"


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("orbax", ["resseg.runs.checkpoints"]),
        ("jax.make_mesh", ["resseg.sharding"]),
        ("tensorboardX", ["resseg.runs"]),
        ("pyarrow", ["resseg.runs"]),
        ("grain", ["resseg.data"]),
        ("tensorflow_datasets", ["resseg.data"]),
        ("tensorflow", []),
        ("torch", ["resseg.interop.files"]),  # the reader of .pth alone
        ("safetensors", ["resseg.interop.files"]),
    ],
)
def test_libraries_that_move_have_one_home(library, homes):
    """Rule 6, and none that resseg runs without."""
    modules = [m for m in modules_of("resseg") if not any(within(m, h) for h in homes)]
    assert offenders(modules, [library]) == []


def test_meshes_are_made_in_sharding_alone():
    """Rule 6 again: naming `Mesh` as a type is no construction."""
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
