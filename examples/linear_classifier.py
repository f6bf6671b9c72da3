"""Linear classifiers of the digits: a data loss of the scores W x + b, plus a regularisation loss of W, but not of b.

fastloss returns both losses with their gradients, and scipy minimises the sum. Softmax with the penalty l2 is the model
of scikit-learn's LogisticRegression, and gets the same coefficients. It needs scipy and scikit-learn:

    python examples/linear_classifier.py
"""

import time
from functools import partial

import numpy as np
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import fastloss as fl

STRENGTH = 5e-3


def objective(parameters, x, y, data_loss, penalty):
    """The loss of W and b, which are one vector, and its gradient."""
    weight, bias = split(parameters, x)
    value, (_, of_weight, of_bias) = data_loss(x, weight, y, bias=bias)
    more, of_penalty = penalty.value_and_grad(weight, strength=STRENGTH)
    return value + more, np.append(of_weight + of_penalty, of_bias)


def split(parameters, x):
    """W and b: a row and a number for each class."""
    classes = len(parameters) // (x.shape[1] + 1)
    return parameters[:-classes].reshape(classes, -1), parameters[-classes:]


def train(x, y, data_loss, penalty):
    start = np.zeros((y.max() + 1) * (x.shape[1] + 1))
    options = {"maxiter": 500, "ftol": 1e-15, "gtol": 1e-8}
    function = partial(objective, x=x, y=y, data_loss=data_loss, penalty=penalty)
    return split(minimize(function, start, jac=True, method="L-BFGS-B", options=options).x, x)


def main():
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = x[:1200] / 16, x[1200:] / 16, y[:1200], y[1200:]

    def report(name, weight, bias, start):
        seconds, right = time.perf_counter() - start, np.argmax(x_test @ weight.T + bias, axis=1) == y_test
        print(f"{name:30}{seconds:7.2f} s{np.mean(right):9.1%} right{np.mean(np.abs(weight) < 1e-4):8.0%} of W near 0")

    softmax, svm = fl.linear_cross_entropy.value_and_grad, fl.linear_multiclass_hinge.value_and_grad
    models = {
        "softmax, l2": (softmax, fl.l2),
        "softmax, l1": (softmax, fl.l1),
        "SVM of squared margins, l2": (partial(svm, power=2), fl.l2),
    }
    layers = {}
    for name, (data_loss, penalty) in models.items():
        start = time.perf_counter()
        layers[name] = train(x, y, data_loss, penalty)
        report(name, *layers[name], start)

    start = time.perf_counter()
    model = LogisticRegression(C=1 / (STRENGTH * len(x)), tol=1e-10, max_iter=500).fit(x, y)
    report("scikit-learn: softmax, l2", model.coef_, model.intercept_, start)
    weight, bias = layers["softmax, l2"]
    difference = max(np.abs(weight - model.coef_).max(), np.abs(bias - model.intercept_).max())
    print(f"largest difference of coefficients, softmax with l2: {difference:.1e}")
    return difference


if __name__ == "__main__":
    main()
