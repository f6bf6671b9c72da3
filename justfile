# The one door to every task. `just` without a name lists the recipes.
# Install it with the other tools: python -m pip install -e ".[dev]", in an active virtual environment.

set positional-arguments

# `just python=python3.13 test` runs the recipe with another Python.
python := "python"

# Show this list.
default:
    @just --list --unsorted

# Build the kernels of every CPU level in place. Compile only what changed since the last build.
build:
    {{ python }} -m pip install --quiet $(sed -n 's/^requires = \[\(.*\)\]$/\1/p' pyproject.toml | tr -d '",')
    {{ python }} setup.py --quiet build_ext --inplace

# Build, then run the tests. Arguments go to pytest: just test -k "huber and not threads"
test *args: build
    {{ python }} -m pytest "$@"

# Build, then look for faults for some minutes. Arguments behind them go to pytest: just fuzz 60 -n 4
fuzz minutes *args: build
    #!/usr/bin/env bash
    export FASTLOSS_FUZZ_EXAMPLES=500
    stop=$((SECONDS + 60 * $1))
    while ((SECONDS < stop)); do
        seed=$((RANDOM * 32768 + RANDOM))
        echo "FASTLOSS_FUZZ_EXAMPLES=500 {{ python }} -m pytest tests/fuzz --hypothesis-seed=$seed"
        {{ python }} -m pytest --quiet tests/fuzz --hypothesis-seed=$seed "${@:2}" || {
            code=$?
            ((code > 128)) && cat .hypothesis/last-call-* # a signal ended the process
            exit $code
        }
    done

# Check the style, types, layers and spelling. Change no file.
lint:
    ruff check .
    ruff format --check .
    cython-lint fastloss
    mypy
    lint-imports
    codespell

# Repair what ruff can repair, and format the Python files.
fix:
    ruff check --fix .
    ruff format .

# Build, then train models and time the kernels. Arguments go to the benchmarks: just bench --quick
bench *args: build
    {{ python }} -m benchmarks "$@"

# Build, then measure every loss beside the other libraries that are installed; write tables and pictures.
report *args: build
    {{ python }} -m benchmarks report "$@"

# Build, then draw the curves of the losses in docs/curves. There is no documentation site yet.
docs: build
    {{ python }} -m benchmarks curves

# List the loops that GCC does not vectorise. This compiles everything again in a temporary folder.
vectorisation: build
    {{ python }} -m benchmarks vectorisation

# Build a copy with sanitizers and run tests in it. kind: address (with undefined behaviour) or thread
sanitize kind="address" *args:
    bash .ci/sanitize "$@"

# Compare the functions of vecmath.h with a wider type on every float32, at every CPU level: minutes for each function.
exhaustive *args: build
    {{ python }} -m pytest -m exhaustive --capture=no tests/machine/test_exhaustive.py "$@"

# Run what continuous integration runs, in clean clones of the last commit. Uncommitted changes are left out.
ci:
    bash .ci/run

# Delete what was built and what the tools cached. Results of benchmarks stay.
clean:
    rm -rf build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
    find fastloss -name '*.so' -delete
    find fastloss tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
