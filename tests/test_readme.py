"""The README says what the code says."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import click

from app.command import main as serve
from pipeline.cli import cli
from pipeline.removal import THUMBNAILS
from pipeline.settings import Settings
from pipeline.store import WORKSHOP
from tools.reference import README, inserted, walk

ROOT = Path(__file__).resolve().parent.parent


def test_reference_is_what_the_code_says() -> None:
    """The generated part is up to date; `make reference` writes it anew."""
    text = README.read_text("utf-8")
    assert inserted(text) == text


def test_commands_and_options_in_the_text_exist() -> None:
    """Every command and long option that the README's own text names is one of the program's."""
    text = README.read_text("utf-8").partition("<!-- reference: begin -->")[0]
    commands = {**dict(walk(cli, "pipeline")), "app": serve}
    options = {
        name for c in commands.values() for p in c.params for name in p.opts if isinstance(p, click.Option)
    }
    for named in re.findall(r"-m pipeline ((?:db )?[a-z]+)", text):
        assert f"pipeline {named}" in commands, named
    foreign = {"--build", "--detach"}
    for name in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text):
        assert name in options | foreign, name


def test_every_place_is_named() -> None:
    """The README says what each folder is for, and git leaves alone what its examples write into the project."""
    text = README.read_text("utf-8")
    places = text.partition("## What is where")[2].partition("##")[0]
    defaults = Settings()
    folders = (defaults.input, defaults.extracted, defaults.static, defaults.data, THUMBNAILS, WORKSHOP)
    for folder in map(str, (*folders, defaults.processed_folder.name, defaults.failed_folder.name)):
        assert f"{folder}/" in places, folder
    ignored = (ROOT / ".gitignore").read_text("utf-8").split()
    for written in re.findall(r"--(?:metrics-file|quarantine) ([\w.]+)", text):
        assert any(fnmatch(f"/{written}", line.rstrip("/")) for line in ignored), written


def test_make_targets_in_the_text_exist() -> None:
    """Every make target that the README names is one."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"[`$] ?make ([a-z-]+)", README.read_text("utf-8")):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
