"""Types that the whole suite shares."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = tuple[Array, ...]
#: The value of a loss, and its gradient or a tuple of gradients.
Result = tuple[float, Any]
Call = Callable[[], Result]
