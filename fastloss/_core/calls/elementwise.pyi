from typing import Any

from fastloss._declaration import Elementwise

def elementwise(
    declaration: Elementwise,
    outputs: int,
    pred: Any,
    target: Any,
    parameters: tuple[float, ...],
    common: Any,
    *,
    third: Any = None,
    along_last_axis: tuple[str, Any] | None = None,
    kernel: str | None = None,
) -> Any: ...
