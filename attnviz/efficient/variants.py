"""Table of the variants: name, description, function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from attnviz.efficient.methods.exact import exact
from attnviz.efficient.methods.flash import flash
from attnviz.efficient.methods.linear import linear
from attnviz.efficient.methods.linformer import linformer
from attnviz.efficient.methods.nystromformer import nystromformer
from attnviz.efficient.methods.performer import performer
from attnviz.efficient.methods.reformer import reformer
from attnviz.efficient.methods.result import EfficientResult
from attnviz.efficient.methods.ring import ring
from attnviz.efficient.methods.shared_keys import grouped_query, latent, multi_query
from attnviz.efficient.methods.sparse_patterns import bigbird, longformer, sparse, window
from attnviz.efficient.methods.state_space import state_space
from attnviz.errors import InputError

__all__ = ["BY_NAME", "Variant", "describe", "names"]


@dataclass(frozen=True)
class Variant:
    """Description of an attention variant.

    Attributes:
        name: what `run` takes.
        label: how it is written.
        relation: "exact", "approximate" or "another model".
        meaning: one sentence.
        paper: authors and year.
        causal: whether it can be causal.
        bidirectional: whether it can do without a causal mask.
        heads: whether it takes a head axis.
        caution: what its numbers do not mean, in one or two sentences; empty if nothing.
    """

    name: str
    label: str
    relation: str
    meaning: str
    paper: str
    causal: bool = True
    bidirectional: bool = True
    heads: bool = False
    caution: str = ""


VARIANTS: tuple[tuple[Variant, Callable[..., EfficientResult]], ...] = (
    (
        Variant(
            "exact",
            "Exact attention",
            "exact",
            "Every query meets every visible key.",
            "Vaswani et al. 2017",
            heads=True,
        ),
        exact,
    ),
    (
        Variant(
            "flash",
            "FlashAttention",
            "exact",
            "The same numbers, tile by tile, without the matrix of scores.",
            "Dao et al. 2022",
        ),
        flash,
    ),
    (
        Variant(
            "ring",
            "Ring attention",
            "exact",
            "The same numbers on several devices that pass keys and values around.",
            "Liu et al. 2023",
        ),
        ring,
    ),
    (
        Variant(
            "multi_query",
            "Multi-query",
            "approximate",
            "One head of keys and values for all query heads.",
            "Shazeer 2019",
            heads=True,
            caution="Exact in a model that was trained so; an approximation of any other. Here "
            "trained heads are averaged.",
        ),
        multi_query,
    ),
    (
        Variant(
            "grouped_query",
            "Grouped-query",
            "approximate",
            "One head of keys and values per group of query heads.",
            "Ainslie et al. 2023",
            heads=True,
            caution="Exact in a model that was trained so; an approximation of any other. Here "
            "trained heads are averaged.",
        ),
        grouped_query,
    ),
    (
        Variant(
            "latent",
            "Latent attention (MLA)",
            "approximate",
            "Keys and values from a few numbers per token.",
            "DeepSeek-AI 2024",
            heads=True,
            caution="Exact in a model that was trained so; an approximation of any other. Here "
            "the best numbers for this text are taken.",
        ),
        latent,
    ),
    (
        Variant(
            "window",
            "Sliding window",
            "approximate",
            "Only keys near the query.",
            "Beltagy et al. 2020, Jiang et al. 2023",
            heads=True,
        ),
        window,
    ),
    (
        Variant(
            "longformer",
            "Longformer",
            "approximate",
            "A window, and a few positions that see all and are seen by all.",
            "Beltagy et al. 2020",
            heads=True,
        ),
        longformer,
    ),
    (
        Variant(
            "bigbird",
            "BigBird",
            "approximate",
            "Blocks: neighbours, global ones and random ones.",
            "Zaheer et al. 2020",
            heads=True,
        ),
        bigbird,
    ),
    (
        Variant(
            "sparse",
            "Sparse Transformer",
            "approximate",
            "Near keys, and beyond them one key per stride.",
            "Child et al. 2019",
            bidirectional=False,
            heads=True,
        ),
        sparse,
    ),
    (
        Variant(
            "linformer",
            "Linformer",
            "approximate",
            "Keys and values mixed into fewer positions.",
            "Wang et al. 2020",
            causal=False,
            caution="Exact only if the projection is the identity or a permutation: the "
            "softmax does not commute with others, not even with a square orthogonal "
            "one.",
        ),
        linformer,
    ),
    (
        Variant(
            "performer",
            "Performer",
            "approximate",
            "Random features estimate the exponential.",
            "Choromanski et al. 2021",
            caution="Each estimate of an exponential is right on average; a normalised row is "
            "a ratio of estimates, and is not.",
        ),
        performer,
    ),
    (
        Variant(
            "nystromformer",
            "Nyströmformer",
            "approximate",
            "The softmax matrix from the means of segments.",
            "Xiong et al. 2021",
            causal=False,
            caution="Its weights can be negative.",
        ),
        nystromformer,
    ),
    (
        Variant(
            "reformer",
            "Reformer",
            "approximate",
            "Only vectors with the same hash see each other.",
            "Kitaev et al. 2020",
            caution="Keys are the queries, divided by their lengths: given keys are not read.",
        ),
        reformer,
    ),
    (
        Variant(
            "linear",
            "Linear attention",
            "another model",
            "A product of features in place of the exponential.",
            "Katharopoulos et al. 2020",
            caution="A trained head does not expect it.",
        ),
        linear,
    ),
    (
        Variant(
            "state_space",
            "Selective state space",
            "another model",
            "A state that is updated token by token.",
            "Gu and Dao 2023",
            bidirectional=False,
            caution="Its weights have signs, and a row has no fixed sum.",
        ),
        state_space,
    ),
)

BY_NAME: Mapping[str, tuple[Variant, Callable[..., EfficientResult]]] = {
    variant.name: (variant, function) for variant, function in VARIANTS
}


def names() -> tuple[str, ...]:
    """Return the names of all variants."""
    return tuple(BY_NAME)


def describe(name: str) -> Variant:
    """Return the description of a variant.

    Raises:
        InputError: there is no such variant.
    """
    if name not in BY_NAME:
        raise InputError(f"there is no variant '{name}'; there are {', '.join(BY_NAME)}")
    return BY_NAME[name][0]
