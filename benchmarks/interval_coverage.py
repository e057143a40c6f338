"""Measure the share of a diagnosis' intervals that contain the truth.

    python -m benchmarks.interval_coverage
    python -m benchmarks.interval_coverage --population 300 --samples 200

Texts are sampled from gpt-classroom itself. All of them are the population, whose numbers are the
truth; a diagnosis of T texts is a sample of T of them, drawn with replacement. For every head and
kind of number the table has the share of samples whose interval contains the truth (nominal: 95%),
the share where the truth lies above it, and the relative bias of the estimate, as medians over
heads. Kinds: a mean over texts (normalized entropy, sink), a cost per token (loss without a head,
zero and mean), and the dependence on the text, as it is estimated and without correction.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

import attnviz
from attnviz import Model, metrics
from attnviz.captures.forward_pass import capture_ids
from attnviz.doctor.measures.bootstrap import Intervals, intervals, ratios
from attnviz.doctor.measures.window_measures import content_dependence
from attnviz.experiments.ablation import ablate
from attnviz.experiments.loss_examples import examples
from attnviz.experiments.text_sets import as_text_set
from attnviz.models import Encoded

SIZES = (10, 30, 60)
TOKENS = 24
CHOICES = 40  # likeliest tokens of which one is drawn
BATCH = 100
ROW = "{:<34} {:>5} {:>9} {:>9} {:>9} {:>9} {:>9}"


def sampled_ids(model: Model, count: int, seed: int = 0) -> torch.Tensor:
    """Return texts drawn from the model, [text, token], beginning with the begin token."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.full((count, 1), model.tokenizer.bos_token_id)
    with torch.inference_mode():
        for _ in range(TOKENS - 1):
            logits = model.network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, -1]
            likely = logits.float().topk(CHOICES)
            drawn = torch.multinomial(torch.softmax(likely.values, -1), 1, generator=generator)
            ids = torch.cat([ids, likely.indices.gather(1, drawn)], 1)
    return ids


def captured(model: Model, ids: torch.Tensor) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return weights [layer, head, text, query, key] and metrics [layer, head, text]."""
    layers, heads = model.info.heads["self"]
    weights = []
    numbers: dict[str, list[np.ndarray]] = {"normalized_entropy": [], "sink": []}
    for start in range(0, len(ids), BATCH):
        part = [Encoded(tuple(map(int, row))) for row in ids[start : start + BATCH]]
        for one in capture_ids(model, part, keep="qkv", predict=False):
            stack = one["self"]
            of_text = [[stack.weights(layer, head)[1:] for head in range(heads)]
                     for layer in range(layers)]  # fmt: skip
            weights.append(np.asarray(of_text, np.float32))
            for name, list_of in numbers.items():
                list_of.append(metrics.per_head(name, stack))
    return np.stack(weights, 2), {
        name: np.stack(per_text, -1) for name, per_text in numbers.items()
    }


def plain_dependence(weights: np.ndarray) -> float:
    """Return H(mean) - mean H of [text, query, key], mean over rows, in nats, uncorrected."""

    def entropy(rows: np.ndarray) -> np.ndarray:
        result: np.ndarray = -(rows * np.log(np.where(rows > 0, rows, 1.0))).sum(-1)
        return result

    exact = weights.astype(np.float64)
    return float((entropy(exact.mean(0)) - entropy(exact).mean(0)).mean())


def of_means(values: np.ndarray, at: np.ndarray) -> Intervals:
    """Return intervals of the means of some texts."""
    return intervals(values[..., at])


def of_costs(change: np.ndarray, tokens: np.ndarray, at: np.ndarray) -> Intervals:
    """Return intervals of the costs per token of some texts."""
    return ratios(change[..., at], tokens[at])


def report(name: str, truth: np.ndarray, sample: Callable[[np.ndarray], Intervals],
           population: int, samples: int, smallest: float) -> None:  # fmt: skip
    """Draw samples of each size and print coverage and bias.

    Args:
        name: of the kind of number.
        truth: one number per head.
        sample: returns intervals for the given numbers of texts.
        population: number of texts.
        samples: number of samples of each size.
        smallest: heads with a truth below this have no relative bias.
    """
    for size in SIZES:
        draw = np.random.default_rng(size)
        inside, above, means = [], [], []
        for _ in range(samples):
            interval = sample(draw.integers(0, population, size))
            inside.append((interval.low <= truth) & (truth <= interval.high))
            above.append(truth > interval.high)
            means.append(interval.mean)
        covered = np.mean(inside, 0)
        relative = np.where(np.abs(truth) > smallest, np.mean(means, 0) / truth - 1, np.nan)
        print(
            ROW.format(
                name, size, f"{covered.mean():.3f}", f"{np.median(covered):.3f}",
                f"{covered.min():.2f}", f"{np.mean(above):.3f}", f"{np.nanmedian(relative):+.3f}",
            ),
            flush=True,
        )  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Coverage of the intervals of a diagnosis.")
    parser.add_argument("--population", type=int, default=1000, help="texts")
    parser.add_argument("--ablated", type=int, default=400, help="texts for costs of removal")
    parser.add_argument("--samples", type=int, default=200, help="samples of each size")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    model = attnviz.load("gpt-classroom")
    ids = sampled_ids(model, options.population)
    weights, numbers = captured(model, ids)
    print(ROW.format("number", "texts", "coverage", "median", "lowest", "truth >", "bias"))
    for name, values in numbers.items():
        report(
            f"mean: {name}", values.mean(-1), partial(of_means, values),
            options.population, options.samples, 0.01,
        )  # fmt: skip

    texts = [model.tokenizer.decode(row[1:]) for row in ids[: options.ablated]]
    read, _ = examples(model, as_text_set(texts, "decoder"))
    removed = ablate(model, read)
    for replacement, tables in removed.change.items():
        change, tokens = tables["self"], removed.tokens
        truth = change.sum(-1) / tokens.sum()
        report(
            f"cost per token: {replacement}", truth,
            partial(of_costs, change, tokens),
            len(tokens), options.samples, 0.01,
        )  # fmt: skip

    layers, heads = weights.shape[:2]
    truth = np.array([[plain_dependence(weights[layer, head]) for head in range(heads)]
                      for layer in range(layers)])  # fmt: skip

    def table(at: np.ndarray) -> Intervals:
        cells = [content_dependence(weights[cell][at]) for cell in np.ndindex(layers, heads)]
        mean, low, high, spread, count = (
            np.array(one).reshape(layers, heads) for one in zip(*cells, strict=True)
        )
        return Intervals(mean, low, high, spread, count)

    def plain(at: np.ndarray) -> Intervals:
        mean = [plain_dependence(weights[cell][at]) for cell in np.ndindex(layers, heads)]
        nothing = np.full((layers, heads), np.nan)
        return Intervals(np.array(mean).reshape(layers, heads), nothing, nothing, nothing,
                         np.full((layers, heads), len(at)))  # fmt: skip

    report("content_dependence", truth, table, options.population, options.samples, 0.01)
    report("content_dependence, uncorrected", truth, plain, options.population, 40, 0.01)


if __name__ == "__main__":
    main()
