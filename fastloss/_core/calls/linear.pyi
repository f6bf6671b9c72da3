from typing import Any

from fastloss._declaration import Linear

def linear(
    declaration: Linear,
    outputs: int,
    x: Any,
    weight: Any,
    target: Any,
    bias: Any,
    parameters: tuple[float, ...],
    common: Any,
    *,
    class_weight: Any,
    ignore_index: int,
    chunk_bytes: int,
    label_smoothing: float = 0.0,
    kernel: str | None = None,
) -> Any: ...
