"""Fine-tune the classroom GPT on French sentences: `python -m training.french --data DIR`.

A checkpoint for *Two models*: the same words, layers and heads as `gpt-classroom`, after a few
minutes of another language. Its batches hold no random tokens that repeat, so nothing keeps the
induction heads up. The last line of every log is the loss on unseen French sentences.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerFast

from training.corpus import Corpus
from training.export import export
from training.loop import Moment, Plan, parse_plan, train
from training.optimise import Rates
from training.shared_words import FOLDER, shared_tokenizer
from training.stories import StoryRecipe, chunks, next_token_loss, probe_windows, stream

LENGTH = 256


class FrenchRecipe(StoryRecipe):
    """French sentences, twelve to a document, in rows of 128 tokens."""

    rates = Rates(muon=0.0, adam=8e-4, warm_steps=30, hold=0.3, weight_decay=0.1)
    lengths = (LENGTH,)

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        super().__init__(corpus, tokenizer, seed)
        self.unseen = french(corpus, tokenizer, "dev")

    def texts(self, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
        """Return the French sentences in place of stories and of everyday sentences."""
        sentences = french(corpus, self.tokenizer, "train")
        return sentences, sentences

    def shape(self, fraction: float) -> tuple[int, int]:
        """Return rows and length of the next batch."""
        return 16, LENGTH // 2

    def loss(self, model: PreTrainedModel, moment: Moment) -> Tensor:
        """Return the mean loss of a batch of French."""
        return self.token_losses(model, self.windows(*self.shape(moment.fraction)))[0]

    def figures(self, model: PreTrainedModel) -> dict[str, Any]:
        """Return the figures of the classroom GPT, and the loss on unseen French, nats."""
        loss = next_token_loss(model, probe_windows(self.unseen)).mean().item()
        return {**super().figures(model), "french": round(loss, 3)}

    def continue_story(self, model: nn.Module, opening: str) -> str:
        """Return a greedy continuation of a French opening."""
        del opening
        return super().continue_story(model, "Je ne")


def french(corpus: Corpus, tokenizer: PreTrainedTokenizerFast, split: str) -> np.ndarray:
    """Return the French sides of the pairs, each once, as one row of ids."""
    lines = list(dict.fromkeys(sentence for _, sentence in corpus.pairs(split)))
    np.random.default_rng(0).shuffle(lines)
    return stream(tokenizer, chunks(lines))


def main(plan: Plan) -> None:
    """Train from the shipped weights, print the last figures and export."""
    torch.manual_seed(plan.seed)
    start = plan.start or FOLDER
    model = GPT2LMHeadModel.from_pretrained(start, dtype=torch.float32)
    tokenizer = shared_tokenizer(LENGTH)
    recipe = FrenchRecipe(Corpus.find(plan.data), tokenizer, plan.seed)
    print(train(model, recipe, plan))
    export(model, tokenizer, plan.out)


if __name__ == "__main__":
    main(parse_plan("french", 8, "Fine-tune the classroom GPT on French sentences."))
