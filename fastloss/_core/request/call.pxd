"""One call of a loss: what the caller asks for, and where the results go.

The drivers of the kernels read these fields.
"""

cimport numpy as cnp

# What a loss may write. Of input k, counted from 0, the gradient is GRAD + 2 k and the Hessian HESS + 2 k. Only losses
# of vectors and of chains have a third gradient, and those of chains a fourth. They have no Hessian.
cdef enum:
    VALUE
    GRAD
    HESS
    GRAD_2
    HESS_2
    GRAD_3
    HESS_3
    GRAD_4
    OUTPUTS

cdef enum:
    ELEMENTWISE_OUTPUTS = GRAD_3    # the end of the outputs that elementwise losses and terms have

cdef enum Stage:    # what a driver does with its input
    RUN             # compute the results
    MEASURE         # only check the labels, and sum the weights that the target brings to the mean
    CHECK           # only check all operands, and sum those weights


cdef class Call:
    cdef object declaration         # of the loss
    # Bit k is set if the caller asks for output k of input 0; further inputs follow it. 0: the sum of weights alone.
    cdef int outputs
    cdef tuple parameters           # numbers for the kernel
    cdef tuple shape                # of the unreduced loss
    cdef cnp.ndarray weight         # sample weights, or None
    cdef Stage stage
    cdef int threads                # 0: the input is so small that the GIL is kept
    cdef bint stream                # whether gradients go past the caches
    cdef double scale               # 1 / divisor; every derivative is multiplied by it
    cdef bint sum_values            # whether the driver sums the losses
    cdef cnp.ndarray values         # the unreduced loss, for reduction "none"
    cdef tuple grads                # an array for each differentiable input, or Nones
    cdef tuple hesses               # the same for the diagonals of the Hessian
    cdef bint in_place              # whether a result may be written over an input
    cdef object sample_weight, normalizer, out  # as the caller gave them
    cdef tuple taken                # names and arrays of `out` so far
    cdef bint mean                  # whether reduction is "mean"
    cdef double weights             # the sum of the weights: what the mean divides by without `normalizer`
    cdef double divisor             # for the mean, the sum of the weights or `normalizer`; else 1

    cdef bint wants(self, int output) noexcept
    cdef bint checks_first(self) noexcept
    cdef tuple stages(self, bint check)
    cdef allocate(self, tuple likes, tuple inputs)
    cdef tuple arrays(self, given, str name, tuple likes, tuple inputs)
    cdef cnp.ndarray given_array(self, x, str name, cnp.ndarray like, tuple inputs)
    cdef divide_by(self, double weights)
    cdef result(self, double total)
