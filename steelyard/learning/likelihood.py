"""Penalised logistic likelihood, maximised by Newton's method on one thread.

The libraries' solvers spread these small problems over threads, which takes several times as long
on a busy machine; this one gives the same numbers to the last bit wherever it runs.
"""

import numpy as np

from steelyard.compiled import compiled
from steelyard.learning.samples import Bools, Floats

ITERATIONS, PRECISION = 50, 1e-10
"""Newton steps at most, and the size of a step that ends them, log odds."""
ROUNDING = 1e-12
"""Rise of the loss, relative to it, that is no reason for a shorter step."""


def fit_coefficients(columns: Floats, won: Bools, weight: Floats, penalty: Floats) -> Floats:
    """Return the most likely coefficients of log odds ``columns @ coefficients``, shape (k,).

    Args:
        columns: Shape (n, k), finite; one of ones for an intercept.
        won: Outcomes, shape (n,).
        weight: Weight of each row in the log-loss, shape (n,).
        penalty: Half of it times the squared coefficient is added to the loss, shape (k,).
    """
    columns = np.ascontiguousarray(columns)
    point = np.zeros(columns.shape[1])
    loss, gradient, hessian = measure_fit(columns, won, weight, penalty, point)
    for _ in range(ITERATIONS):
        step, before = np.linalg.solve(hessian, gradient), loss
        loss, gradient, hessian = measure_fit(columns, won, weight, penalty, point - step)
        while loss > before * (1 + ROUNDING) and np.abs(step).max() > PRECISION:
            step /= 2
            loss, gradient, hessian = measure_fit(columns, won, weight, penalty, point - step)
        point = point - step
        if np.abs(step).max() <= PRECISION:
            break
    return point


@compiled
def measure_fit(
    columns: Floats, won: Bools, weight: Floats, penalty: Floats, point: Floats
) -> tuple[float, Floats, Floats]:
    """Return the penalised loss at ``point``, its gradient, shape (k,), and Hessian, shape (k, k).

    Args:
        columns: See ``fit_coefficients``.
        won: See ``fit_coefficients``.
        weight: See ``fit_coefficients``.
        penalty: See ``fit_coefficients``.
        point: Coefficients, shape (k,).
    """
    size = len(point)
    loss = float((penalty * point * point).sum() / 2)
    gradient, hessian = penalty * point, np.diag(penalty)
    for row in range(len(columns)):
        values = columns[row]
        odds = 0.0
        for i in range(size):
            odds += values[i] * point[i]
        # log(1 + exp(-odds)) of a win, with odds turned round for a loss
        towards = odds if won[row] else -odds
        loss += weight[row] * (max(-towards, 0.0) + np.log1p(np.exp(-abs(towards))))
        p_win = 1.0 / (1.0 + np.exp(-odds))
        slope, curvature = weight[row] * (p_win - won[row]), weight[row] * p_win * (1.0 - p_win)
        for i in range(size):
            gradient[i] += slope * values[i]
            scaled = curvature * values[i]
            for j in range(i + 1):
                hessian[i, j] += scaled * values[j]
    for i in range(size):
        for j in range(i):
            hessian[j, i] = hessian[i, j]
    return loss, gradient, hessian
