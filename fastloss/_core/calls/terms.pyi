from typing import Any

from fastloss._declaration import Terms

def terms(
    declaration: Terms,
    outputs: int,
    pred: Any,
    target: Any,
    parameters: tuple[float, ...],
    common: Any,
    *,
    axis: int = -1,
    class_weight: Any = None,
    ignore_index: int | None = None,
    label_smoothing: float | None = None,
    kernel: str | None = None,
) -> Any: ...
