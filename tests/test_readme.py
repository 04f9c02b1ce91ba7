"""What README.md and docs/ show is what there is: Python blocks run, command lines are understood."""

import ast
import importlib
import re
import shlex
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import pytest
import torch
from typer.main import get_command

from conftest import REPOSITORY
from timelift.cli.common import chosen_recipe
from timelift.cli.main import _VERBS, _app
from timelift.variants import parse_variant

FILES = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")])
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^(?: {4}.*)?\n)+", re.MULTILINE)
CONTINUED = re.compile(r"(?:.*\\\n)*.+")  # a line, with those that a backslash joins to it
SPAN = re.compile(r"`([^`\n]+)`")
OWN_FILE = re.compile(r"[\w.*-]+/|.+\.(csv|toml|json|npz|mp4|avi|jpg|png|pt|pth|safetensors|py)(:.*)?$")
PLACEHOLDER = re.compile(r"[A-Z]{3,}|\.\.\.")  # VERB, RUN, ...: for the reader to fill in


@dataclass(frozen=True)
class Shown:
    """A piece of text that a file shows, and the line where it begins."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def shown(file: Path, text: str, position: int, piece: str) -> Shown:
    return Shown(str(file.relative_to(REPOSITORY)), text.count("\n", 0, position) + 1, piece)


def python_blocks(file: Path, text: str) -> list[Shown]:
    return [shown(file, text, m.start(2), m[2]) for m in FENCED.finditer(text) if m[1] == "python"]


def spans(file: Path, text: str) -> list[Shown]:
    """What stands between single backticks, outside blocks."""
    without = FENCED.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)
    return [shown(file, text, m.start(1), m[1]) for m in SPAN.finditer(without)]


def command_lines(file: Path, text: str) -> list[Shown]:
    """Lines of blocks that call timelift or make, continued lines joined, and spans that do."""
    blocks = [(m.start(2), m[2]) for m in FENCED.finditer(text) if m[1] != "python"]
    outside = FENCED.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)
    blocks += [(m.start(), m[0]) for m in INDENTED.finditer(outside)]
    lines = [
        shown(file, text, start + m.start(), m[0].replace("\\\n", " ").strip().removeprefix("$ "))
        for start, block in blocks
        for m in CONTINUED.finditer(block)
    ]
    return [one for one in [*lines, *spans(file, text)] if arguments(one.text) is not None or made(one.text)]


def arguments(line: str) -> list[str] | None:
    """What follows `timelift`, also behind `torchrun ... -m`; None for other lines."""
    match = re.match(r"(?:torchrun .* -m )?timelift(?: (.*))?$", line, re.DOTALL)
    if match is None:
        return None
    words = shlex.split(match[1] or "", comments=True)
    return list(takewhile(lambda word: word not in ("|", ">", "&&"), words))


def made(line: str) -> list[str]:
    """The targets of a line that calls make."""
    words = shlex.split(line, comments=True) if line.startswith("make ") else []
    return [word for word in words[1:] if "=" not in word]


def click_command(verb: str):
    return get_command(_app(verb)).commands[verb]


def check_call(words: list[str]) -> None:
    """Raise for a verb or an option that does not exist, a missing value, or one argument too many."""
    if words and not words[0].startswith("-"):
        verb, *rest = (word for word in words if word != "...")
        command = click_command(verb)
        parser = command.make_parser(command.make_context(verb, [], resilient_parsing=True))
        parser.ctx.resilient_parsing = False
        values, extra, _ = parser.parse_args(list(rest))
        if extra:
            raise ValueError(f"timelift {verb} takes no {extra}")
        if rest and (missing := [p.name for p in command.params if p.required and not values.get(p.name)]):
            raise ValueError(f"timelift {verb} wants {missing}")
        check_values(values)
    elif set(words) - {"--help", "-h"}:
        raise ValueError(f"timelift has no {words}")


def check_values(values: dict) -> None:
    """Variants parse, and settings name fields of the recipe."""
    variants = values.get("variants") or values.get("variant") or []
    for variant in [variants] if isinstance(variants, str) else variants:
        if ".py:" not in variant and not PLACEHOLDER.search(variant):
            parse_variant(variant)
    chosen_recipe(None, values.get("settings"))


def check_names(block: str) -> None:
    """Compile, and find every name that is imported from timelift or taken from it."""
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("timelift"):
            for alias in node.names:
                check_dotted(f"{node.module}.{alias.name}")
        if isinstance(node, ast.Attribute):
            check_dotted(ast.unparse(node))


def check_dotted(name: str) -> None:
    """`timelift.a.b` is there, as attribute or module; other names are not looked at."""
    first, *rest = name.split(".")
    if first != "timelift" or not all(part.isidentifier() for part in rest):
        return
    there = importlib.import_module("timelift")
    for part in rest:
        if not hasattr(there, part):
            there = importlib.import_module(f"{there.__name__}.{part}")
        else:
            there = getattr(there, part)


def wants_files(block: str) -> bool:
    """Whether a block reads what only the reader has: videos, runs, weights."""
    constants = (node.value for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Constant))
    return any(isinstance(value, str) and OWN_FILE.match(value) for value in constants)


TEXTS = {file: file.read_text(encoding="utf-8") for file in FILES}
BLOCKS = [block for file, text in TEXTS.items() for block in python_blocks(file, text)]
LINES = [line for file, text in TEXTS.items() for line in command_lines(file, text)]
SPANS = [span for file, text in TEXTS.items() for span in spans(file, text)]


def test_there_is_something_to_check():
    assert len([block for block in BLOCKS if block.file == "README.md"]) >= 2
    verbs = {words[0] for line in LINES if (words := arguments(line.text))}
    assert {"scan", "compare", "report", "inspect", "train", "predict", "cache"} <= verbs
    assert {"demo", "test", "setup", "check"} <= {target for line in LINES for target in made(line.text)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_python_blocks_run(file, tmp_path, monkeypatch, capsys):
    """In order, a later block with the names of those before it; what needs the reader's files is not run."""
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": file.stem}
    with torch.random.fork_rng(devices=[]):
        for block in python_blocks(file, TEXTS[file]):
            check_names(block.text)
            if not wants_files(block.text):
                exec(compile(block.text, str(block), "exec"), names)


@pytest.mark.parametrize("line", [line for line in LINES if arguments(line.text) is not None], ids=str)
def test_command_lines_are_understood(line):
    words = arguments(line.text)
    if not words or not PLACEHOLDER.fullmatch(words[0]):
        check_call(words)


def test_targets_of_make_exist():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    assert {str(line): missing for line in LINES if (missing := set(made(line.text)) - targets)} == {}


def test_options_in_the_text_exist():
    there = {
        option
        for verb in _VERBS
        for p in click_command(verb).params
        for option in (*p.opts, *p.secondary_opts)
    } | {"--help"}
    named = {str(span): span.text.split()[0] for span in SPANS if span.text.startswith("--")}
    assert len(named) >= 2
    assert {where: option for where, option in named.items() if option not in there} == {}


def test_settings_in_the_text_are_fields_of_the_recipe():
    settings = [span.text.split()[1] for span in SPANS if span.text.startswith("--set ")]
    assert settings
    assert chosen_recipe(None, settings)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_names_in_the_text_exist(file):
    for span in spans(file, TEXTS[file]):
        check_dotted(re.split(r"[^\w.]", span.text)[0])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_links_lead_somewhere(file):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", FENCED.sub("", TEXTS[file]))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (file.parent / link).exists()] == []


@pytest.mark.parametrize("verb", _VERBS)
def test_every_verbs_own_example_is_understood(verb):
    help_text = " ".join((click_command(verb).help or "").split())
    example = help_text.partition("Example: ")[2]
    check_call(arguments(re.split(r"\. |$", example)[0]))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("timelift compere DATA", "compere"),
        ("timelift compare DATA --sedes 5", "--sedes"),
        ("timelift compare DATA --seeds", "requires an argument"),
        ("timelift compare DATA --variant 'timm:resnet18 Inflat(3)'", "Inflat"),
        ("timelift compare DATA --set training.epocs=3", "epocs"),
        ("timelift cache DATA", "takes no"),
        ("timelift train --seed 3", "wants"),
        ("torchrun --nproc-per-node 2 -m timelift train DATA --varint x", "--varint"),
        ("timelift --verbose", "--verbose"),
    ],
)
def test_a_wrong_command_line_is_found(line, problem):
    with pytest.raises(Exception, match=problem):
        check_call(arguments(line))


@pytest.mark.parametrize(
    "block",
    [
        "from timelift import Inflat",
        "import timelift\ntimelift.lifted(3)",
        "from timelift.clip import folded",
    ],
)
def test_a_wrong_name_is_found(block):
    with pytest.raises(ImportError):
        check_names(block)


@pytest.mark.parametrize(
    ("block", "wanted"),
    [
        ("timelift.load('run/')", True),
        ("scan('videos/a.mp4')", True),
        ("build('my_file.py:net')", True),
        ("image_network('timm:tf_efficientnet_lite0.in1k')", False),
        ("x = 'layer1.0.conv1'", False),
    ],
)
def test_blocks_with_the_readers_files_are_known(block, wanted):
    assert wants_files(block) is wanted
