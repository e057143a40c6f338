"""Translating with the classroom T5, and how good the translations are."""

import sacrebleu
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

PREFIX = "translate English to French: "


def translate(
    model: nn.Module, tokenizer: PreTrainedTokenizerFast, sentences: list[str], rows: int = 64
) -> list[str]:
    """Return translations in the order of the sentences, by the model's generation settings.

    Sentences of about the same length go together, to save padding.
    """
    device = next(model.parameters()).device
    order = sorted(range(len(sentences)), key=lambda index: len(sentences[index]))
    answers = [""] * len(sentences)
    for start in range(0, len(order), rows):
        chosen = order[start : start + rows]
        inputs = tokenizer(
            [PREFIX + sentences[index] for index in chosen], return_tensors="pt", padding=True
        ).to(device)
        with torch.no_grad():
            ids = model.generate(**inputs, max_new_tokens=40)  # type: ignore[operator]
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        for index, text in zip(chosen, texts, strict=True):
            answers[index] = text
    return answers


def bleu(answers: list[str], references: list[str]) -> float:
    """Return corpus BLEU, 0..100, one reference each (Papineni et al. 2002, as in sacrebleu)."""
    return float(sacrebleu.corpus_bleu(answers, [references]).score)
