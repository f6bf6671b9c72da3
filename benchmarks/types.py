"""Types that the parts of the suite share."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = tuple[Array, ...]
Call = Callable[[], tuple[Any, Any]]  # returns a loss and its gradient; a tuple of gradients where there are several
