"""What is printed is what is computed: brackets, signs, sums over time."""

import itertools
import re

import pytest
import torch

from pixyz.expression import LossOperator, NegLoss, as_loss
from pixyz.losses import IterativeLoss, Parameter

A, BEE, C = (Parameter(v) for v in "abc")
VALUES = {"a": 1.3, "b": -0.7, "c": 2.1}
TOKENS = r"\\frac|\\cdot|\\left\(|\\right\)|\d+\.\d+|\d+|[a-c]|[-+{}()]"


class Reader:
    """The value of a printed formula of +, -, products and fractions."""

    def __init__(self, text):
        self.rest = re.findall(TOKENS, text)

    def peek(self):
        return self.rest[0] if self.rest else None

    def total(self):
        value = self.term()
        while self.peek() in ("+", "-"):
            sign = 1 if self.rest.pop(0) == "+" else -1
            value += sign * self.term()
        return value

    def term(self):
        sign = 1
        while self.peek() == "-":
            self.rest.pop(0)
            sign = -sign
        value = self.factor()
        while self.peek() not in (None, "+", "-", "}", ")", r"\right)"):
            if self.peek() == r"\cdot":
                self.rest.pop(0)
            value *= self.factor()
        return sign * value

    def factor(self):
        token = self.rest.pop(0)
        if token == r"\frac":
            return self.factor() / self.factor()
        if token in ("{", "(", r"\left("):
            value = self.total()
            self.rest.pop(0)
            return value
        return VALUES[token] if token in VALUES else float(token)


def _value(loss):
    if isinstance(loss, LossOperator):
        return loss.formula(_value(loss.loss1), _value(loss.loss2))
    if isinstance(loss, NegLoss):
        return -_value(loss.loss1)
    return VALUES[loss.variable] if loss.variable else float(str(loss))


def _trees(size):
    if size == 1:
        yield from (A, BEE, as_loss(2.0), as_loss(-0.5))
        return
    for one in _trees(size - 1):
        yield -one
    for first in range(1, size - 1):
        for one, two in itertools.product(_trees(first), _trees(size - 1 - first)):
            yield from (one * two, one / two, one + two, one - two)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_every_small_formula_reads_as_what_it_is(size):
    for loss in itertools.islice(_trees(size), 0, None, 1 if size < 5 else 7):
        try:
            wanted = _value(loss)
        except ZeroDivisionError:
            continue
        assert Reader(str(loss)).total() == pytest.approx(wanted, rel=1e-6, abs=1e-9), str(loss)


@pytest.mark.parametrize(
    "loss",
    [
        (A / BEE) * (-0.5 * C * (A + 2) / BEE),
        (A / BEE) * ((-0.5 * C) * BEE),
        (A / BEE) * (-2 * (BEE + C) / C),
        (A / (-BEE)) * (-0.5 * C / BEE),
        -NegLoss((-A) * BEE),
        -NegLoss(-(A * (-BEE))),
        (A * BEE) * (-0.5 * C / (BEE - A)) / (-3 * C),
    ],
    ids=str,
)
def test_a_negative_factor_reads_as_a_factor(loss):
    assert Reader(str(loss)).total() == pytest.approx(_value(loss), rel=1e-6)


def test_constants_hold_for_the_whole_sum():
    fixed, bar = {"a": torch.ones(3)}, r"|_{a=\mathrm{const}}"
    total = r"\left(a + b\right)" + bar
    assert str((A + BEE).constant_var(fixed)) == total
    assert str(2 * (A + BEE).constant_var(fixed)) == "2 " + total
    assert str(-(A + BEE).constant_var(fixed)) == "- " + total
    assert str(C - (-A).constant_var(fixed)) == r"c - \left(- a\right)" + bar
    assert str(2 * A.constant_var(fixed)) == "2 a" + bar


FIRST, LAST = r"a_{t=0}", r"c_{t=2}"
SUM, LATER = r"\sum_{t=0}^{2} b", r"\sum_{t=1}^{2} b"


@pytest.mark.parametrize(
    ("edges", "inside"),
    [
        ({"first_step": A}, f"{FIRST} + {LATER}"),
        ({"last_step": C}, f"{SUM} + {LAST}"),
        ({"first_step": A, "last_step": C}, f"{FIRST} + {LATER} + {LAST}"),
        ({"last_step": -C}, SUM + r" + \left(- c\right)_{t=2}"),
        ({"last_step": A + C}, SUM + r" + \left(a + c\right)_{t=2}"),
    ],
)
def test_operators_see_all_terms_of_a_sum_over_time(edges, inside):
    loss = IterativeLoss(BEE, 3, **edges)
    assert str(loss) == inside
    assert str(2 * loss) == rf"2 \left({inside}\right)"
    assert str(-loss) == f"- ({inside})"
    assert str(A - loss) == rf"a - \left({inside}\right)"
    assert str(A + loss) == f"a + {inside}"
    mean = IterativeLoss(BEE, 3, reduction="frame", **edges)
    assert str(mean) == rf"\frac{{1}}{{N}} \left({inside}\right)"


def test_a_mean_and_a_series_are_printed_as_such():
    plain, mean, series = (
        IterativeLoss(BEE, 3, reduction=reduction) for reduction in ("sum", "frame", None)
    )
    assert str(plain) == SUM and str(-plain) == f"- {SUM}"
    assert str(mean) == r"\frac{1}{N} " + SUM
    assert str(2 * mean) == r"2 \frac{1}{N} " + SUM
    assert str(series) == r"\left(b\right)_{t=0, \dots, 2}"
    edge = IterativeLoss(BEE, series_var="b", reduction=None, first_step=A)
    assert str(edge) == FIRST + r" + \left(b\right)_{t=1, \dots, t_{max} - 1}"
