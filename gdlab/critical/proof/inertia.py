"""The Morse index, proved: how many eigenvalues of every matrix in an interval matrix are negative.

By Sylvester's law H and A = V'HV have the same number of negative eigenvalues for any regular V.
With V near the eigenvectors, A is nearly diagonal; if for some scaling s > 0

    |A_ii| s_i > sum_{j != i} |A_ij| s_j    for all i,

A is regular (hence V is), stays so while its off-diagonal shrinks to nothing, and has as many
negative eigenvalues as its diagonal has negative entries.

Reference: R. A. Horn, C. R. Johnson, Matrix Analysis, 2013, thms. 4.5.8 and 6.1.10.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from gdlab.critical.proof import interval as iv
from gdlab.critical.proof.interval import Interval


@np.errstate(all="ignore")
def morse_index(H: Interval) -> Int[np.ndarray, " B"]:
    """How many eigenvalues of all symmetric matrices in H `[B, d, d]` are negative; -1: unknown."""
    d = H.shape[1]
    middle = H.mid
    fine = np.isfinite(middle).all(axis=(1, 2))
    middle = np.where(fine[:, None, None], middle, np.eye(d))
    middle = 0.5 * middle + 0.5 * np.swapaxes(middle, 1, 2)
    # Units in which the diagonal is 1: eigenvectors of badly scaled matrices keep their digits.
    size = np.abs(np.einsum("bii->bi", middle))
    unit = np.exp2(-np.round(0.5 * np.log2(np.where(size > 0, size, 1.0))))
    scaled = middle * unit[:, :, None] * unit[:, None, :]
    scaled[~np.isfinite(scaled).all(axis=(1, 2))] = np.eye(d)
    V = unit[:, :, None] * np.linalg.eigh(scaled)[1]
    A = iv.product(iv.exact(np.swapaxes(V, 1, 2)), iv.product(H, iv.exact(V)))
    most = np.maximum(np.abs(A.lo), np.abs(A.hi))
    diagonal = Interval(np.einsum("bii->bi", A.lo), np.einsum("bii->bi", A.hi))
    least = np.where(
        diagonal.lo > 0, diagonal.lo, np.where(diagonal.hi < 0, -diagonal.hi, 0.0)
    )  # of |A_ii|
    s = 1 / np.sqrt(np.where(least > 0, least, 1.0))
    beside = np.einsum("bij,bj->bi", most * (1 - np.eye(d)), s)
    # Rounding of these few sums is far below the margin that is asked for.
    proved = fine & np.all((least > 0) & (least * s > 1.0001 * beside), axis=1)
    return np.where(proved, np.sum(diagonal.hi < 0, axis=1), -1)
