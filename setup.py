"""Build the compiled modules: each source is translated to C once, and a kernel is compiled once per CPU level.

Everything else is declared in pyproject.toml. CC chooses the compiler (GCC or clang). CFLAGS come last, so they win
over the flags below. FASTLOSS_OPENMP=0 builds without OpenMP.
"""

import os
import platform
import subprocess
import tempfile
import warnings
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

CORE = Path("fastloss", "_core")
KERNELS = CORE / "kernels"
# The folder says how a file is built: under kernels/ once per CPU level, elsewhere once.
PER_LEVEL = sorted(KERNELS.rglob("*.pyx"))
ONCE = sorted(set(CORE.rglob("*.pyx")) - set(PER_LEVEL))

if platform.machine() in ("x86_64", "AMD64"):
    LEVELS = {
        "x86_64_v2": ["-march=x86-64-v2"],
        "x86_64_v3": ["-march=x86-64-v3"],
        "x86_64_v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    }
else:
    LEVELS = {"generic": []}

# No -ffast-math: it breaks NaN and inf, and linking with it switches the process to flush-to-zero.
# Contraction is off, so that a loop and its remainder give the same bits; vecmath.h asks for FMA by name.
FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-g0", "-Wno-unused-function"]
MACROS = [
    ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
    # A loss is inlined into the loops of the driver by constant propagation of its address: never leave that to chance.
    ("CYTHON_INLINE", "inline __attribute__((always_inline))"),
]


def dotted(path):
    """The name of the module that a file holds."""
    return ".".join(path.with_suffix("").parts)


class Module(Extension):
    """A compiled module: of one source, and for a kernel of one CPU level."""

    def __init__(self, source, level="", flags=()):
        base = KERNELS / "base"
        super().__init__(
            dotted(source) + level,
            [],  # filled in by build_modules, which knows the place for generated files
            include_dirs=[numpy.get_include(), str(base)],
            define_macros=MACROS,
            extra_compile_args=[*FLAGS, *flags],
            depends=["setup.py", *map(str, base.glob("*.h"))],  # Cython looks after the rest
        )
        self.source = source


class build_modules(build_ext):
    """Translate, write one small C file per level, and compile all of them in parallel."""

    def initialize_options(self):
        super().initialize_options()
        self.parallel = os.cpu_count()

    def build_extensions(self):
        generated = Path("build", "cython")
        cythonize(
            [Extension(dotted(source), [str(source)]) for source in (*ONCE, *PER_LEVEL)],
            build_dir=str(generated),
            compiler_directives={
                "language_level": 3,
                "boundscheck": False,
                "wraparound": False,
                "cdivision": True,
                "initializedcheck": False,
                "freethreading_compatible": True,
            },
        )
        openmp = self.openmp_flags()
        extra = openmp + self.compilers_own_flags() + os.environ.get("CFLAGS", "").split()
        for ext in self.extensions:
            translated = ext.source.with_suffix(".c")
            module = ext.name.rpartition(".")[2]
            unit = generated / f"{ext.name}.c"
            text = f"#define PyInit_{ext.source.stem} PyInit_{module}\n" if module != ext.source.stem else ""
            text += f'#include "{translated.as_posix()}"\n'
            if not unit.exists() or unit.read_text() != text:
                unit.write_text(text)
            ext.sources = [str(unit)]
            ext.include_dirs.insert(0, str(generated))
            ext.depends.append(str(generated / translated))
            ext.extra_compile_args += extra
            ext.extra_link_args += openmp
        super().build_extensions()

    def openmp_flags(self):
        """["-fopenmp"] if the compiler can build and link a program with it, else [] and a warning."""
        if os.environ.get("FASTLOSS_OPENMP") != "0":
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder, "probe.c")
                source.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
                try:
                    objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=["-fopenmp"])
                    library = str(Path(folder, "probe.so"))
                    self.compiler.link_shared_object(objects, library, extra_postargs=["-fopenmp"])
                    return ["-fopenmp"]
                except (CompileError, LinkError):
                    pass
        warnings.warn("fastloss is built without OpenMP: its kernels will run on one thread", stacklevel=1)
        return []

    def compilers_own_flags(self):
        """Compilers give up on loops over more than a few pointers, since each pair has to be checked for overlap.

        They move functions that are called once into their caller, and then have not enough registers for their loops,
        nor a small thread enough stack for the arrays of all of them.
        """
        version = subprocess.run([*self.compiler.compiler[:1], "--version"], capture_output=True, text=True).stdout
        if "clang" in version:
            return ["-mllvm", "-runtime-memory-check-threshold=64", "-fno-inline-functions"]
        return ["--param", "vect-max-version-for-alias-checks=64", "-fno-inline-functions-called-once"]


setup(
    ext_modules=[Module(source) for source in ONCE]
    + [Module(source, f"_{level}", flags) for source in PER_LEVEL for level, flags in LEVELS.items()],
    cmdclass={"build_ext": build_modules},
)
