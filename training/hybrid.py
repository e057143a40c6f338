"""Train the classroom hybrid: `python -m training.hybrid --data DIR`.

A Jamba of four layers: three state-space layers and one with attention, the third. Its attention
knows no positions; the order of the words reaches it through the state-space layers below.
"""

import math

import torch
from torch import Tensor, nn
from transformers import JambaConfig, JambaForCausalLM, PreTrainedModel

from training.corpus import Corpus
from training.export import export
from training.loop import Plan, parse_plan, train
from training.optimise import Rates
from training.repeats import BEGIN_ID
from training.scan import quick_scan
from training.shared_words import shared_tokenizer, word_vectors
from training.stories import VOCABULARY, StoryRecipe

LENGTH = 512
ATTENTION_LAYER = 2
STEPS = (0.001, 0.1)  # the time steps of the state spaces at the start


class HybridRecipe(StoryRecipe):
    """Stories and repeats in rows that grow to 512 tokens."""

    rates = Rates(muon=4e-3, adam=1.5e-3, warm_steps=60, hold=0.5, weight_decay=0.1)
    lengths = (48, 64, 96, 144, 200, 256, 400, LENGTH)
    repeated = 512

    def shape(self, fraction: float) -> tuple[int, int]:
        """Return rows and length of the next batch of stories, at most 1,024 tokens."""
        if fraction < 0.4:
            return 8, 128
        if fraction < 0.7:
            return 4, 256
        return (2, LENGTH) if self.random.random() < 0.5 else (4, 256)

    def token_losses(self, model: PreTrainedModel, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses of the next tokens, with the scan that is fast on a processor."""
        with quick_scan():
            return super().token_losses(model, ids)


def new_model() -> JambaForCausalLM:
    """Make a model of 4.1 million weights: chance, but for the words and the state spaces' start.

    Time steps and convolutions start as in Mamba (Gu and Dao 2023), since the library's own start
    makes the state spaces forget everything within a few tokens.
    """
    model = JambaForCausalLM(
        JambaConfig(
            vocab_size=VOCABULARY,
            hidden_size=256,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=8,
            num_key_value_heads=2,
            attn_layer_period=4,
            attn_layer_offset=ATTENTION_LAYER,
            num_experts=1,
            num_experts_per_tok=1,
            mamba_d_state=8,
            mamba_d_conv=4,
            mamba_expand=2,
            max_position_embeddings=LENGTH,
            tie_word_embeddings=True,
            bos_token_id=BEGIN_ID,
            eos_token_id=BEGIN_ID,
            pad_token_id=BEGIN_ID,
        )
    )
    shortest, longest = (math.log(step) for step in STEPS)
    for name, part in model.named_modules():
        if name.endswith(".mamba"):
            steps = torch.exp(torch.empty(len(part.dt_proj.bias)).uniform_(shortest, longest))
            part.dt_proj.bias.data.copy_(steps.expm1().log())  # the inverse of softplus
            nn.init.uniform_(part.conv1d.weight, -0.5, 0.5)
    model.model.embed_tokens.weight.data.copy_(word_vectors())
    model.model.final_layernorm.weight.data.fill_(0.3)  # the vectors are longer than chance's
    model.generation_config.repetition_penalty = 1.2  # without it greedy text goes round in circles
    return model


def main(plan: Plan) -> None:
    """Train, print the last figures and export."""
    torch.manual_seed(plan.seed)
    corpus = Corpus.find(plan.data)
    tokenizer = shared_tokenizer(LENGTH)
    model = new_model()
    if plan.start:
        model = JambaForCausalLM.from_pretrained(plan.start, dtype=torch.float32)
    print(train(model, HybridRecipe(corpus, tokenizer, plan.seed), plan))
    export(model, tokenizer, plan.out)


if __name__ == "__main__":
    main(parse_plan("hybrid", 100, "Train the classroom hybrid."))
