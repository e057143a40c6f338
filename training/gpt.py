"""Train the classroom GPT: `python -m training.gpt --data DIR`."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from training.corpus import Corpus
from training.export import export
from training.loop import Plan, parse_plan, train
from training.optimise import Rates
from training.positions import sinusoids
from training.repeats import BEGIN_ID
from training.stories import VOCABULARY, StoryRecipe, story_tokenizer

LENGTH = 256


class GPTRecipe(StoryRecipe):
    """Stories and repeats in rows of at most 256 tokens."""

    rates = Rates(muon=3e-3, adam=1.5e-3, warm_steps=100, hold=0.4, weight_decay=0.1)
    lengths = (48, 64, 96, 144, 200, LENGTH)

    def shape(self, fraction: float) -> tuple[int, int]:
        """Return rows and length of the next batch of stories: the longest rows come last."""
        return (14, LENGTH) if fraction > 0.75 else (16, LENGTH // 2)


def new_model() -> GPT2LMHeadModel:
    """Return a GPT-2 of 4 layers and 8 heads with random weights and sinusoidal positions."""
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=LENGTH,
            n_embd=256,
            n_layer=4,
            n_head=8,
            activation_function="gelu_pytorch_tanh",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=BEGIN_ID,
            eos_token_id=BEGIN_ID,
            pad_token_id=BEGIN_ID,
        )
    )
    # Plain greedy text of a small model with good induction heads goes round in circles.
    model.generation_config.repetition_penalty = 1.2
    model.transformer.wpe.weight.data = sinusoids(LENGTH, 256, amplitude=0.1)
    return model


def main(plan: Plan) -> None:
    """Train, print the last figures and export."""
    torch.manual_seed(plan.seed)
    corpus = Corpus.find(plan.data)
    tokenizer = story_tokenizer(corpus, LENGTH)
    model = new_model()
    if plan.start:
        model = GPT2LMHeadModel.from_pretrained(plan.start, dtype=torch.float32)
    print(train(model, GPTRecipe(corpus, tokenizer, plan.seed), plan))
    export(model, tokenizer, plan.out)


if __name__ == "__main__":
    main(parse_plan("gpt", 60, "Train the classroom GPT."))
