"""Read rows of handwritten digits with CTC: the digits of each row are known, but not where they stand.

Each row is five to eight of scikit-learn's 8 x 8 digits, with gaps between them. Its columns of pixels are the frames.
A model with one hidden layer sees a window of columns around each frame, and scores ten digits and blank. NumPy trains
it on the gradient of `fastloss.ctc`.

It needs scikit-learn, and takes about ten seconds:

    python examples/ctc_digits.py
"""

import numpy as np
from sklearn.datasets import load_digits

import fastloss as fl

MOST_DIGITS, FRAMES, WINDOW, HIDDEN, BLANK = 8, 96, 13, 128, 10


def rows_of_digits(images, labels, n, rng):
    """Return frames (T, n, 8), digits (n, S), and the lengths of both."""
    frames = np.zeros((FRAMES, n, 8), np.float32)
    digits = np.zeros((n, MOST_DIGITS), int)
    frame_lengths, digit_lengths = np.zeros(n, int), rng.integers(5, MOST_DIGITS + 1, n)
    for row, count in enumerate(digit_lengths):
        end = 0
        for k, chosen in enumerate(rng.integers(0, len(images), count)):
            start = end + rng.integers(0, 4)
            end = start + 8
            frames[start:end, row] = images[chosen].T / 16
            digits[row, k] = labels[chosen]
        frame_lengths[row] = end
    return frames, digits, frame_lengths, digit_lengths


def windows(frames):
    """The columns around each frame, side by side: (T, n, WINDOW * 8)."""
    padded = np.pad(frames, ((WINDOW // 2, WINDOW // 2), (0, 0), (0, 0)))
    return np.concatenate([padded[k : k + FRAMES] for k in range(WINDOW)], axis=2)


def forward(parameters, x):
    w1, b1, w2, b2 = parameters
    hidden = np.maximum(x @ w1 + b1, 0)
    return hidden, hidden @ w2 + b2


def backward(parameters, x, hidden, grad):
    """The gradients of the parameters, from the gradient with respect to the logits."""
    w2 = parameters[2]
    of_hidden = (grad @ w2.T) * (hidden > 0)
    of_hidden, grad, x, hidden = (a.reshape(-1, a.shape[-1]) for a in (of_hidden, grad, x, hidden))
    return [x.T @ of_hidden, of_hidden.sum(axis=0), hidden.T @ grad, grad.sum(axis=0)]


def read(logits, lengths):
    """Greedy decoding: the best class of each frame, once where it repeats, without blanks."""
    best = logits.argmax(axis=2)
    begins = np.insert(best[1:] != best[:-1], 0, True, axis=0)
    kept = begins & (best != BLANK) & (np.arange(FRAMES)[:, None] < lengths)
    return [best[kept[:, row], row] for row in range(best.shape[1])]


def main(steps=500, batch=32, rate=5e-3, seed=0):
    """Train with Adam. Return the share of rows, and of lengths, of a test set that are read correctly."""
    rng = np.random.default_rng(seed)
    images, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(images))
    images, labels = images[order].reshape(-1, 8, 8), labels[order]
    size = WINDOW * 8
    w1, w2 = rng.standard_normal((size, HIDDEN)) * np.sqrt(2 / size), rng.standard_normal((HIDDEN, 11)) * 0.05
    parameters = [x.astype(np.float32) for x in (w1, np.zeros(HIDDEN), w2, np.zeros(11))]
    means, squares = ([np.zeros_like(p) for p in parameters] for _ in range(2))
    for step in range(1, steps + 1):
        frames, *targets = rows_of_digits(images[:1400], labels[:1400], batch, rng)
        x = windows(frames)
        hidden, logits = forward(parameters, x)
        loss, grad = fl.ctc.value_and_grad(logits, *targets, blank=BLANK, out=logits)
        for p, g, mean, square in zip(parameters, backward(parameters, x, hidden, grad), means, squares, strict=True):
            mean += 0.1 * (g - mean)
            square += 0.01 * (g * g - square)
            p -= rate * (1 - step / steps) * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
        if step % 100 == 0:
            print(f"step {step}: loss {loss:.3f}")
    frames, digits, lengths, counts = rows_of_digits(images[1400:], labels[1400:], 500, rng)
    texts = read(forward(parameters, windows(frames))[1], lengths)
    right = np.mean([np.array_equal(text, row[:n]) for text, row, n in zip(texts, digits, counts, strict=True)])
    right_length = np.mean([len(text) == n for text, n in zip(texts, counts, strict=True)])
    print(f"{right:.1%} of unseen rows are read without an error, {right_length:.1%} with the right number of digits")
    return right, right_length


if __name__ == "__main__":
    main()
