"""What is installed elsewhere: the built wheel, looked into and used from another directory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS, FILES = ("relayjax", "kernels", "configs"), ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel. Built from a copy: an earlier build's leftovers can't hide a missing file."""
    copy, wheels, site = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "site"))
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, copy / name)
    build = "-m pip --disable-pip-version-check wheel --quiet --no-index --no-deps --no-build-isolation -w"
    subprocess.run([sys.executable, *build.split(), str(wheels), str(copy)], check=True)
    (wheel,) = wheels.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def _files(folder: Path, prefix: str = "") -> set[str]:
    """Every file below a folder that has to be in the wheel."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {prefix + path.relative_to(folder).as_posix() for path in paths}


def test_holds_every_file_and_no_top_level_name_but_its_own(installed: Path):
    expected = _files(ROOT / "relayjax")
    expected |= _files(ROOT / "kernels", "kernels/") | _files(ROOT / "configs", "configs/")
    assert {"py.typed", "report/report.html"} <= expected
    assert _files(installed / "relayjax") == expected
    (info,) = installed.glob("relayjax-*.dist-info")
    assert {path.name for path in installed.iterdir()} == {"relayjax", info.name}


def test_metadata_names_command_licence_and_python(installed: Path):
    (info,) = installed.glob("relayjax-*.dist-info")
    scripts = ConfigParser()
    scripts.read(info / "entry_points.txt")
    metadata = set((info / "METADATA").read_text("utf-8").splitlines())
    assert dict(scripts["console_scripts"]) == {"relayjax": "relayjax.__main__:main"}
    assert {"License-Expression: Apache-2.0", "License-File: LICENSE", "Requires-Python: >=3.11"} <= metadata


def test_works_from_another_directory(installed: Path, tmp_path: Path):
    # Neither the source nor an editable install of it may fill in what the wheel lacks.
    program = f"""
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
sys.path.insert(0, {str(installed)!r})
import relayjax.audit, relayjax.cli, relayjax.configs.digits
from relayjax.kernels import mxint8
print(relayjax.__file__, mxint8.__file__)
"""
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert all(Path(file).is_relative_to(installed) for file in said.split())
