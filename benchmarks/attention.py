"""Time and memory of attention weights: attnviz beside other ways to get them.

    python -m benchmarks.attention                              # GPT-2 small, 128 to 4,096 tokens
    python -m benchmarks.attention --model bert-base --tokens 512 2048 --repeats 5

Random weights in the sizes of GPT-2 small and BERT base. Each way reads the same ids:

    plain       a forward pass with the library's fused attention; nothing is seen
    eager       output_attentions=True, and the entropy of every row
    lens        TransformerLens' run_with_cache (only if it is installed)
    statistics  attnviz, keep="statistics": every row's numbers
    fused       the same by the fused path (only with --fused; otherwise where it is the quicker)
    qkv         attnviz, keep="qkv", and one head's whole map

Time is the median, of all ways in one process; memory is the highest over what the loaded model
takes, of each way in a separate process that gives back what it frees.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    GPT2Config,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from attnviz.attention.kernel.paths import preferring
from attnviz.captures.forward_pass import Encoded, capture_ids
from attnviz.models import Model, instrument
from benchmarks.memory import GIVES_BACK, HIGHEST, forget_highest, megabytes

Way = Callable[[], object]
MODELS = ("gpt2-small", "bert-base")


def make_network(name: str, tokens: int, device: str) -> PreTrainedModel:
    """Return a model of a well-known size with random weights and room for the longest text."""
    if name == "gpt2-small":
        config = GPT2Config(n_positions=max(tokens, 1024))
        return AutoModelForCausalLM.from_config(config).eval().to(device)
    config = BertConfig(max_position_embeddings=max(tokens, 512))
    return AutoModelForMaskedLM.from_config(config).eval().to(device)


def make_tokenizer(length: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of which only the special tokens are used."""
    words = {"<pad>": 0, "<s>": 1}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="<pad>")),
        pad_token="<pad>",
        bos_token="<s>",
        model_max_length=length,
    )


def fused(network: PreTrainedModel, ids: torch.Tensor) -> object:
    """Run the library's fused attention, which returns no weights."""
    with torch.inference_mode():
        return network.base_model(input_ids=ids).last_hidden_state


def eager(network: PreTrainedModel, ids: torch.Tensor) -> object:
    """Compute all weights of all heads at once, and the entropy of every row."""
    with torch.inference_mode():
        attentions = network.base_model(input_ids=ids, output_attentions=True).attentions
        return [torch.special.entr(weights).sum(-1) for weights in attentions]


def lens(network: PreTrainedModel, ids: torch.Tensor) -> Way | None:
    """Return a run of TransformerLens with a model of this size; None where it is missing.

    Its `HookedTransformer` is in versions before 4.
    """
    try:
        from transformer_lens import HookedEncoder, HookedTransformer, HookedTransformerConfig
    except ImportError:
        return None
    size = network.config
    causal = size.model_type == "gpt2"
    config = HookedTransformerConfig(
        n_layers=size.num_hidden_layers,
        d_model=size.hidden_size,
        n_heads=size.num_attention_heads,
        d_head=size.hidden_size // size.num_attention_heads,
        d_mlp=4 * size.hidden_size,
        n_ctx=size.max_position_embeddings,
        d_vocab=size.vocab_size,
        act_fn="gelu_new" if causal else "gelu",
        attention_dir="causal" if causal else "bidirectional",
        device=str(ids.device),
    )
    hooked = (HookedTransformer if causal else HookedEncoder)(config)
    options = {"return_type": None} if causal else {}

    def run() -> object:
        with torch.inference_mode():
            _, cache = hooked.run_with_cache(ids, **options)
            return [
                torch.special.entr(cache["pattern", layer]).sum(-1)
                for layer in range(size.num_hidden_layers)
            ]

    return run


def attnviz_statistics(model: Model, ids: torch.Tensor) -> object:
    """Compute the numbers of every row."""
    return capture_ids(
        model, [Encoded(tuple(ids[0].tolist()))], texts=[""], keep="statistics", predict=False
    )


def by_fused(model: Model, ids: torch.Tensor) -> object:
    """Compute the numbers of every row, without blocks."""
    with preferring("fused"):
        return attnviz_statistics(model, ids)


def attnviz_map(model: Model, ids: torch.Tensor) -> np.ndarray:
    """Capture queries, keys and values, and compute one head's whole map."""
    capture = capture_ids(
        model, [Encoded(tuple(ids[0].tolist()))], texts=[""], keep="qkv", predict=False
    )[0]
    return capture["self"].weights(5, 3)


def seconds(way: Way, repeats: int, device: str) -> float:
    """Return the median time after a first run, which fills the caches."""
    way()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        kept = way()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
        del kept
    return statistics.median(times)


def highest(way: Way, device: str) -> float:
    """Return the highest use of memory, in MB above the use before."""
    way()
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        way()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    forget_highest()
    start = megabytes()
    way()
    return megabytes(HIGHEST) - start


def highest_alone(name: str, options: Any, model: str, tokens: int) -> float:
    """Return `highest` of a separate process: memory freed by another way is not counted."""
    if options.device.startswith("cuda"):
        return highest(ways(model, tokens, options.device, options.fused)[name], options.device)
    command = [
        *(sys.executable, "-m", "benchmarks.attention", "--memory-of", name, "--model", model),
        *("--tokens", str(tokens), "--threads", str(options.threads), "--device", options.device),
        *(["--fused"] if options.fused else []),
    ]
    ran = subprocess.run(
        command, env={**os.environ, **GIVES_BACK}, capture_output=True, text=True, check=True
    )
    return float(ran.stdout.split()[-1])


def ways(name: str, tokens: int, device: str, with_fused: bool) -> dict[str, Way]:
    """Return the ways of running a model over the same ids, each with a separate model."""
    torch.manual_seed(0)
    network = make_network(name, tokens, device)
    ids = torch.randint(2, network.config.vocab_size, (1, tokens), device=device)
    by_eager = make_network(name, tokens, device)
    by_eager.set_attn_implementation("eager")
    run_by_name: dict[str, Way] = {
        "plain": lambda: fused(network, ids),
        "eager": lambda: eager(by_eager, ids),
    }
    by_lens = lens(network, ids)
    if by_lens is not None:
        run_by_name["lens"] = by_lens
    model = instrument(make_network(name, tokens, device), make_tokenizer(tokens))
    run_by_name["statistics"] = lambda: attnviz_statistics(model, ids)
    if with_fused:
        run_by_name["fused"] = lambda: by_fused(model, ids)
    run_by_name["qkv"] = lambda: attnviz_map(model, ids)
    return run_by_name


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="gpt2-small")
    parser.add_argument("--tokens", type=int, nargs="+", default=[128, 512, 1024, 2048, 4096])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--fused", action="store_true", help="the fused path too")
    parser.add_argument("--memory-of", metavar="WAY", help="only this, in MB")
    options: Any = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        run_by_name = ways(options.model, options.tokens[0], options.device, options.fused)
        print(highest(run_by_name[options.memory_of], options.device))
        return
    where = torch.cuda.get_device_name() if options.device.startswith("cuda") else (
        f"{options.threads} processor threads"
    )  # fmt: skip
    print(f"{options.model}, random weights, float32, {where}, torch {torch.__version__}\n")
    print("| tokens | way | seconds | of plain | peak MB | of eager |")
    print("|---|---|---|---|---|---|")
    for tokens in options.tokens:
        run = ways(options.model, tokens, options.device, options.fused)
        took = {name: seconds(way, options.repeats, options.device) for name, way in run.items()}
        names = list(run)
        del run  # each process has separate models
        memory = {name: highest_alone(name, options, options.model, tokens) for name in names}
        for name in names:
            print(
                f"| {tokens:,} | {name} | {took[name]:.3f} | {took[name] / took['plain']:.2f} "
                f"| {memory[name]:,.0f} | {memory[name] / memory['eager']:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
