from typing import Any

from fastloss._declaration import Classes

def classes(
    declaration: Classes,
    outputs: int,
    pred: Any,
    target: Any,
    parameters: tuple[float, ...],
    common: Any,
    *,
    axis: int,
    class_weight: Any,
    ignore_index: int,
    label_smoothing: float = 0.0,
    kernel: str | None = None,
) -> Any: ...
