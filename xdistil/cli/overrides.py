"""The command line of train.py: arguments -> a validated Experiment, or an error in one sentence.

ml_collections applies the overrides. Its own errors are tracebacks, so names, indices and values
are checked against the dataclasses first.
"""

import contextlib
import dataclasses
import inspect
import logging
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from xdistil.config import RENAMED, Baseline, Experiment, Stage
from xdistil.errors import InputError, show, suggest
from xdistil.plans import PLANS, RECIPES
from xdistil.validation.experiment import validate
from xdistil.validation.values import check_types

USAGE = """\
xdistil distils a large encoder into a small, fast student. Three ways to start:

  python train.py --config=configs/quickstart.py --workdir=runs/quickstart
  python train.py --config=configs/ner.py:d4.2 --config.data.folder=FOLDER \\
      --config.teacher.model=MODEL --workdir=runs/ner
  python train.py --config=configs/classify.py:d4.2 --config.data.folder=FOLDER \\
      --config.teacher.model=MODEL --workdir=runs/classify --dry-run

These files are part of the package as well: --config=xdistil:ner:d4.2 works in any folder. Every
field of xdistil/config.py is an option, such as --config.batch_size=32, and so is every field of a
stage, such as --config.plan[0].lr=1e-3. --dry-run prints the data, the models and the plan, and
exits. --verbose prints the details of a run too: every language, layer map and batch."""

log = logging.getLogger("xdistil")

_SWITCHES = ("dry-run", "verbose")
_PLAIN = ("config", "workdir", *_SWITCHES, "help")


@dataclass(frozen=True)
class Command:
    """What the command line of train.py asks for."""

    experiment: Experiment
    workdir: Path
    dry_run: bool
    verbose: bool


def parse_command(arguments: list[str]) -> Command:
    """Reads train.py's arguments (without the program's name).

    Raises:
        InputError: any mistake in them; the sentence names the nearest valid name.
    """
    given = split_arguments(arguments)
    values = dict(given)
    experiment = make_experiment(values.get("config", ""), list_overrides(given))
    workdir = read_workdir(values)
    dry_run, verbose = (read_switch(values, name) for name in _SWITCHES)
    return Command(experiment, workdir, dry_run, verbose)


def make_experiment(config: str, overrides: Sequence[tuple[str, str]]) -> Experiment:
    """The experiment of a --config, with (path, value) of every --config.PATH=VALUE, validated.

    A path `plan` takes the name of a plan, which replaces all stages before other paths are read. A
    path `baselines` takes nothing, and removes them.

    Raises:
        InputError: any mistake in them; the sentence names the nearest valid name.
    """
    if not config:
        raise InputError(
            "--config is missing: name a config, such as --config=configs/ner.py:d4.2."
        )
    experiment = _load(config)
    for path, value in overrides:
        if path == "plan":
            experiment = replace(experiment, plan=_find_plan(value))
        elif path == "baselines":
            experiment = replace(experiment, baselines=_remove_baselines(value))
    named = [(path, value) for path, value in overrides if path not in ("plan", "baselines")]
    checked = [(_check_override(experiment, path, value), value) for path, value in named]
    experiment = _apply(experiment, checked)
    validate(experiment)
    return experiment


def list_overrides(given: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """(path, value) of every --config.PATH=VALUE among the options."""
    return [
        (name.removeprefix("config."), value) for name, value in given if name.startswith("config.")
    ]


def read_workdir(values: Mapping[str, str]) -> Path:
    """The folder of --workdir."""
    if not values.get("workdir"):
        raise InputError("--workdir is missing: name a folder for the results of this run.")
    return Path(values["workdir"]).expanduser()


def read_switch(values: Mapping[str, str], name: str) -> bool:
    """Whether a switch is on."""
    value = values.get(name, "false").lower()
    if value not in ("true", "false"):
        raise InputError(f"--{name} is {value!r}: it must be true or false.")
    return value == "true"


def split_arguments(
    arguments: Sequence[str], plain: Sequence[str] = _PLAIN
) -> list[tuple[str, str]]:
    """(name, value) of every --name=value, --name value or --switch.

    Args:
        plain: the options that are no field of the config.
    """
    pairs: list[tuple[str, str]] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--"):
            raise InputError(
                f"{argument!r} is no option: options start with --, as in --workdir=runs/x."
            )
        name, equals, value = argument[2:].partition("=")
        name = "dry-run" if name == "dry_run" else name
        if name not in plain and not name.startswith("config."):
            raise InputError(
                f"--{name} is no option{suggest('--' + name, ['--' + n for n in plain])}."
            )
        if not equals:
            takes_next = name not in _SWITCHES and rest and not rest[0].startswith("--")
            value = rest.pop(0) if takes_next else "true" if name in _SWITCHES else ""
            if not value:
                raise InputError(f"--{name} has no value: write --{name}=VALUE.")
        pairs.append((name, value))
    return pairs


def _find_plan(name: str) -> tuple[Stage, ...]:
    if name not in PLANS:
        raise InputError(
            f"--config.plan={name}: plan is a list: write plan[0].FIELD=VALUE, or the name of a "
            f"plan{suggest(name, PLANS)}."
        )
    return PLANS[name]()


def _remove_baselines(value: str) -> tuple[Baseline, ...]:
    if value:
        raise InputError(
            f"--config.baselines={value}: baselines is a list: write baselines[0].FIELD=VALUE, or "
            "--config.baselines= for a run without baselines."
        )
    return ()


def read_sweep(text: str, overrides: Sequence[tuple[str, str]] = ()) -> list[dict[str, str]]:
    """What the function `sweep` of a config file yields, as texts; empty if it has none.

    Args:
        text: as --config has it; `sweep` gets what stands after the colon, if it takes an argument.
        overrides: fields and values; a `sweep` of two arguments gets the experiment with them.

    Raises:
        InputError: the file cannot be read, or it yields no mapping of fields to values.
    """
    source, *argument = text.split(":", 1)
    if source == "xdistil" or not text:
        return []
    module = _import_config(text)
    if not hasattr(module, "sweep"):
        return []
    with _as_config(text):
        takes = len(inspect.signature(module.sweep).parameters)
        if takes == 2:
            runs = list(module.sweep("".join(argument), make_experiment(text, overrides)))
        else:
            runs = list(module.sweep(*argument) if takes else module.sweep())
    for each in runs:
        if not isinstance(each, dict) or not all(isinstance(name, str) for name in each):
            raise InputError(
                f"--config={text}: its sweep yields {show(each)}, and must yield fields and their "
                'values, such as {"seed": 1, "plan": "d2"}.'
            )
    return [{name: str(value) for name, value in each.items()} for each in runs]


def _load(text: str) -> Experiment:
    """The Experiment of `FILE`, `FILE:ARGUMENT`, `xdistil:RECIPE` or `xdistil:RECIPE:VARIANT`."""
    source, *argument = text.split(":", 1)
    if source == "xdistil":  # of the package; the others are files
        name, *variant = "".join(argument).split(":", 1)
        if name not in RECIPES:
            hint = suggest(name, RECIPES)
            if name == "paper":
                file = ":".join(["configs/paper.py", *variant])
                hint = f" (it is a file of the repository: --config={file})"
            raise InputError(f"--config={text}: there is no recipe {name!r}{hint}.")
        return RECIPES[name](*variant)
    module = _import_config(text)
    if not hasattr(module, "get_config"):
        raise InputError(
            f"--config={text} has no function get_config: it must return an xdistil Experiment."
        )
    with _as_config(text):
        experiment = module.get_config(*argument)
    if not isinstance(experiment, Experiment):
        raise InputError(f"--config={text}: its get_config must return an xdistil Experiment.")
    check_types(experiment, "")  # before overrides, which need groups and tuples
    return experiment


def _import_config(text: str) -> Any:
    """The module of `FILE` or `FILE:ARGUMENT`."""
    source = text.split(":", 1)[0]
    path = Path(source).expanduser()
    if not path.is_file():
        if source in RECIPES:
            raise InputError(f"--config={text} is no file: the recipe is --config=xdistil:{text}.")
        near = sorted(str(p) for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise InputError(f"--config={path} does not exist{suggest(str(path), near)}.")
    loader = SourceFileLoader("xdistil_config", str(path))
    module = module_from_spec(ModuleSpec(loader.name, loader, origin=str(path)))
    sys.modules[loader.name] = module  # where dataclasses of the file look for it
    with _as_config(text):
        loader.exec_module(module)
    return module


@contextlib.contextmanager
def _as_config(text: str) -> Iterator[None]:
    """Reports what a config file raises: it is a program, and may raise anything."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
        raise InputError(f"--config={text} cannot be read as a config: {reason}.") from error


def _apply(experiment: Experiment, overrides: list[tuple[str, str]]) -> Experiment:
    """A copy of the experiment with (path, value) of every override in it."""
    arguments = [f"--config.{path}={value}" for path, value in overrides]
    values = flags.FlagValues()
    try:
        config = config_flags.DEFINE_config_dataclass(
            "config", experiment, flag_values=values, sys_argv=arguments
        )
        values(["train.py", *arguments])
    except flags.Error as error:  # a value that was not refused here, such as endless digits
        raise InputError(f"{str(error).splitlines()[0].rstrip('.')}.") from error
    return config.value


def _check_override(experiment: Experiment, path: str, value: str) -> str:
    """Follows a dotted path such as `plan[0].lr` to a field and checks the value's type.

    Returns the path, with the new names of renamed fields.
    """
    part: Any = experiment
    steps = path.split(".")
    for depth, step in enumerate(steps):
        match = re.fullmatch(r"(\w+)(?:\[(-?\w*)\])?", step)
        name, index = match.groups() if match else (step, None)
        if new := RENAMED.get(type(part), {}).get(name):
            steps[depth] = step.replace(name, new, 1)
            name = new
        done = ".".join([*steps[:depth], ""])
        fields = {item.name: item for item in dataclasses.fields(part)}
        if name not in fields:
            found = ", ".join(_find_in_groups(part, name))
            hint = f" (there is {found})" if found else suggest(name, fields)
            raise InputError(f"--config.{path}: there is no field {done}{name}{hint}.")
        child = getattr(part, name)
        if isinstance(child, tuple):
            if index is None:
                raise InputError(
                    f"--config.{path}: {done}{name} is a list: write {done}{name}[0].FIELD=VALUE."
                )
            if not index.isdecimal() or int(index) >= len(child):
                known = f"it has 0 to {len(child) - 1}" if child else "it is empty"
                wrong = f"has no index {index}" if index else "needs an index"
                raise InputError(f"--config.{path}: {done}{name} {wrong}: {known}.")
            child = child[int(index)]
        elif index is not None:
            raise InputError(f"--config.{path}: {done}{name} is not a list: remove [{index}].")
        last = depth == len(steps) - 1
        if dataclasses.is_dataclass(child):
            if last:
                names = ", ".join(item.name for item in dataclasses.fields(child))
                raise InputError(f"--config.{path} is a group of fields: set one of {names}.")
        elif not last:
            raise InputError(f"--config.{path}: {done}{name} is a value and has no fields.")
        else:
            _check_value(path, fields[name].type, value)
        part = child
    current = ".".join(steps)
    if current != path:
        log.warning(
            "--config.%s is now --config.%s; the old name is accepted until version 0.3.",
            path,
            current,
        )
    return current


def _find_in_groups(part: Any, name: str) -> list[str]:
    """Where the groups of a part have a field of that name, such as data.limit or plan[0].lr."""
    groups: dict[str, Any] = {}
    for item in dataclasses.fields(part):
        child = getattr(part, item.name)
        if isinstance(child, tuple) and child:
            groups[f"{item.name}[0]"] = child[0]
        else:
            groups[item.name] = child
    return [
        f"{place}.{name}"
        for place, group in groups.items()
        if dataclasses.is_dataclass(group) and hasattr(group, name)
    ]


def _check_value(path: str, kind: object, value: str) -> None:
    if kind is bool and value.lower() not in ("true", "false", "1", "0"):
        raise InputError(f"--config.{path}={value}: it must be True or False.")
    if kind is int and not re.fullmatch(r"[+-]?\d+", value):
        raise InputError(f"--config.{path}={value}: it must be a whole number.")
    if kind is float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"--config.{path}={value}: it must be a finite number.")
