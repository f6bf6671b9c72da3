"""Everything behind the public losses: README.md is the map.

`cpu` comes first: it tells OpenMP how its threads wait, before any other module loads OpenMP.
"""

from fastloss._core import cpu as cpu
