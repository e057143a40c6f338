"""Cost of a long text: one capture of a Llama-like random model, and the views of a page.

    python -m benchmarks.long_text                    # 16,000 tokens
    python -m benchmarks.long_text --tokens 4000 --threads 1
    python -m benchmarks.long_text --tokens 128000 --layers 2 --heads 3

12 layers of 12 heads, of which three share a key head of 64 dimensions; 8,192 words. Words follow
Zipf's law, as in a real text: the commonest are copied thousands of times. Memory is the highest of
the whole process, and of the process without the model's weights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from attnviz.attention import AttentionStack
from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.captures.summary import summarize
from attnviz.models import Model, instrument
from benchmarks.attention import make_tokenizer
from benchmarks.memory import HIGHEST, forget_highest, megabytes
from benchmarks.words import BEGIN, FIRST

WORDS = 8192
SHARING = 3  # heads to a key head
TILE = 64


def config(tokens: int, layers: int = 12, heads: int = 12) -> LlamaConfig:
    """Return the model's configuration, with room for the text."""
    if heads % SHARING:
        raise SystemExit(f"{heads} heads: expected a multiple of {SHARING}, which share a key head")
    return LlamaConfig(
        vocab_size=WORDS,
        hidden_size=64 * heads,
        intermediate_size=2048,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // SHARING,
        head_dim=64,
        max_position_embeddings=tokens,
        bos_token_id=BEGIN,
        eos_token_id=BEGIN,
    )


def make_model(sizes: LlamaConfig, device: str) -> Model:
    """Return the model."""
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(sizes).eval().to(device)
    return instrument(network, make_tokenizer(sizes.max_position_embeddings))


def draw_words(tokens: int) -> list[int]:
    """Draw words by Zipf's law, as ids."""
    chance = 1.0 / np.arange(1, WORDS - FIRST + 1)
    drawn = np.random.default_rng(0).choice(WORDS - FIRST, tokens, p=chance / chance.sum()) + FIRST
    return [int(word) for word in drawn]


@contextmanager
def shown(what: str, loaded: float) -> Iterator[None]:
    """Print a line of the table: seconds, highest memory, and memory held after it."""
    forget_highest()
    start = time.perf_counter()
    yield
    took = time.perf_counter() - start
    print(
        f"| {what} | {took:.2f} | {megabytes(HIGHEST):,.0f} | {megabytes(HIGHEST) - loaded:,.0f} "
        f"| {megabytes() - loaded:,.0f} |",
        flush=True,
    )


def looks(stack: AttentionStack, tokens: int) -> dict[str, Callable[[], Any]]:
    """Return the computations of a page for a head, by name."""
    middle = slice(tokens // 2, tokens // 2 + TILE)
    layers, heads, *_ = stack.shape
    head = (layers // 2, heads // 2)
    return {
        "overview of a head, 256 x 256 (`pooled`)": lambda: stack.pooled(*head),
        f"a tile of {TILE} x {TILE}": lambda: stack.weights(*head, middle, middle),
        "one row over all keys": lambda: stack.weights(*head, slice(tokens - 1, tokens)),
        "one column over all queries": lambda: stack.weights(*head, keys=slice(0, 1)),
    }


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=16_000)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--no-predictions", action="store_true", help="as the app does it then")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options: Any = parser.parse_args()
    torch.set_num_threads(options.threads)
    sizes = config(options.tokens, options.layers, options.heads)
    model, text = make_model(sizes, options.device), Encoded(tuple(draw_words(options.tokens)))
    predict, said = not options.no_predictions, "without" if options.no_predictions else "with"
    loaded = megabytes()
    print(
        f"{options.tokens:,} tokens, {options.layers} x {options.heads} heads, "
        f"{options.threads} threads, torch {torch.__version__}\n"
    )
    print("| step | seconds | highest MB | over the loaded model | held after it |")
    print("|---|---|---|---|---|")
    with shown(f'capture, `keep="qkv"`, {said} predictions', loaded):
        capture = capture_ids(model, [text], texts=[""], keep="qkv", predict=predict)[0].on_host()
    stack = capture["self"]
    for what, look in looks(stack, options.tokens).items():
        with shown(what, loaded):
            look()
    with shown("every metric of every head (`summarize`)", loaded):
        summarize(capture)


if __name__ == "__main__":
    main()
