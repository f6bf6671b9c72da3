"""What is true of each loss: cases, definitions in NumPy (reference), formulas in mpmath (exact)."""
