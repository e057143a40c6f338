"""Train the classroom Llama: `python -m training.llama --data DIR`.

Its parts are those of Llama 2 and Mistral: rotary positions, RMS norms, a gated feed-forward, 8
query heads that share 2 heads of keys and values, and a sliding window. The library's Ministral
classes are Mistral's with a window in some layers only.
"""

import torch
from transformers import MinistralConfig, MinistralForCausalLM

from training.corpus import Corpus
from training.export import export
from training.loop import Plan, parse_plan, train
from training.optimise import Rates
from training.repeats import BEGIN_ID
from training.shared_words import shared_tokenizer, word_vectors
from training.stories import VOCABULARY, StoryRecipe

LENGTH = 1024
WINDOW = 64
LAYERS = ["full_attention", "sliding_attention"] * 2


class LlamaRecipe(StoryRecipe):
    """Stories and repeats in rows that grow to 1,024 tokens."""

    rates = Rates(muon=4e-3, adam=1.5e-3, warm_steps=60, hold=0.75, weight_decay=0.1)
    lengths = (48, 64, 96, 144, 200, 256, 400, 640, LENGTH)
    late_share = 0.3
    stories_repeated = 0.6

    def shape(self, fraction: float) -> tuple[int, int]:
        """Return rows and length of the next batch of stories, at most 2,048 tokens.

        Rows of 1,024 cost three times as much per token as rows of 128 on a CPU: they come in the
        last third, and only every other batch has them.
        """
        if fraction < 0.3:
            return 12, 128
        if fraction < 0.45:
            return 16, 128
        if fraction < 0.7:
            return 8, 256
        return (2, LENGTH) if self.random.random() < 0.5 else (8, 256)


def new_model() -> MinistralForCausalLM:
    """Make a model of 4.1 million chance weights; layers 1 and 3 have a window."""
    model = MinistralForCausalLM(
        MinistralConfig(
            vocab_size=VOCABULARY,
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=len(LAYERS),
            num_attention_heads=8,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=LENGTH,
            sliding_window=WINDOW,
            layer_types=LAYERS,
            tie_word_embeddings=True,
            bos_token_id=BEGIN_ID,
            eos_token_id=BEGIN_ID,
            pad_token_id=BEGIN_ID,
        )
    )
    model.model.embed_tokens.weight.data.copy_(word_vectors())
    model.model.norm.weight.data.fill_(0.3)  # the vectors are longer than those of chance
    model.generation_config.repetition_penalty = 1.2  # without it greedy text goes round in circles
    return model


def main(plan: Plan) -> None:
    """Train, print the last figures and export."""
    torch.manual_seed(plan.seed)
    corpus = Corpus.find(plan.data)
    tokenizer = shared_tokenizer(LENGTH)
    model = new_model()
    if plan.start:
        model = MinistralForCausalLM.from_pretrained(plan.start, dtype=torch.float32)
    print(train(model, LlamaRecipe(corpus, tokenizer, plan.seed), plan))
    export(model, tokenizer, plan.out)


if __name__ == "__main__":
    main(parse_plan("llama", 100, "Train the classroom Llama."))
