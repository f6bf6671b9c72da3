"""Interleaved timing. The calls take turns, so a noisy moment of the machine affects all of them alike."""

import gc
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..shared_types import Call


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
    calls: Mapping[str, Call], *, budget: float, min_rounds: int = 3, sample: float = 1e-3
) -> dict[str, Timing]:
    """Time each call in rounds until it has used up its share of `budget` seconds, for at least `min_rounds` rounds.

    A sample is one call, or as many as fill `sample` seconds if a call is short. The order rotates from round to round:
    threads of one library may still spin when the next call starts, and this should not always be the same call.
    """
    share = budget / len(calls)
    # Two calls: one that was interrupted must not count as a long one.
    first = {name: [_seconds(call, 1), _seconds(call, 1)] for name, call in calls.items()}
    repeats = {name: max(1, math.ceil(sample / min(t))) for name, t in first.items()}
    samples = {name: t if repeats[name] == 1 else [] for name, t in first.items()}
    left = list(calls)
    enabled = gc.isenabled()
    gc.disable()
    try:
        while left:
            for name in left:
                call, n = calls[name], repeats[name]
                if n > 1:
                    call()  # brings its data back into the cache
                samples[name].append(_seconds(call, n))
            left = [
                name for name in left if len(samples[name]) < min_rounds or sum(samples[name]) * repeats[name] < share
            ]
            left = left[1:] + left[:1]
    finally:
        if enabled:
            gc.enable()
    return {name: Timing(min(s), statistics.median(s), len(s)) for name, s in samples.items()}


def _seconds(call: Call, n: int) -> float:
    start = time.perf_counter()
    for _ in range(n):
        call()
    return (time.perf_counter() - start) / n
