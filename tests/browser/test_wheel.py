"""Wheel of attnviz: built, installed into a fresh environment, opened from an empty folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.steps import open_app
from tests.served import ROOT, served

IN_A_WHEEL = ("attnviz", "pyproject.toml", "README.md", "LICENSE", "NOTICE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment in which only attnviz is new; the rest comes from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build in the checkout would leave its files there
    source.mkdir()
    for name in IN_A_WHEEL:
        if (ROOT / name).is_dir():
            leave_out = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=leave_out)
        else:
            shutil.copy2(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-index"]
    build = [*pip, "wheel", *options, "--no-build-isolation", "-w", str(folder), str(source)]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("attnviz-*.whl")
    shutil.rmtree(source)

    environment = folder / "environment"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    places = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    others = Path(places.stdout.strip()) / "others.pth"
    others.write_text(sysconfig.get_path("purelib"), "utf-8")
    install = [*pip, "--python", str(python), "install", *options, "--ignore-installed", str(wheel)]
    subprocess.run(install, check=True)
    return environment


def app(port: str) -> list[str]:
    return ["app", "--headless", "--port", port, "--models", "gpt-classroom"]


@pytest.mark.slow
def test_an_installed_wheel_serves_the_app_from_an_empty_folder(
    installed: Path, page: Page, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    code = "import attnviz; print(attnviz.__file__)"
    printed = subprocess.run(
        [installed / "bin" / "python", "-I", "-c", code],  # -I: without PYTHONPATH
        cwd=empty,
        check=True,
        capture_output=True,
        text=True,
    )
    assert installed in Path(printed.stdout.strip()).parents
    log = tmp_path / "log"
    program = [str(installed / "bin" / "attnviz")]
    with served(app, log, program=program, folder=empty, search=None) as address:
        open_app(page, (address, log))
    assert not list(empty.iterdir())
