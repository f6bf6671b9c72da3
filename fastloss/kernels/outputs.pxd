"""What a loss function of the elementwise driver writes: see README.md in this folder."""

cdef enum:
    VALUE           # the loss of this element
    SLOPE           # its derivative by the first input
    CURVATURE       # its second derivative by the first input
    SLOPE_2         # the same by the third operand, for losses that have a second differentiable input
    CURVATURE_2
    OUTPUTS
