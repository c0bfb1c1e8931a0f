"""Writes the locks under `requirements/`: one version of each package, with hashes.

    python tools/lock.py              keeps the versions of the locks where they fit
    python tools/lock.py --upgrade    takes the newest that pyproject.toml allows

Needs uv (`pip install uv`); arguments go on to `uv pip compile`. A pair of Python and
JAX has two files: `pyXY-jaxA.B.txt`, what resseg and its everyday tests need, and
`pyXY-jaxA.B-extras.txt`, what tests of its extras need besides. A lock holds
on Linux and macOS and names no index. To support another pair, add it to PAIRS and its
Python to the classifiers in pyproject.toml.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PAIRS = {"3.11": "0.10", "3.12": "0.12", "3.13": "0.12"}
# Tests of them are skipped where they are missing. Trackio is missing: it wants Pillow
# below 13.
EXTRAS = ("slurm", "ray", "browser", "labels", "export", "wandb", "mlflow")
ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    if shutil.which("uv") is None:
        sys.exit("tools/lock.py: uv is missing: pip install uv")
    for python, jax in PAIRS.items():
        lock = ROOT / "requirements" / f"py{python.replace('.', '')}-jax{jax}.txt"
        compile_lock(lock, python, jax, "--extra=dev")
        compile_lock(
            lock.with_name(f"{lock.stem}-extras.txt"),
            python,
            jax,
            *(f"--extra={extra}" for extra in EXTRAS),
            f"--constraints={lock}",
            *(f"--no-emit-package={package}" for package in packages(lock)),
        )


def compile_lock(lock: Path, python: str, jax: str, *options: str) -> None:
    """Resolves `pyproject.toml` for one pair of Python and JAX on all platforms.

    Args:
        lock: The file to write.
        python: Python's minor version, such as `3.12`.
        jax: That of JAX, such as `0.12`.
        *options: More options of `uv pip compile`.
    """
    print(f"{lock.relative_to(ROOT)}", flush=True)
    environments = json.dumps(
        [
            f"python_version == '{python}' and sys_platform == '{platform}'"
            for platform in ("linux", "darwin")
        ]
    )
    limits = (
        f'environments = {environments}\nconstraint-dependencies = ["jax=={jax}.*"]'
    )
    command = ["uv", "pip", "compile", "pyproject.toml", f"--python-version={python}"]
    command += ["--universal", "--generate-hashes", "--no-header", "--no-annotate"]
    command += ["--quiet", f"--output-file={lock}", *options, *sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:  # a project for this pair alone
        project = (ROOT / "pyproject.toml").read_text()
        (Path(folder) / "pyproject.toml").write_text(
            f"{project}\n[tool.uv]\n{limits}\n"
        )
        if subprocess.run(command, cwd=folder).returncode:
            sys.exit(f"tools/lock.py: {lock.name} was not written: see above")
    lock.write_text(without_limits(lock.read_text()))


def without_limits(lock: str) -> str:
    """The lock less what uv repeats in each line: that it holds for this pair alone."""
    python = r"python_full_version < '[\d.]+' and "
    platforms = r"\(sys_platform == 'darwin' or sys_platform == 'linux'\)"
    return re.sub(python, "", re.sub(rf" ; {python}{platforms}", "", lock))


def packages(lock: Path) -> list[str]:
    """The names of the packages that a lock pins."""
    return sorted(set(re.findall(r"^([\w.-]+)==", lock.read_text(), re.MULTILINE)))


if __name__ == "__main__":
    main()
