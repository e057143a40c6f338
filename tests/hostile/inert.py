"""Strings that Streamlit's Markdown would turn into something else, and a model that reads them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

MARKS = (
    "www.example.com", "https://example.com/x", "reader@example.com", "mailto:a@example.com",
    ":smile:", ":+1:", ":material/home:", ":streamlit:", ":red[x]", ":blue-background[x]",
    ":green-badge[x]", ":small[x]", ":rainbow[x]", "->", "<-", "<->", "-->", "--", "---", ">=",
    "<=", "!=", "~=", "**b**", "_i_", "~~s~~", "`c`", "``", "$x^2$", "[t](http://example.com)",
    "![p](x.png)", "<b>x</b>", "&amp;", "#", "1.", "-", "|", "[^1]", "\\*", "(c)", "...", "==h==",
)  # fmt: skip


def save_model(folder: Path) -> Path:
    """Save a small GPT-2 whose tokens are `MARKS`, with a known head that has such a name."""
    torch.manual_seed(0)
    vocabulary = {name: number for number, name in enumerate(("<unk>", *MARKS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)
    config = GPT2Config(
        vocab_size=len(vocabulary), n_positions=128, n_embd=16, n_layer=2, n_head=2,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    known = [{"kind": "self", "layer": 0, "head": 1, "role": "induction", "label": one, "score": 1}
             for one in MARKS[:8]]  # fmt: skip
    (folder / "heads.json").write_text(json.dumps(known))
    return folder
