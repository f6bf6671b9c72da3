from typing import Any

from numpy.typing import ArrayLike

from fastloss._declaration import Declaration

def alignments(
    declaration: Declaration,
    outputs: int,
    logits: ArrayLike,
    targets: ArrayLike,
    input_lengths: ArrayLike,
    target_lengths: ArrayLike,
    common: Any,
    *,
    blank: int,
    zero_infinity: bool,
) -> Any: ...
