"""The rows of the tables: which shapes and dtypes of each loss are measured."""

from fastloss import HuffmanTree, divergence

from ..case import LOSSES, Case

DTYPES = ("float32", "float64")

#: A cheap loss, an expensive one, and one of classes. They have more rows than the others, in quick runs too.
THOROUGH = ("mse", "binary_cross_entropy_with_logits", "cross_entropy")

# The shapes of a family are small, medium and large. The medium one is measured in float64 and in quick runs too.
Shapes = tuple[tuple[int, ...], ...]
ELEMENTS: Shapes = ((100,), (100_000,), (16_000_000,))
ROWS: Shapes = ((100, 10), (65536, 10), (16384, 1000))
SHAPES: dict[str, Shapes] = {
    "elementwise": ELEMENTS,
    "classes": ROWS,
    "terms": ROWS,
    "vectors": ((10, 16), (100_000, 3), (16384, 128)),
    "batches": ((128, 64), (1024, 128), (4096, 256)),
    "linear": ((16, 32, 10), (1024, 128, 1000), (2048, 512, 32_000)),
    "trees": ((32, 128), (1024, 128), (32768, 128)),
    "alignments": ((20, 4, 10), (200, 64, 64), (200, 64, 512)),
    "chains": ((4, 8, 5), (256, 64, 32), (2048, 128, 20)),
}
IMAGES = (4, 21, 256, 256)  # with the classes along axis 1
TREE = HuffmanTree([1 / k for k in range(1, 100_001)])  # of words, by Zipf's law
WIDE = (16384, 128)  # vectors whose length is that of real embeddings


def all_cases(quick: bool = False) -> list[Case]:
    """Cases of every loss, from one whose call is all overhead to one that waits for memory."""
    cases = [case for loss in LOSSES for case in of_loss(loss)]
    return [case for case in cases if not quick or _in_quick_runs(case)]


def of_loss(loss: str) -> list[Case]:
    family = Case(loss, ()).declaration.family
    small, medium, large = SHAPES[family]
    options = {"tree": TREE} if family == "trees" else {}
    cases = [Case(loss, shape, options=options) for shape in (small, medium, large)]
    if loss == "cross_entropy":
        cases += [Case(loss, shape) for shape in ((65536, 100), (256, 128256))]
    if loss in ("mse", "cross_entropy"):
        cases.append(Case(loss, large, allocate=True))
    if family in ("classes", "terms") and loss not in divergence.__all__:
        cases.append(Case(loss, IMAGES, options={"axis": 1}))
    if family == "elementwise" or loss == "cross_entropy":
        cases.append(Case(loss, small, "float64"))
    cases.append(Case(loss, WIDE if family == "vectors" else medium, "float64", options))
    if loss == "cross_entropy":
        cases += [Case(loss, (4096, 1000), "float64"), Case(loss, IMAGES, "float64", {"axis": 1})]
    elif loss in THOROUGH:
        cases.append(Case(loss, large, "float64"))
    return cases


def _in_quick_runs(case: Case) -> bool:
    if case.scale == "large":
        return False
    medium = SHAPES[case.declaration.family][1]
    return case.loss in THOROUGH or (case.shape == medium and case.dtype == "float32")


def grid() -> list[Case]:
    """The cases of `pytest benchmarks`: elements and classes in three sizes and both dtypes, vectors as above."""
    classes = ((10, 10), (10_000, 10), (16_000, 1000))
    shapes: dict[str, Shapes] = {"elementwise": ELEMENTS, "classes": classes, "terms": classes}
    cases = []
    for loss in LOSSES:
        family = Case(loss, ()).declaration.family
        if family in shapes:
            cases += [Case(loss, shape, dtype) for shape in shapes[family] for dtype in DTYPES]
        else:
            cases += of_loss(loss)
    return cases
