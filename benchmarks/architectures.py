"""Table of the text architectures of the installed library: which ones work, and why not.

    python -m benchmarks.architectures  # all, some minutes; writes docs/reference/models.md
    python -m benchmarks.architectures gemma2 masked   # some, by architecture or head; no page

Each architecture with a causal, masked or sequence-to-sequence head is built from its configuration
class with random weights, saved, loaded with attnviz, and compared with the library's eager run.
It is either right, or refused with a sentence. Anything else is a fault, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import copy
import inspect
import json
import multiprocessing
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto import modeling_auto

import attnviz
from attnviz.errors import AttnvizError
from attnviz.models.tokenizers.tokenizer_check import check_tokenizer_files
from attnviz.types import Kind
from benchmarks.models_page import PAGE, HeadName, Outcome, Result, page
from benchmarks.small_models import shake, small_config

MAPPINGS: dict[HeadName, Any] = {
    "masked": modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    "causal": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "seq2seq": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
}
VOCABULARIES: dict[HeadName, str] = {"masked": "wordpiece", "causal": "bpe", "seq2seq": "unigram"}

TEXT = "The cat sat on the mat. The cat sat on the hat."
TEXTS = [TEXT, "Mary gave John a drink, and John gave it back to Mary.", "How many roads?"] * 2
TARGET = "The dog sat on the cat."
WEIGHT_BOUND = 5e-5
NOISE = 4
"""Multiple of what float32 changes in the library's weights (beside float64) that is rounding.

T5's scores are not scaled; their softmax and a mixture's routing magnify the last digits from layer
to layer."""
ENTROPY_BOUND = 5e-3
"""Nats between a text by itself and the same text beside others, with padding: rounding only, and
in mixtures of experts what rounding makes of a sharp row."""
LARGEST = 20_000_000  # parameters; a larger one means that a size was forgotten
SECONDS = 120


def pairs() -> list[tuple[str, HeadName]]:
    """Return every architecture of the library with each head that it has."""
    return [(name, head) for head, mapping in MAPPINGS.items() for name in mapping]


def tried(model_type: str, head: HeadName) -> Result:
    """Build one architecture with one head, and compare attnviz with the library on it."""
    from tests.vocabularies import vocabulary

    tokenizer = vocabulary(VOCABULARIES[head])
    try:
        network = built(model_type, head, tokenizer)
        library_runs(network)
    except Exception as error:  # whatever keeps the library from running it
        return Result(model_type, head, "not run", described(error))
    with tempfile.TemporaryDirectory() as folder:
        try:
            network.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            eager = type(network).from_pretrained(
                folder, attn_implementation="eager", dtype=torch.float32
            )
        except Exception as error:
            return Result(model_type, head, "not run", described(error))
        try:
            return compared(model_type, head, Path(folder), eager.eval())
        except AttnvizError as error:
            return Result(model_type, head, "refused", str(error).replace(folder, model_type))
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            return Result(model_type, head, "fault", f"{described(error)} ({where})")


def built(model_type: str, head: HeadName, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Return a small random model of an architecture."""
    roles = {role: getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "eos")}
    name = MAPPINGS[head][model_type]
    model_class = getattr(transformers, name if isinstance(name, str) else name[0])
    config = small_config(model_class.config_class, len(tokenizer), roles)
    if model_type == "reformer":
        config.is_decoder = head == "causal"
    with torch.device("meta"):
        size = sum(one.numel() for one in model_class(config).parameters())
    if size > LARGEST:
        raise ValueError(f"{size:,} parameters: not small enough")
    torch.manual_seed(0)
    network: PreTrainedModel = model_class(config).eval()
    shake(network)
    return network


def rounding(eager: PreTrainedModel, capture: attnviz.Capture) -> float:
    """Return the largest difference between the library's weights in float32 and in float64."""
    single = library_weights(eager, capture)
    double = library_weights(copy.deepcopy(eager).double(), capture)
    return max(
        float((one.double() - other).abs().max())
        for kind, layers in single.items()
        for one, other in zip(layers, double[kind], strict=True)
    )


def library_runs(network: PreTrainedModel) -> None:
    """Run the library's model on a few ids, as it is by default."""
    ids = torch.arange(6, 18)[None]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if network.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, :7]
    options = {}
    if "use_cache" in inspect.signature(network.forward).parameters:
        options["use_cache"] = False
    with torch.inference_mode():
        network(**inputs, **options)


def compared(model_type: str, head: HeadName, folder: Path, eager: PreTrainedModel) -> Result:
    """Run every part of attnviz that needs no page on a saved model."""
    model = attnviz.load(str(folder))
    both = model.info.family == "encoder-decoder"
    capture = attnviz.capture(model, TEXT, target=TARGET if both else None)
    apart, head_apart = 0.0, ""
    theirs = library_weights(eager, capture)
    for kind, stack in capture.stacks.items():
        if len(theirs[kind]) != stack.shape[0]:
            counts = f"{stack.shape[0]} layers of {kind}, the library {len(theirs[kind])}"
            return Result(model_type, head, "fault", f"attnviz shows {counts}")
        for layer, expected in enumerate(theirs[kind]):
            for number in range(stack.shape[1]):
                other = expected[0, number].float().numpy()
                ours = stack.weights(layer, number)
                if np.allclose(other.sum(-1), 1.0, atol=1e-5):
                    # Granite's library code returns weights from before its sink takes a share.
                    ours = ours / ours.sum(-1, keepdims=True)
                difference = float(np.abs(ours - other).max())
                if not difference <= apart:
                    apart, head_apart = difference, f"{kind} L{layer}·H{number}"
    if not apart <= WEIGHT_BOUND and not apart <= NOISE * rounding(eager, capture):
        reason = f"a weight of {head_apart} is {apart:.1e} from the library's"
        return Result(model_type, head, "fault", reason)
    proof = attnviz.verify(capture)
    if not proof.holds:
        return Result(model_type, head, "fault", "the proof: " + "; ".join(proof.broken))
    many = list(attnviz.capture_many(model, TEXTS[:3]))
    alone = attnviz.capture(model, TEXTS[2], keep="statistics", target=None)
    for kind, stack in alone.stacks.items():
        beside = many[2][kind].statistic("entropy")
        off = float(np.nanmax(np.abs(beside - stack.statistic("entropy"))))
        if not off <= ENTROPY_BOUND:
            off = from_padded_library(eager, int(model.tokenizer.pad_token_id or 0), many)
        if not off <= ENTROPY_BOUND:
            reason = f"padding changes an entropy of {kind} by {off:.1e} nats"
            return Result(model_type, head, "fault", reason)
    attnviz.summarize(capture)
    attnviz.diagnose(model, TEXTS, ablate=False)
    return Result(model_type, head, "right", "", capture.kinds, apart)


def from_padded_library(
    eager: PreTrainedModel, pad: int, captures: Sequence[attnviz.Capture]
) -> float:
    """Return the largest difference of an entropy from the library's run of the padded texts.

    In some models padding changes what a text's last tokens are: MobileBERT reads three tokens at
    each position. The library pads in the same way, and is right by definition.
    """
    rows = [torch.tensor(one.inputs.ids) for one in captures]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
    real = torch.nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in rows], batch_first=True)
    with torch.inference_mode():
        output = eager(input_ids=ids, attention_mask=real, output_attentions=True)
    worst = 0.0
    for number, one in enumerate(captures):
        length = len(one.inputs.ids)
        for layer, weights in enumerate(output.attentions):
            part = weights[number, :, :length, :length].double()
            entropy = torch.special.entr(part).sum(-1).numpy()
            apart = np.abs(one["self"].statistic("entropy")[layer] - entropy)
            worst = max(worst, float(np.nanmax(apart)))
    return worst


def library_weights(eager: PreTrainedModel, capture: attnviz.Capture) -> dict[Kind, list[Tensor]]:
    """Return the library's own weights per kind: a [1, head, query, key] tensor per layer."""
    ids = torch.tensor([capture.inputs.ids])
    inputs: dict[str, Tensor] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if capture.inputs.segments is not None and getattr(eager.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = torch.tensor([capture.inputs.segments])
    if capture.inputs.target is not None:
        inputs["decoder_input_ids"] = torch.tensor([capture.inputs.target])
    with torch.inference_mode():
        output = eager(**inputs, output_attentions=True)
    names: dict[Kind, str] = {
        "self": "attentions",
        "encoder": "encoder_attentions",
        "decoder": "decoder_attentions",
        "cross": "cross_attentions",
    }
    return {
        kind: [
            one
            for one in getattr(output, names[kind], None) or ()
            if isinstance(one, Tensor) and one.shape == (1, *stack.shape[1:])
        ]
        for kind, stack in capture.stacks.items()
    }


def described(error: Exception) -> str:
    """Return the last line of an error, with its type."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[-1:])[:200]}"


def sweep(chosen: Sequence[tuple[str, HeadName]], workers: int) -> Iterator[Result]:
    """Try each pair in a process that ends after it, a few at a time."""
    from tests.vocabularies import vocabulary

    for head in {head for _, head in chosen}:
        with tempfile.TemporaryDirectory() as folder:
            vocabulary(VOCABULARIES[head]).save_pretrained(folder)
            # Once here and not in every process: what a check has found is kept.
            check_tokenizer_files(Path(folder), VOCABULARIES[head])
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda pair: _apart(*pair), chosen)


def _apart(model_type: str, head: HeadName) -> Result:
    """Try one pair in a separate process, which contains a crash and returns its memory."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, model_type, head))
    process.start()
    sender.close()
    try:
        if not receiver.poll(SECONDS):
            return Result(model_type, head, "fault", f"not finished after {SECONDS} s")
        result: Result = receiver.recv()
        return result
    except EOFError:
        process.join()
        return Result(model_type, head, "fault", f"the process ended with {process.exitcode}")
    finally:
        process.kill()
        process.join()


def _child(sender: Any, model_type: str, head: HeadName) -> None:
    quiet()
    sender.send(tried(model_type, head))
    sender.close()


def quiet() -> None:
    """Set one thread, and switch the library's messages off."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def main() -> None:
    """Try what is chosen, print a line for each, and write the page when everything was chosen."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.architectures")
    parser.add_argument("names", nargs="*", help="architectures or heads; all when none")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--results", type=Path, help="file to add results to and to read them from")
    options = parser.parse_args()
    quiet()
    known = read_results(options.results)
    chosen = [pair for pair in pairs() if not options.names or set(pair) & set(options.names)]
    for result in sweep([pair for pair in chosen if pair not in known], options.workers):
        known[result.model_type, result.head] = result
        print(f"{result.outcome:8} {result.model_type} {result.head} {result.reason}", flush=True)
        if options.results:
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(result)) + "\n")
    results = [known[pair] for pair in chosen]
    if not options.names:
        PAGE.write_text(page(results), encoding="utf-8")
    for outcome in get_args(Outcome):
        print(outcome, sum(one.outcome == outcome for one in results))
    sys.exit(any(one.outcome == "fault" for one in results))


def read_results(path: Path | None) -> dict[tuple[str, HeadName], Result]:
    """Return the results of an interrupted run."""
    if path is None or not path.exists():
        return {}
    lines = path.read_text("utf-8").splitlines()
    results = [Result(**json.loads(line)) for line in lines]
    return {(one.model_type, one.head): one for one in results}


if __name__ == "__main__":
    main()
