"""fastloss."""

from typing import Any

import fastloss

from ..case import Case
from ..shared_types import Arrays, Call

VERSION = fastloss.__version__


def bind(case: Case, inputs: Arrays, threads: int) -> Call:
    fastloss.set_num_threads(threads)
    value_and_grad = getattr(fastloss, case.loss).value_and_grad
    options: dict[str, Any] = dict(case.options)
    if case.reuse:
        options["out"] = case.outputs(inputs)
    return lambda: value_and_grad(*inputs, **options)
