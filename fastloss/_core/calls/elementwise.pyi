from typing import Any

from fastloss._core.request.domains import Domain
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
    along_axis: tuple[str, Any, Domain, int, str] | None = None,
    target_lacks_axis: bool = False,
    ignore_index: int | None = None,
    kernel: str | None = None,
) -> Any: ...
def scale(x: Any, name: str, at_0: str = ..., at_inf: str = ...) -> tuple[str | None, tuple[float, ...]]: ...
