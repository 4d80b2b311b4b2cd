"""The codebase tests itself: linters, types, stubs, layers, symbols, documentation."""

import ast
import concurrent.futures
import doctest
import functools
import importlib
import importlib.metadata
import inspect
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pybind11
import pytest

import wengert
from wengert import _core

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(wengert.__file__).parent
FOLDERS = ("bench", "cmake", "cpp", "docs", "python", "tests")
SCRIPTS = Path(sysconfig.get_path("scripts"))


def run(*command, cwd=ROOT, **environment):
    """Runs a command and shows what it printed if it fails."""
    result = subprocess.run(
        [str(c) for c in command], cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def script(name):
    """A tool of the [test] extra: beside this interpreter, else wherever it is found."""
    return shutil.which(name, path=str(SCRIPTS)) or shutil.which(name) or pytest.fail(f"{name} is not installed")


def files(*suffixes, folders=FOLDERS):
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*") if p.suffix in suffixes and p.is_file())


def sources():
    """Every text file that belongs to the project."""
    top = [
        ROOT / name for name in ("CMakeLists.txt", "CMakePresets.json", "pyproject.toml", "README.md", "CHANGELOG.md")
    ]
    kinds = (".py", ".pyi", ".cpp", ".h", ".def", ".md", ".txt", ".json")
    return [*top, ROOT / ".ci" / "run", *files(*kinds)]


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


@functools.cache
def op_names():
    return re.findall(r"^(?:UNARY|BINARY|TERNARY|PREDICATE)\((\w+)", page_of_derivatives(), re.MULTILINE)


def page_of_derivatives():
    return (ROOT / "cpp/ops/elementwise.def").read_text(encoding="utf-8")


# --- style -----------------------------------------------------------------------------------------------------


def test_ruff():
    run(script("ruff"), "check", "python", "tests", "bench", "cmake")


def test_ruff_format():
    run(script("ruff"), "format", "--check", "python", "tests", "bench", "cmake")


def test_clang_format():
    run(script("clang-format"), "--dry-run", "--Werror", *files(".cpp", ".h", folders=("cpp", "bench")))


def test_clang_tidy(tmp_path):
    configure(ROOT, tmp_path, "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON")
    units = [p for p in files(".cpp", folders=("cpp",)) if p.name != "kernels.cpp"]  # compiled once for each ISA
    tidy = [script("clang-tidy"), "--quiet", "-p", tmp_path]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda unit: subprocess.run([*tidy, unit], capture_output=True, text=True), units))
    assert not any(r.returncode for r in results), "\n".join(r.stdout for r in results if r.returncode)


def configure(source, build, *options):
    run(
        script("cmake"), "-S", source, "-B", build, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={script('ninja')}",
        f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}", *options,
    )  # fmt: skip


def test_no_unfinished_marks():
    marks = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]))
    assert [p for p in sources() if marks.search(p.read_text(encoding="utf-8"))] == []


def test_no_address_of_a_package_index():
    address = re.compile("--(?:extra-)?index" + r"-url|--find" + r"-links|--trusted" + "-host")
    assert [p for p in sources() if address.search(p.read_text(encoding="utf-8"))] == []


def test_version_stands_once():
    version = wengert.__version__
    assert importlib.metadata.version("wengert") == _core.version == version
    where = [p.name for p in sources() if version in p.read_text(encoding="utf-8")]
    assert sorted(where) == ["CHANGELOG.md", "_version.py"]


# --- types -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def typed_copy(tmp_path_factory):
    """The package on its own, so that mypy reads it and not the folder that it is installed in."""
    folder = tmp_path_factory.mktemp("typed")
    shutil.copytree(PACKAGE, folder / "wengert", symlinks=False)
    if not (folder / "wengert/_elementwise.pyi").exists():  # imported from a source tree: CMake has not written it here
        write_stub(folder / "wengert/_elementwise.pyi")
    return folder


def write_stub(target):
    run(sys.executable, "cmake/elementwise_stub.py", "cpp/ops/elementwise.def", target)
    return target.read_text(encoding="utf-8")


def test_mypy_strict(typed_copy):
    options = ["--strict", "--config-file", ROOT / "pyproject.toml", "--cache-dir", typed_copy / "cache"]
    run(sys.executable, "-m", "mypy", *options, "-p", "wengert", cwd=typed_copy)
    assert (typed_copy / "wengert/py.typed").exists()


def test_stubs_agree_with_the_extension_module(typed_copy):
    """mypy's stubtest: every name and signature, both ways."""
    allowed = typed_copy / "allowed.txt"
    allowed.write_text("wengert\\._core\\.(Tape|Primitive|Compiled)\n")  # they have pybind11's metaclass
    run(
        sys.executable, "-m", "mypy.stubtest", "--concise", "--ignore-disjoint-bases", "--ignore-unused-allowlist",
        "--allowlist", allowed, "wengert._core", "wengert._elementwise",
        cwd=typed_copy, PYTHONPATH=str(typed_copy), MYPYPATH=str(typed_copy),
    )  # fmt: skip


def test_stub_of_elementwise_functions_holds_the_op_table(typed_copy, tmp_path):
    stub = (typed_copy / "wengert/_elementwise.pyi").read_text(encoding="utf-8")
    assert stub == write_stub(tmp_path / "again.pyi")
    declared = {f.name: f for f in ast.parse(stub).body if isinstance(f, ast.FunctionDef)}
    assert list(declared) == [op["name"] for op in _core.op_table] == op_names()
    for op in _core.op_table:
        assert len(declared[op["name"]].args.posonlyargs) == op["arity"], op["name"]
        assert ast.get_docstring(declared[op["name"]]) == op["doc"]


# --- layers ----------------------------------------------------------------------------------------------------

# What each folder of cpp/ may include besides itself. kernels/table.h is all that anybody sees of the kernels, the page
# of derivatives all that the kernels see of the ops, and the thread pool, which knows no tape, all that ops see of the
# engine.
MAY_INCLUDE = {
    "kernels": {"ops/elementwise.def", "ops/elementwise.h"},
    "ops": {"kernels/table.h", "kernels/threads.h"},
    "engine": {"kernels/table.h", "kernels/threads.h", "kernels/pages.h", "ops/*"},
    "bindings": {"kernels/table.h", "kernels/threads.h", "kernels/select.h", "ops/*", "engine/*"},
}


@pytest.mark.parametrize("folder", MAY_INCLUDE)
def test_cpp_includes_point_one_way(folder):
    wrong = []
    for path in files(".cpp", ".h", ".def", folders=(f"cpp/{folder}",)):
        for header in re.findall(r'#include "([^"]+)"', path.read_text(encoding="utf-8")):
            layer = header.split("/")[0]
            if layer != folder and not {header, f"{layer}/*"} & MAY_INCLUDE[folder]:
                wrong.append(f"{path.name} includes {header}")
    assert wrong == []


def test_thread_pool_knows_no_tape():
    for path in (ROOT / "cpp/kernels/threads.h", ROOT / "cpp/kernels/threads.cpp"):
        headers = re.findall(r'#include "([^"]+)"', path.read_text(encoding="utf-8"))
        assert set(headers) <= {"kernels/threads.h", "kernels/table.h"}


def test_only_bindings_know_python():
    python = re.compile(r"pybind11|Python\.h|\bPy[A-Z_]\w+")
    others = [p for p in files(".cpp", ".h", ".def", folders=("cpp",)) if p.parent.name != "bindings"]
    assert [p for p in others if python.search(without_comments(p.read_text(encoding="utf-8")))] == []


def test_kernel_headers_use_no_standard_library():
    """An inline function of it, compiled with AVX-512 flags, could be the copy that the linker keeps for everyone."""
    harmless = {
        "arm_neon.h",
        "cstddef",
        "cstdint",
        "immintrin.h",
        "stddef.h",
        "stdlib.h",
        "sys/mman.h",
        "unistd.h",
    }  # C's
    wrong = []
    for path in (ROOT / "cpp/kernels/kernels.cpp", *(ROOT / "cpp/kernels").glob("*.h")):
        if path.stem not in ("select", "threads"):  # compiled once, with plain flags
            wrong += set(re.findall(r"#include <([^>]+)>", path.read_text(encoding="utf-8"))) - harmless
    assert wrong == []


def test_no_fast_math():
    flag = "-ff" + "ast-math"
    build_files = [ROOT / "CMakeLists.txt", ROOT / "pyproject.toml", *files(".txt", ".json", folders=("bench",))]
    assert [p for p in build_files if flag in re.sub("#[^\n]*", "", p.read_text(encoding="utf-8"))] == []


def test_elementwise_ops_are_named_only_where_they_are_defined():
    """Engine and bindings name no elementwise op, except Python's operators; adding one touches the page only."""
    operators = {
        "negative", "add", "subtract", "multiply", "divide", "floor_divide", "remainder", "pow", "square", "abs",
        "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "logical_and", "logical_or",
        "logical_xor",
    }  # fmt: skip
    others = set(op_names()) - operators
    quoted = re.compile(rf'"({"|".join(others)})"|\b(?:map_|wengert::)({"|".join(others)})\b')
    found = {}
    for path in files(".cpp", ".h", folders=("cpp/engine", "cpp/bindings")):
        text = without_comments(path.read_text(encoding="utf-8"))
        if hits := [a or b for a, b in quoted.findall(text)]:
            found[path.name] = hits
    assert found == {}


def test_python_modules_import_one_way():
    """No cycles among imports at module level, and no optional package there."""
    found = {}
    for path in files(".py", folders=("python",)):
        parts = path.relative_to(ROOT / "python").with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {module: set() for module in [*found, "wengert._core"]}
    optional = []
    for module, path in found.items():
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            names = []
            if isinstance(statement, ast.Import):
                names = [alias.name for alias in statement.names]
            elif isinstance(statement, ast.ImportFrom):
                submodules = [f"{statement.module}.{alias.name}" for alias in statement.names]
                names = [name if name in graph else statement.module for name in submodules]
            graph[module].update(n for n in names if n in graph)
            at_hand = {*sys.stdlib_module_names, "numpy", "wengert"}
            optional += [f"{module}: {n}" for n in names if n.split(".")[0] not in at_hand]
    assert optional == []

    done = set()

    def reach(module, path):
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for other in graph[module]:
                reach(other, (*path, module))
        done.add(module)

    for module in graph:
        reach(module, ())


# --- symbols ---------------------------------------------------------------------------------------------------


def kernel_objects():
    """The objects of the newest build in build/, as `pip install .` leaves it."""
    archives = sorted((ROOT / "build").glob("*/libwengert_core.a"), key=lambda p: p.stat().st_mtime)
    if not archives:
        assert not os.environ.get("CI"), "no build in build/"
        pytest.skip("no build in build/: run pip install . here first")
    return sorted(archives[-1].parent.glob("CMakeFiles/kernels_*.dir/cpp/kernels/kernels.cpp.o"))


def test_kernel_objects_export_one_symbol_and_no_weak_one():
    objects = kernel_objects()
    assert objects
    for path in objects:
        isa, dtype = re.search(r"kernels_(\w+)_(\w+)\.dir", str(path)).groups()
        symbols = [line.split()[-2:] for line in run("nm", "-C", "--defined-only", path).splitlines()]
        exported = [name for kind, name in symbols if kind.isupper() or kind in "uvw"]
        assert exported == [f"wengert::kernels::table_{isa}_{dtype}"], path


# --- documentation ---------------------------------------------------------------------------------------------


def modules():
    yield "wengert"
    for info in pkgutil.walk_packages(wengert.__path__, "wengert."):
        if not info.name.endswith(("__main__", "._core")):
            yield info.name


DOCTEST_FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize("name", list(modules()))
def test_doctests(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=DOCTEST_FLAGS).failed == 0


@pytest.mark.parametrize("path", ["README.md", *(f"docs/{p.name}" for p in files(".md", folders=("docs",)))])
def test_examples_in_documents(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A fence ends an example's output.
    text = re.sub(r"^```.*$", "", (ROOT / path).read_text(encoding="utf-8"), flags=re.MULTILINE)
    example = doctest.DocTestParser().get_doctest(text, {}, path, path, 0)
    assert doctest.DocTestRunner(optionflags=DOCTEST_FLAGS).run(example).failed == 0


def test_public_functions_have_an_example():
    """Those in Python; an elementwise one has its sentence from the page of derivatives."""
    functions = {name: f for name in wengert.__all__ if inspect.isfunction(f := getattr(wengert, name))}
    assert len(functions) > 50
    assert [name for name, f in functions.items() if ">>>" not in (f.__doc__ or "")] == []


def test_links_in_documents_lead_somewhere():
    broken = []
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *files(".md", folders=("docs",))):
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{path.name}: {target}")
    assert broken == []


def test_every_document_is_in_the_index():
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    documents = {p.name for p in files(".md", folders=("docs",))} - {"README.md"}
    assert {name for name in documents if f"({name})" not in index} == set()


@pytest.mark.slow
def test_one_line_adds_an_op(tmp_path):
    """The line in docs/adding-an-op.md, added to a copy of the source, is a function in Python with its derivatives."""
    document = (ROOT / "docs/adding-an-op.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"```c\n(UNARY\(.+?\))\n```", document, re.DOTALL)
    (check,) = re.findall(r"```python\n(.+?)```", document, re.DOTALL)
    assert re.match(r"UNARY\((\w+)", line)[1] not in op_names()

    source = tmp_path / "source"
    for folder in ("cpp", "cmake", "python"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(ROOT / "CMakeLists.txt", source)
    page = source / "cpp/ops/elementwise.def"
    page.write_text(page_of_derivatives().replace("\n// Activations\n", f"\n// Activations\n{line}\n"))
    # The least instruction set, hardly optimised: this is about the line, not about speed.
    quick = ["-DWENGERT_ISAS=baseline", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0"]
    configure(source, tmp_path / "build", *quick)
    run(script("cmake"), "--build", tmp_path / "build", "--target", "_core", "elementwise_stub")
    for built in ("_core*.so", "_elementwise.pyi"):
        (path,) = (tmp_path / "build").glob(built)
        shutil.copy(path, source / "python/wengert")

    run(sys.executable, "-W", "error", "-c", check, PYTHONPATH=str(source / "python"))
    table = "import json, wengert; print(json.dumps(wengert._core.op_table))"
    ops = json.loads(run(sys.executable, "-c", table, PYTHONPATH=str(source / "python")))
    assert len(ops) == len(_core.op_table) + 1
