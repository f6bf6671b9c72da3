"""The arguments that every loss takes, and the way from results to what the caller gets."""

cimport numpy as cnp
from libc.math cimport isfinite

import numpy as np

from fastloss._core.request cimport arguments
from fastloss._core.request import checks
from fastloss._core.request.familiar import keyword_hint

cnp.import_array()

# The keyword arguments of every loss, and their defaults. The default of `reduction` is that of the declaration:
# penalties have another.
COMMON = {"sample_weight": None, "reduction": "mean", "normalizer": None, "out": None}

# What each way to call a loss asks for, as bits.
OUTPUTS_OF = {
    "value": 1 << VALUE,
    "grad": 1 << GRAD,
    "value_and_grad": 1 << VALUE | 1 << GRAD,
    "grad_and_hess": 1 << GRAD | 1 << HESS,
    "normalizer": 0,
}

cdef tuple RUN_ALONE = (RUN,), CHECK_ALONE = (CHECK,), CHECK_AND_RUN = (CHECK, RUN)
cdef tuple NONES = tuple([(None,) * n for n in range(5)])  # for n differentiable inputs: siglip has 4


cdef class Call:
    def __init__(self, declaration, int outputs, tuple shape, tuple parameters, dict common):
        for name in common:
            if name not in COMMON:
                hint = keyword_hint(declaration.name, name)
                raise TypeError(f"{declaration.name}() got an unexpected keyword argument {name!r}{hint}")
        self.declaration = declaration
        self.outputs = outputs
        self.parameters = parameters
        self.shape = shape
        self.taken = ()
        self.stage = RUN
        reduction = declaration.reduction
        if common:
            reduction = common.get("reduction", reduction)
            self.sample_weight = common.get("sample_weight")
            self.normalizer = common.get("normalizer")
            self.out = common.get("out")
        if not isinstance(reduction, str) or reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none', not {checks.shown(reduction)}")
        self.mean = reduction == "mean"
        self.sum_values = self.wants(VALUE) and reduction != "none"
        if self.normalizer is not None:
            if not self.mean:
                raise ValueError(f"normalizer goes with reduction='mean', not {reduction!r}")
            self.normalizer = checks.number(self.normalizer, "normalizer", 0, above=True)
        if self.out is not None and not self.wants(GRAD):
            raise TypeError("out goes with grad, value_and_grad and grad_and_hess: a value needs no array")
        if self.sample_weight is not None:
            self.weight = arguments.leading_weights(self.sample_weight, shape)

    cdef bint wants(self, int output) noexcept:
        return self.outputs >> output & 1

    cdef bint checks_first(self) noexcept:
        """Whether all elements must be known to be valid before the driver writes anything, or if it writes nothing."""
        return self.in_place or not self.outputs

    cdef tuple stages(self, bint check):
        """What the driver does in turn. `check` says whether a check comes before the results, if there are any."""
        if self.outputs:
            return CHECK_AND_RUN if check else RUN_ALONE
        return CHECK_ALONE if check else ()

    cdef allocate(self, tuple likes, tuple inputs):
        """Set the arrays for the results. `likes` has an array like the gradient for each differentiable input.

        `inputs` matter only if the caller gave `out`. Each is a tuple: its name, what the caller gave, the array that
        the kernel reads, and whether the kernel may write over that array.
        """
        self.grads = self.hesses = NONES[len(likes)]
        if self.wants(VALUE) and not self.sum_values:
            self.values = np.empty(self.shape, (<object> likes[0]).dtype)
        if not self.wants(GRAD):
            return
        if self.out is not None:
            inputs += (("sample_weight", self.sample_weight, self.weight, False),)
        if not self.wants(HESS):
            self.grads = self.arrays(self.out, "out", likes, inputs)
        elif self.out is None:
            self.grads = self.arrays(None, "", likes, inputs)
            self.hesses = self.arrays(None, "", likes, inputs)
        else:
            checks.parts(self.out, "out", 2, "arrays" if len(likes) == 1 else "tuples of arrays")
            self.grads = self.arrays(self.out[0], "out[0]", likes, inputs)
            self.hesses = self.arrays(self.out[1], "out[1]", likes, inputs)

    cdef tuple arrays(self, given, str name, tuple likes, tuple inputs):
        """An array for each of `likes`: new ones, or the given ones."""
        if len(likes) == 1:
            if given is None:
                return (arguments.empty_like(likes[0]),)
            return (self.given_array(given, name, likes[0], inputs),)
        if given is None:
            return tuple([arguments.empty_like(like) for like in likes])
        checks.parts(given, name, len(likes), "arrays")
        return tuple([self.given_array(given[k], f"{name}[{k}]", likes[k], inputs) for k in range(len(likes))])

    cdef cnp.ndarray given_array(self, x, str name, cnp.ndarray like, tuple inputs):
        """An array of `out`, checked. It may be exactly an input that the kernel may write over."""
        cdef cnp.ndarray array
        cdef arguments.Overlap how
        array = arguments.output(x, name, like)
        for input_name, given, used, may_be_out in inputs:
            if used is not None:
                how = arguments.overlap(array, used)
                if how == arguments.PARTLY or how == arguments.SAME and not may_be_out:
                    raise ValueError(f"{name} overlaps {input_name}")
                # If the kernel reads a copy, it may overwrite the original. But if it then raises, the original must be
                # unchanged.
                original_is_safe = (
                    used is given or isinstance(given, np.ndarray) and not np.may_share_memory(array, given)
                )
                if how == arguments.SAME or not original_is_safe:
                    self.in_place = True
        for other_name, other in self.taken:
            if arguments.overlap(array, other) != arguments.APART:
                raise ValueError(f"{name} overlaps {other_name}")
        self.taken += ((name, array),)
        return array

    cdef divide_by(self, double weights):
        """Set the divisor of the results, from the sum of all weights."""
        self.weights = weights
        self.divisor = 1
        if self.mean:
            self.divisor = weights if self.normalizer is None else self.normalizer
        self.scale = 1 / self.divisor if self.divisor != 0 else 0  # 0: nothing is left to average
        if not (isfinite(self.divisor) and isfinite(self.scale)):
            what = "the weights add up to" if self.normalizer is None else "normalizer is"
            raise ValueError(f"{what} {self.divisor}, which float64 cannot divide by")

    cdef result(self, double total):
        """What the caller gets, from the weighted sum of the losses."""
        value = self.values
        if self.sum_values:
            value = total / self.divisor if self.divisor != 0 else 0.0
        if not self.wants(GRAD):
            return value if self.outputs else self.weights
        single = len(self.grads) == 1
        grads = self.grads[0] if single else self.grads
        if self.wants(HESS):
            return grads, self.hesses[0] if single else self.hesses
        return (value, grads) if self.wants(VALUE) else grads
