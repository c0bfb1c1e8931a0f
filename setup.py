"""Puts the experiments of `configs/` into the wheel, as data of the package.

Everything else about the build stands in pyproject.toml.
"""

from pathlib import Path

from setuptools import find_packages, setup

EXPERIMENTS = Path("configs")
FOLDERS = {path.parent for path in EXPERIMENTS.rglob("*.py")}

setup(
    packages=find_packages(include=["resseg", "resseg.*"])
    + [".".join(("resseg", *folder.parts)) for folder in sorted(FOLDERS)],
    package_dir={"resseg.configs": "configs"},
)
