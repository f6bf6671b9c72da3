"""Running Python in another process, with other environment variables."""

import os
import subprocess
import sys
from pathlib import Path

import fastloss as fl


def python(code, **environment):
    """A process that runs `code`, when it has ended."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("FASTLOSS_", "OMP_", "GOMP_"))} | environment
    folder = Path(fl.__file__).parents[1]  # the package under test, not another one in the working directory
    return subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=folder, capture_output=True, text=True, timeout=120
    )


def run_python(code, **environment):
    """What a process prints, or the last line of its error."""
    done = python(code, **environment)
    return done.stdout.strip() if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
