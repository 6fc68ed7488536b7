"""Deep linear networks and matrix factorization: saddles with null directions from symmetry."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.objectives.inventory import box
from gdlab.types import Array, CriticalPoints, Facts, Objective

# Numbers in an inventory of matrix_factorization, n r a point.
MOST = 2_000_000


@dataclass(frozen=True)
class Network:
    """f(data, x) = 1/2 |W_L ... W_1 - A|^2; equal widths are equal functions, so that jobs fuse."""

    widths: tuple[int, ...]

    def unravel(self, x: Float[Array, " d"]) -> list[Float[Array, "m n"]]:
        """W_1, ..., W_L."""
        shapes = [(m, n) for n, m in itertools.pairwise(self.widths)]
        ends = np.cumsum([0] + [m * n for m, n in shapes])
        parts = zip(ends[:-1], ends[1:], shapes, strict=True)
        return [x[a:b].reshape(shape) for a, b, shape in parts]

    def __call__(self, data: Mapping[str, Array], x: Float[Array, " d"]) -> Float[Array, ""]:
        product, *others = self.unravel(x)
        for W in others:  # sums of products fuse where tiny matrix products do not
            product = jnp.sum(W[:, :, None] * product[None], axis=1)
        off = product - data["target"]
        return 0.5 * jnp.sum(off * off)


@registry.objective
def linear_network(
    widths: list[int] = [1, 1, 1],  # noqa: B006 (never changed)
    target: list[float] = [1.0],  # noqa: B006
) -> Objective:
    """A deep linear network that learns a matrix: plateaus and saddles, though no nonlinearity.

    f(W_1, ..., W_L) = 1/2 |W_L ... W_1 - A|_F^2, A = diag(target); x holds W_1, ..., W_L row by
    row. Starts are drawn in a cube around 0.

    Args:
        widths: of the layers, input first; [1, 1, 1] is (w_2 w_1 - s)^2 / 2.
        target: singular values of A, > 0, at most as many as inputs and outputs.

    W_l -> G W_l, W_{l+1} -> W_{l+1} G^-1 leaves f as it is, so minima form a continuum and are
    degenerate: the inventory names one balanced global minimum, and the origin, a strict saddle
    for L = 2 with a square A and degenerate beyond. All local minima are global.

    Reference: P. Baldi and K. Hornik, Neural Networks 2 (1989) 53; A. M. Saxe, J. L. McClelland,
    S. Ganguli, ICLR 2014.
    """
    s = np.array(target, float)
    if len(widths) < 3 or min(widths) < 1:
        raise UsageError(f"objective.widths={widths}: takes three or more widths >= 1")
    if not 1 <= len(s) <= min(widths[0], widths[-1]) or not np.all((s > 0) & (s < np.inf)):
        raise UsageError(
            f"objective.target={target}: takes 1 to {min(widths[0], widths[-1])} numbers > 0"
        )
    A = np.zeros((widths[-1], widths[0]))
    np.fill_diagonal(A, np.concatenate([s, np.zeros(min(A.shape) - len(s))]))
    f = Network(tuple(widths))
    layers, rank = len(widths) - 1, min(widths)
    kept = np.argsort(-s, kind="stable")[:rank]
    dim = sum(m * n for n, m in itertools.pairwise(widths))

    # Balanced: hidden unit j of each layer carries the j-th largest singular value.
    balanced = []
    for layer, (n, m) in enumerate(itertools.pairwise(widths)):
        W = np.zeros((m, n))
        for j, i in enumerate(kept):
            W[i if layer == layers - 1 else j, i if layer == 0 else j] = s[i] ** (1 / layers)
        balanced.append(W.ravel())
    f_star = 0.5 * float(np.sum(np.delete(s, kept) ** 2))
    # L = 2: f = const - sum_i s_i sum_h W2[i,h] W1[h,i] near 0, eigenvalues +-s_i, each h times.
    square = layers == 2 and widths[0] == widths[2] == len(s)
    points = CriticalPoints(
        np.stack([np.concatenate(balanced), np.zeros(dim)]),
        np.array([f_star, 0.5 * float(np.sum(s**2))]),
        np.array([-1, widths[1] * len(s) if square else -1]),
        complete=False,
    )
    facts = Facts(
        f_star=f_star,
        domain=box(dim, -1.0, 1.0) * 2 * max(1.0, s.max() ** (1 / layers)),
        critical_points=points,
        source="closed form (Eckart-Young); minima form a continuum by W_l -> G W_l, "
        "W_{l+1} -> W_{l+1} G^-1: null directions",
    )
    return Objective(f, dim, {"target": A}, (), "linear_network", facts, f.unravel)


def _columns(rank: int, x: Float[Array, " d"]) -> Float[Array, "n r"]:
    """U."""
    return x.reshape(-1, rank)


def _factorization(data: Mapping[str, Array], x: Float[Array, " d"]) -> Float[Array, ""]:
    s = data["spectrum"]
    U = x.reshape(s.shape[0], -1)
    off = jnp.sum(U[:, None, :] * U[None, :, :], axis=-1) - jnp.diag(s)
    return 0.25 * jnp.sum(off * off)


@registry.objective
def matrix_factorization(
    spectrum: list[float] = [2.0, 1.0],  # noqa: B006 (never changed)
    rank: int = 1,
) -> Objective:
    """The best factorization U U' of a symmetric matrix: every saddle is strict.

    f(U) = 1/4 |U U' - diag(spectrum)|_F^2, U of shape n x rank, x = U row by row.

    Args:
        spectrum: eigenvalues of the matrix, > 0.
        rank: columns of U, 1 to n.

    Critical points choose eigenvectors: U = (sqrt(s_i) e_i for chosen i), minima the largest. For
    rank 1 and distinct s_i these are 2 n + 1 isolated points: 0 (a maximum, index n) and
    +-sqrt(s_i) e_i with index #{s_j > s_i}. For rank > 1, U -> U Q turns them into continua with
    null directions: the inventory names one of each, as degenerate, and the maximum at 0. Where
    that would be more than 2,000,000 numbers it names a minimum and the maximum alone.

    Reference: R. Ge, C. Jin, Y. Zheng, ICML 2017; X. Li et al., IEEE Trans. Inf. Theory 65
    (2019) 3489, for the symmetry.
    """
    s, n = np.array(spectrum, float), len(spectrum)
    if not n or not np.all((s > 0) & (s < np.inf)):
        raise UsageError(f"objective.spectrum={spectrum}: takes one or more numbers > 0")
    if not 1 <= rank <= n:
        raise UsageError(f"objective.rank={rank}: takes 1 to {n}, the length of the spectrum")
    distinct = len(set(spectrum)) == n
    choices: Iterable[tuple[int, ...]]
    count = 2 * n + 1 if rank == 1 else sum(math.comb(n, k) for k in range(rank + 1))
    if all_listed := count * n * rank <= MOST:
        choices = (c for k in range(rank + 1) for c in itertools.combinations(range(n), k))
    else:
        choices = ((), tuple(np.sort(np.argsort(-s, kind="stable")[:rank])))
    rows, values, indices = [], [], []
    for chosen in choices:
        U = np.zeros((n, rank))
        U[list(chosen), range(len(chosen))] = np.sqrt(s[list(chosen)])
        larger = int(np.sum(s > s[chosen[0]])) if chosen else n * rank
        isolated = not chosen or (rank == 1 and np.sum(s == s[chosen[0]]) == 1)
        for sign in (1, -1) if chosen and rank == 1 else (1,):
            rows.append(sign * U.ravel())
            values.append(0.25 * float(np.sum(np.delete(s, chosen) ** 2)))
            indices.append(larger if isolated else -1)
    points = CriticalPoints(
        np.array(rows),
        np.array(values),
        np.array(indices),
        complete=rank == 1 and distinct and all_listed,
    )
    unique = rank == 1 and np.sum(s == s.max()) == 1
    facts = Facts(
        f_star=float(points.value.min()),
        minimizers=points.x[points.value == points.value.min()] if unique else None,
        domain=box(n * rank, -1.0, 1.0) * 2 * math.sqrt(s.max()),
        critical_points=points,
        source="closed form; for rank > 1 U -> U Q gives null directions",
    )
    return Objective(
        _factorization,
        n * rank,
        {"spectrum": s},
        (),
        "matrix_factorization",
        facts,
        partial(_columns, rank),
    )
