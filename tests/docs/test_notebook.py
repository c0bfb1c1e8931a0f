"""The notebook of the documentation runs from its first cell to its last."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

DOCS = Path(__file__).resolve().parents[2] / "docs"
NOTEBOOK = DOCS / "gradient_through_a_shortcut.ipynb"


# Of the kernel's channels: they end with their event loop.
@pytest.mark.filterwarnings("default::ResourceWarning", "default::DeprecationWarning")
def test_a_gradient_through_a_shortcut(tmp_path, monkeypatch):
    """It compares with known values itself; as users run it, with optimised code."""
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    where = {"metadata": {"path": str(DOCS)}}
    NotebookClient(notebook, timeout=600, resources=where).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    assert NOTEBOOK.stat().st_size < 100_000
