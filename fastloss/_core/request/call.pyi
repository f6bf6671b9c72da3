from typing import Any

COMMON: dict[str, Any]
OUTPUTS_OF: dict[str, int]
