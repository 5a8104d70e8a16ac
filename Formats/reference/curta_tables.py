# SPDX-License-Identifier: Apache-2.0
"""The tables of curta-arithmetic.md section 3 (table set 1), from decimals of 60 digits."""

from decimal import Decimal, ROUND_FLOOR, localcontext

SMALL = Decimal("1e-58")


def nearest(x):
    """floor(x + 1/2); asserts that x is so far from a tie that its error does not matter."""
    x += Decimal("0.5")
    whole = x.to_integral_value(ROUND_FLOOR)
    assert Decimal("1e-6") < x - whole < 1 - Decimal("1e-6"), x
    return int(whole)


def arctan_inverse(n):
    """arctan(1 / n)."""
    total, power, k = Decimal(0), Decimal(1) / n, 0
    while abs(power) > SMALL:
        total += power / (2 * k + 1)
        power, k = -power / (n * n), k + 1
    return total


def sine(x):
    """sin(x)."""
    total, term, k = Decimal(0), x, 1
    while abs(term) > SMALL:
        total += term
        term, k = -term * x * x / ((k + 1) * (k + 2)), k + 2
    return total


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1 / (1 + (-x).exp())


def erf(x, pi):
    """erf(x), x >= 0, by 2 / sqrt(pi) * exp(-x^2) * sum of 2^n x^(2n+1) / (2n+1)!!: no term is
    negative, so no digits are lost."""
    total, term, n = Decimal(0), x, 0
    while term > SMALL * max(1, total):
        total += term
        n += 1
        term = term * 2 * x * x / (2 * n + 1)
    return 2 / pi.sqrt() * (-x * x).exp() * total


def make_tables():
    """The tables by name, as lists of int."""
    with localcontext() as context:
        context.prec = 60
        ln2 = Decimal(2).ln()
        chord = 1 - (ln2 / 32) ** 2 / 16
        decay = [(-ln2 * i / 32).exp() * (1 if i in (0, 32) else chord) for i in range(33)]
        pi = 16 * arctan_inverse(5) - 4 * arctan_inverse(239)
        xs = [Decimal(i) / 32 for i in range(514)]
        # 1 + tanh(u) = 2 * sigmoid(2u)
        tanh = [sigmoid(2 * (2 / pi).sqrt() * (x + Decimal("0.044715") * x ** 3)) for x in xs]
        return {
            "EXP15": [nearest(x * 2 ** 15) for x in decay],
            "EXP30": [nearest(x * 2 ** 30) for x in decay],
            "SIGMOID": [nearest(2 ** 15 * sigmoid(x)) for x in xs],
            "SINE": [min(32767, nearest(2 ** 15 * sine(pi * i / 512))) for i in range(258)],
            "GELU_TANH": [nearest(2 ** 15 * y) for y in tanh],
            "GELU_ERF": [nearest(2 ** 14 * (1 + erf(x / Decimal(2).sqrt(), pi))) for x in xs],
            "QUICK_GELU": [nearest(2 ** 15 * sigmoid(Decimal("1.702") * x)) for x in xs],
            "RELU": [2 ** 15] * 514,
        }


ACTIVATIONS = {1: "SIGMOID", 2: "GELU_TANH", 3: "GELU_ERF", 4: "QUICK_GELU", 5: "RELU"}
