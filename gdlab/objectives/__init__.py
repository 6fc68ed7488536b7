"""The functions to descend on, one family a file. Importing this registers all of them."""

from __future__ import annotations

from gdlab.objectives.camels import six_hump_camel, three_hump_camel
from gdlab.objectives.degenerate import crossed_valleys, monkey_saddle, quartic, strict_saddle
from gdlab.objectives.himmelblau import himmelblau
from gdlab.objectives.linear_network import linear_network, matrix_factorization
from gdlab.objectives.logistic import logistic
from gdlab.objectives.multimodal import (
    bohachevsky,
    easom,
    egg_crate,
    levy,
    michalewicz,
)
from gdlab.objectives.planar import beale, booth, branin, matyas, mccormick
from gdlab.objectives.polynomial import freudenstein_roth, goldstein_price
from gdlab.objectives.quadratic import quadratic
from gdlab.objectives.rippled import ackley, griewank
from gdlab.objectives.rosenbrock import rosenbrock
from gdlab.objectives.separable import double_well, rastrigin, styblinski_tang
from gdlab.objectives.tanh_network import tanh_network
from gdlab.objectives.textbook import (
    fig4_2_maximum,
    fig4_2_minimum,
    fig4_2_saddle,
    fig4_6,
    half_square,
    monomial,
    saddle,
    three_minima,
)
from gdlab.objectives.valleys import (
    dixon_price,
    powell_singular,
    sum_squares,
    trid,
    wood,
    zakharov,
)

__all__ = [
    "ackley",
    "beale",
    "bohachevsky",
    "booth",
    "branin",
    "crossed_valleys",
    "dixon_price",
    "double_well",
    "easom",
    "egg_crate",
    "fig4_2_maximum",
    "fig4_2_minimum",
    "fig4_2_saddle",
    "fig4_6",
    "freudenstein_roth",
    "goldstein_price",
    "griewank",
    "half_square",
    "himmelblau",
    "levy",
    "linear_network",
    "logistic",
    "matrix_factorization",
    "matyas",
    "mccormick",
    "michalewicz",
    "monkey_saddle",
    "monomial",
    "powell_singular",
    "quadratic",
    "quartic",
    "rastrigin",
    "rosenbrock",
    "saddle",
    "six_hump_camel",
    "strict_saddle",
    "styblinski_tang",
    "sum_squares",
    "tanh_network",
    "three_hump_camel",
    "three_minima",
    "trid",
    "wood",
    "zakharov",
]
