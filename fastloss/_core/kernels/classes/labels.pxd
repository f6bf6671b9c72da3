"""Class indices: what a call says of them, and how they are loaded."""

cimport numpy as cnp

from fastloss._core.kernels.base.operands cimport load_labels

cdef struct Labels:
    const void* data            # NULL if the target holds no class indices
    int typenum
    long long ignore_index
    Py_ssize_t classes


cdef inline Labels labels_of(cnp.ndarray pred, cnp.ndarray target, Py_ssize_t classes, long long ignore_index) noexcept:
    """The labels of a target. Probabilities have the shape of pred; labels have no class axis."""
    cdef Labels labels
    labels.data = cnp.PyArray_DATA(target) if cnp.PyArray_NDIM(target) < cnp.PyArray_NDIM(pred) else NULL
    labels.typenum = cnp.PyArray_TYPE(target)
    labels.ignore_index = ignore_index
    labels.classes = classes
    return labels


cdef inline bint read_labels(
    const Labels* labels, Py_ssize_t start, long long* label, double* weight, Py_ssize_t n, bint* ignored
) noexcept nogil:
    """Load the labels of samples start to start + n. Return whether one with a weight other than 0 is invalid.

    A sample whose label is invalid or ignored gets the label 0 and the weight 0. Unless `ignored` is NULL, it is set to
    whether there is such a sample.
    """
    cdef long long beyond = -1 if labels.ignore_index != -1 else -2  # stands for labels from 2^63 on: never valid
    cdef unsigned long long classes = labels.classes
    cdef long long ignore_index = labels.ignore_index, invalid = 0, dropped = 0, outside
    cdef Py_ssize_t i
    load_labels(labels.data, labels.typenum, start, label, n, beyond)
    for i in range(n):
        outside = <unsigned long long> label[i] >= classes  # a negative label becomes huge
        invalid |= outside & (label[i] != ignore_index) & (weight[i] != 0)
        # Invalid labels are replaced even in the run that follows the check of all labels: another thread may write to
        # the array in between.
        outside |= label[i] == ignore_index
        dropped |= outside
        weight[i] = 0 if outside else weight[i]
        label[i] = 0 if outside else label[i]
    if ignored != NULL:
        ignored[0] = dropped != 0
    return invalid != 0
