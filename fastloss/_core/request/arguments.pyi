from typing import Any

def number(
    x: Any,
    name: str,
    low: float = ...,
    high: float = ...,
    *,
    above: bool = False,
    below: bool = False,
    infinite: bool = False,
) -> float: ...
