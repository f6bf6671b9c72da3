"""The sources of fastloss import in one direction. They are read as text: nothing needs to be compiled."""

import re
from pathlib import Path

import pytest

import fastloss

PACKAGE = Path(fastloss.__file__).resolve().parent
SOURCES = sorted(p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".pyx", ".pxd", ".pxi"))
each_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())

#: From the highest layer to the lowest, by how dotted names begin. The public modules are above them.
LAYERS = [
    "fastloss._loss",
    "fastloss._core.calls",
    "fastloss._core.kernels",
    "fastloss._core.kernels.base",
    "fastloss._core.cpu",
    "fastloss._declaration",
    "fastloss._core.request",
]
SAME_LAYER = {"fastloss._parameters": "fastloss._loss"}
#: What stands for itself: no layer, and imported from anywhere.
WITHOUT_LAYER = {"fastloss._version"}


def module_of(path):
    """The dotted name of a source file; that of a package is the name of its folder."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_in(name, package):
    return name == package or name.startswith(f"{package}.")


def layer_of(name):
    """The number of the layer, 0 for the public modules on top. The longest name that fits decides."""
    fits = [package for package in (*LAYERS, *SAME_LAYER) if is_in(name, package)]
    longest = max(fits, key=len, default=None)
    return 0 if longest is None else 1 + LAYERS.index(SAME_LAYER.get(longest, longest))


def code_of(path):
    """The source without docstrings and comments, and with each statement in parentheses on one line."""
    text = re.sub(r'[rR]?("""|\'\'\')(?:.|\n)*?\1', '""', path.read_text())
    text = re.sub(r"#.*", "", text)
    return re.sub(r"\([^()]*\)", lambda found: found.group().replace("\n", " "), text)


def absolute(name, module, is_package):
    """The dotted name that a relative import means."""
    dots = len(name) - len(name.lstrip("."))
    if not dots:
        return name
    parts = module.split(".")
    parts = parts[: len(parts) - dots + is_package]
    return ".".join([*parts, *([name[dots:]] if name[dots:] else [])])


def imports_of(path):
    """The dotted names of the modules that a file imports, or of the packages, for names that are no modules."""
    module, is_package = module_of(path), path.stem == "__init__"
    for line in code_of(path).splitlines():
        if found := re.match(r'\s*include\s+["\'](.*?)["\']', line):
            yield module_of((path.parent / found[1]).resolve())
        elif found := re.match(r"\s*from\s+(\S+)\s+c?import\s+(.*)", line):
            package = absolute(found[1], module, is_package)
            names = [re.split(r"\s", name.strip())[0] for name in found[2].strip(" ()").split(",")]
            for name in filter(None, names):
                yield f"{package}.{name}" if f"{package}.{name}" in MODULES else package
        elif found := re.match(r"\s*c?import\s+(.*)", line):
            for name in found[1].split(","):
                yield re.split(r"\s", name.strip())[0]


MODULES = {module_of(path) for path in SOURCES}
KERNELS, BASE = "fastloss._core.kernels", "fastloss._core.kernels.base"


def family_of(name):
    """The folder of a kernel: the first name behind that of the package."""
    return name.removeprefix(f"{KERNELS}.").partition(".")[0]


@each_source
def test_a_file_imports_from_its_own_layer_or_below(path):
    module = module_of(path)
    for name in imports_of(path):
        if is_in(name, "fastloss") and name not in WITHOUT_LAYER:
            assert layer_of(name) >= layer_of(module), f"{module} imports {name}"


@each_source
def test_the_declaration_needs_the_domains_alone(path):
    if module_of(path) == "fastloss._declaration":
        assert {n for n in imports_of(path) if is_in(n, "fastloss")} == {"fastloss._core.request.domains"}


@each_source
def test_a_family_of_kernels_imports_no_other(path):
    module = module_of(path)
    if is_in(module, KERNELS) and not is_in(module, BASE) and module != KERNELS:
        for name in imports_of(path):
            if is_in(name, KERNELS) and not is_in(name, BASE):
                assert family_of(name) == family_of(module), f"{module} imports {name}"


def test_there_is_one_parallel_loop():
    calls = [path for path in SOURCES for _ in re.findall(r"\bprange\s*\(", code_of(path))]
    assert [p.relative_to(PACKAGE).as_posix() for p in calls] == ["_core/kernels/base/chunks.pxd"]


@each_source
def test_drivers_take_few_parameters(path):
    for parameters in re.findall(r"\bdef run\(([^)]*)\)", code_of(path)):
        assert len([p for p in parameters.split(",") if p.strip(" /*\n")]) <= 9


@pytest.mark.parametrize(
    "path", [*SOURCES, *PACKAGE.rglob("*.h")], ids=lambda path: path.relative_to(PACKAGE).as_posix()
)
def test_files_are_short(path):
    lines = len(path.read_text().splitlines())
    assert lines <= 600 or path.name == "vecmath.h"


def test_imports_are_read():
    """The reader of imports finds the statements that this package is made of."""
    path = PACKAGE / "_declaration.py"
    assert "fastloss._core.request.domains" in set(imports_of(path))
    assert absolute("..base.sums", "fastloss._core.kernels.vectors.driver", False) == "fastloss._core.kernels.base.sums"
    assert absolute(".cases", "fastloss._core", True) == "fastloss._core.cases"
    names = ["fastloss", "fastloss.binary", "fastloss._parameters", *LAYERS, "fastloss._core.kernels.terms.driver"]
    assert [layer_of(name) for name in names] == [0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 3]
