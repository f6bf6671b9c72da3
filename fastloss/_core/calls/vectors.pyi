from typing import Any

from fastloss._declaration import Vectors

def vectors(
    declaration: Vectors,
    outputs: int,
    arrays: tuple[Any, ...],
    parameters: tuple[float, ...],
    common: Any,
    *,
    label: Any = None,
    kernel: str | None = None,
    p: float = 2.0,
    eps: float = 0.0,
) -> Any: ...
