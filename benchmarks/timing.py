"""Interleaved timing: the contenders take turns, so a noisy spell of the machine falls on all of them alike."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Call = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Seconds of one call."""

    best: float
    median: float
    rounds: int

    @property
    def spread(self) -> float:
        return self.median / self.best


def interleave(
    contenders: Mapping[str, Call], *, budget: float, min_rounds: int = 5, sample: float = 1e-3
) -> dict[str, Timing]:
    """Time each call in rounds until `budget` seconds have passed, but for at least `min_rounds` rounds.

    A sample is one call, or as many as fill `sample` seconds where a call is short. The order rotates from round to
    round: threads of one library may still be spinning when the next one starts, and no one is to suffer it always.
    """
    repeats = {name: max(1, math.ceil(sample / _seconds(call, 1))) for name, call in contenders.items()}
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    enabled = gc.isenabled()
    gc.disable()
    try:
        deadline = time.perf_counter() + budget
        while len(samples[order[0]]) < min_rounds or time.perf_counter() < deadline:
            for name in order:
                call, n = contenders[name], repeats[name]
                if n > 1:
                    call()  # back into the cache, after the others were there
                samples[name].append(_seconds(call, n))
            order.append(order.pop(0))
    finally:
        if enabled:
            gc.enable()
    return {name: Timing(min(s), statistics.median(s), len(s)) for name, s in samples.items()}


def _seconds(call: Call, n: int) -> float:
    start = time.perf_counter()
    for _ in range(n):
        call()
    return (time.perf_counter() - start) / n
