"""The arrows: which room may import which, who alone touches a package, and what an import may cost."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src" / "timelift"

BUILDING = {"clip", "rewrite", "conversions", "networks", "receipt", "lifting", "systems", "variants"}
WORKING = {"data", "training", "evaluation", "comparison", "report"}
ARROWS = {  # room -> the rooms that it may import, beside itself
    "__init__": set(),
    "__main__": {"cli"},
    "auxiliary": set(),
    "clip": set(),
    "fields": set(),
    "memory": set(),
    "records": set(),
    "rewrite": {"clip"},
    "timing": set(),
    "conversions": {"records", "clip", "fields", "rewrite"},
    "networks": {"records", "auxiliary", "clip", "conversions"},
    "receipt": {"records", "clip", "conversions", "networks"},
    "lifting": {"records", "clip", "conversions", "networks", "receipt", "rewrite"},
    "systems": {"records", "clip", "conversions", "networks", "lifting"},
    "variants": {"records", "fields"} | BUILDING - {"variants"},
    "testing": {"records", "fields"} | BUILDING,
    "data": {"records"},
    "training": {"records", "auxiliary"},
    "evaluation": {"records"},
    "comparison": {"records"},
    "report": {"records", "comparison"},
    "deploy": {"records", "clip", "conversions", "networks", "lifting", "timing"},
    "bench": {"records", "timing", "data", "training", "comparison", "runs", "memory", "testing", "deploy"}
    | BUILDING,
    "zoo": {"records", "testing", "deploy"} | BUILDING,
    "runs": {"records", "fields", "memory", "testing", "deploy"} | BUILDING | WORKING,
    "cli": {"records", "fields", "memory", "timing", "testing", "deploy", "runs", "bench", "zoo"}
    | BUILDING
    | WORKING,
}
WITHOUT_TORCH = ("records", "comparison", "report")
ONLY_IN = {  # package -> the modules, or whole rooms, that may import it
    "timm": {"timelift.networks.images"},
    "torchvision": {"timelift.networks.images"},
    "av": {
        "timelift.data.container",
        "timelift.data.decode",
        "timelift.data.encode",
        "timelift.data.examine",
        "timelift.bench.decoders",
    },
    "cv2": {"timelift.data", "timelift.bench.decoders"},
    "mlxtend": {"timelift.data"},
    "matplotlib": {
        "timelift.report.drawing",
        "timelift.report.figures",
        "timelift.report.cost_figure",
        "timelift.report.curve_figures",
        "timelift.report.pairs_figure",
        "timelift.report.ranks",
    },
    "jinja2": {"timelift.report"},
    "sklearn": {"timelift.evaluation.probe", "timelift.evaluation.svm"},
    "ray": {"timelift.runs.on_ray"},
    "typer": {"timelift.cli"},
    "torch.utils.tensorboard": {"timelift.training.board"},
}
HEAVY = ("av", "cv2", "matplotlib", "sklearn", "timm", "ray", "torch", "torchvision")


@dataclass(frozen=True)
class Edge:
    """`importer` (a module of ours) needs `imported`; at_once: when it is imported, not in a later call."""

    importer: str
    imported: str
    at_once: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def room(module: str) -> str:
    """The room of timelift.data.decode is data; that of the package itself, __init__."""
    return [*module.split("."), "__init__"][1]


def edges(importer: str, source: str) -> list[Edge]:
    return [
        Edge(importer, name, at_once)
        for node, at_once in import_statements(ast.parse(source))
        for name in names_of(node)
    ]


def import_statements(
    node: ast.AST, at_once: bool = True
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_once
        else:
            yield from import_statements(child, at_once and not is_deferred(child))


def is_deferred(node: ast.AST) -> bool:
    is_call = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    return is_call or (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"))


def names_of(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The full names; `from timelift.records import errors` is of the module where there is such a one."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = "." * node.level + (node.module or "")
    within = [f"{base}.{alias.name}" for alias in node.names]
    return [name if name in MODULES or name in ONLY_IN else base for name in within]


ALL_EDGES = [edge for name, path in MODULES.items() for edge in edges(name, path.read_text(encoding="utf-8"))]


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def wrong_arrows(found: list[Edge]) -> list[str]:
    return [
        f"{edge.importer} imports {edge.imported}"
        for edge in found
        if (is_within(edge.imported, "timelift") or edge.imported.startswith("."))
        and room(edge.imported) not in ARROWS.get(room(edge.importer), set()) | {room(edge.importer)}
    ]


def trespasses(found: list[Edge]) -> list[str]:
    strangers = [
        edge
        for edge in found
        for package, homes in ONLY_IN.items()
        if is_within(edge.imported, package) and not any(is_within(edge.importer, home) for home in homes)
    ]
    torch = [e for e in found if is_within(e.imported, "torch") and room(e.importer) in WITHOUT_TORCH]
    return [f"{edge.importer} imports {edge.imported}" for edge in strangers + torch]


def circle(found: list[Edge]) -> list[str]:
    """Modules that need each other to be imported, in order; [] where there are none."""
    needs: dict[str, set[str]] = {}
    for edge in found:
        if edge.at_once and is_within(edge.imported, "timelift"):
            needs.setdefault(edge.importer, set()).add(edge.imported)
    cleared: set[str] = set()

    def search(module: str, path: tuple[str, ...]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        for other in sorted(needs.get(module, set()) - cleared):
            if way := search(other, (*path, module)):
                return way
        cleared.add(module)
        return []

    return next((way for module in sorted(needs) if (way := search(module, ()))), [])


def test_every_room_has_its_arrows():
    rooms = {room(module) for module in MODULES}
    assert len(MODULES) > 40  # the right folder is read
    assert rooms == set(ARROWS), "name a new room, and what it may import, in ARROWS"


def test_rooms_import_along_the_arrows():
    assert wrong_arrows(ALL_EDGES) == []


def test_packages_are_imported_where_they_are_at_home():
    assert trespasses(ALL_EDGES) == []


def test_no_module_needs_itself():
    assert circle(ALL_EDGES) == []


def test_the_arrows_themselves_have_no_circle():
    rooms = [
        Edge(f"timelift.{one}", f"timelift.{other}", True) for one, may in ARROWS.items() for other in may
    ]
    assert circle(rooms) == []


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("timelift.data.scan", "from timelift.training import seeds"),
        ("timelift.data.scan", "def f():\n    import timelift.lifting"),
        ("timelift.records.run", "from timelift import fields"),
        ("timelift.training.loop", "from timelift import lift"),
        ("timelift.runs.study", "from timelift.cli.common import say"),
        ("timelift.clip", "from timelift.records import UsageError"),
        ("timelift.data.scan", "from .decode import decode_frames"),
    ],
)
def test_a_wrong_arrow_is_found(importer, source):
    assert len(wrong_arrows(edges(importer, source))) == 1


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("timelift.networks.select", "import timm"),
        ("timelift.evaluation.metrics", "def f():\n    from sklearn.svm import SVC"),
        ("timelift.data.scan", "import av.container"),
        ("timelift.training.loop", "from torch.utils.tensorboard import SummaryWriter"),
        ("timelift.training.loop", "from torch.utils import tensorboard"),
        ("timelift.report.page", "import matplotlib.pyplot as plt"),
        ("timelift.comparison.paired", "if TYPE_CHECKING:\n    from torch import Tensor"),
    ],
)
def test_a_package_away_from_home_is_found(importer, source):
    assert len(trespasses(edges(importer, source))) == 1


def test_a_circle_is_found_unless_a_call_breaks_it():
    there = edges("timelift.data.scan", "from timelift.data.tree import walk")
    at_once = edges("timelift.data.tree", "try:\n    from timelift.data import scan\nexcept ImportError: ...")
    in_a_call = edges("timelift.data.tree", "def f():\n    import timelift.data.scan")
    assert circle(there + at_once) == ["timelift.data.scan", "timelift.data.tree", "timelift.data.scan"]
    assert circle(there + in_a_call) == []


@pytest.mark.parametrize(
    ("statement", "without"),
    [
        ("import timelift", HEAVY),
        ("import timelift.records, timelift.comparison", ("torch", "matplotlib", "sklearn")),
        ("import timelift.cli.main", HEAVY),
        ("import timelift.lifting", ("av", "matplotlib", "sklearn", "timm", "torchvision")),
    ],
)
def test_an_import_brings_nothing_that_it_does_not_need(statement, without):
    code = f"import sys\n{statement}\nprint([name for name in {without} if name in sys.modules])"
    came = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert came.strip() == "[]"


def test_every_public_name_is_there():
    package = importlib.import_module("timelift")
    missing = [name for name in package.__all__ if getattr(package, name, None) is None]
    assert missing == []


def repository_texts() -> dict[str, str]:
    """Every text of the repository, those that are not committed yet among them."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout: which files are the repository's is not known")
    listed = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split(
        "\0"
    )
    files = {name: REPOSITORY / name for name in names if name and (REPOSITORY / name).is_file()}
    contents = {name: path.read_bytes() for name, path in files.items()}
    return {name: found.decode("utf-8", "replace") for name, found in contents.items() if b"\0" not in found}


MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:work|root|home/\w+|opt/(?:wheels|pypi[\w-]*))/")


def test_nothing_names_a_path_of_one_machine():
    texts = repository_texts()
    assert {"README.md", "Makefile", "pyproject.toml"} <= set(texts)
    assert {name: found for name, text in texts.items() if (found := MACHINE_PATH.findall(text))} == {}


@pytest.mark.parametrize("planted", ["see {}work{}x", "'{}opt{}wheels{}", "file://{}home{}me{}data"])
def test_a_path_of_one_machine_is_found(planted):
    assert MACHINE_PATH.search(planted.format(*"///")) is not None
