from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

class Domain(IntEnum):
    ANY = 0
    UNIT_INTERVAL = 1
    PROBABILITY = 2
    NOT_NEGATIVE = 3
    SIGN = 4
    ZERO_OR_ONE = 5
    WEIGHT = 6

EXPECTED: dict[Domain, str]

def outside(x: NDArray[Any], domain: Domain) -> NDArray[np.bool_]: ...
