from typing import Any

from fastloss._declaration import Chains

def chains(
    declaration: Chains,
    outputs: int,
    emissions: Any,
    tags: Any,
    transitions: Any,
    lengths: Any,
    start: Any,
    end: Any,
    parameters: tuple[float, ...],
    common: Any,
) -> Any: ...
def viterbi(emissions: Any, transitions: Any, lengths: Any, start: Any, end: Any) -> Any: ...
