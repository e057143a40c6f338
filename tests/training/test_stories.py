"""Models that continue stories: their batches, their loss and their layers."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from training import gpt, hybrid, llama
from training.repeats import BEGIN_ID
from training.shared_words import shared_tokenizer, word_vectors
from training.stories import VOCABULARY, Curriculum, StoryRecipe, next_token_loss
from training.token_loss import CHUNK, MeanLoss, row_losses

RECIPES = {"gpt": gpt, "llama": llama, "hybrid": hybrid}


def test_loss_in_parts_is_the_library_s_with_its_gradients():
    generator = torch.Generator().manual_seed(0)
    rows = CHUNK + 7
    states = torch.randn(rows, 16, generator=generator, requires_grad=True)
    table = torch.randn(40, 16, generator=generator, requires_grad=True)
    target = torch.randint(0, 40, (rows,), generator=generator)
    expected = functional.cross_entropy(states @ table.T, target, reduction="none")
    mean, each = MeanLoss.apply(states, table, target, row_losses)
    torch.testing.assert_close(each, expected.detach(), rtol=1e-4, atol=1e-5)
    wanted = torch.autograd.grad(3 * expected.mean(), [states, table])
    gradients = torch.autograd.grad(3 * mean, [states, table])
    for one, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def recipe_of(name: str) -> StoryRecipe:
    """Return a recipe without corpora."""
    kind = next(
        one
        for one in vars(RECIPES[name]).values()
        if isinstance(one, type) and issubclass(one, StoryRecipe) and one is not StoryRecipe
    )
    recipe = kind.__new__(kind)
    recipe.random = np.random.default_rng(0)
    recipe.row_losses = row_losses
    recipe.curriculum = Curriculum(len(kind.lengths))
    recipe.stories = recipe.sentences = np.arange(5000) % VOCABULARY
    return recipe


@pytest.mark.parametrize("name", RECIPES)
def test_rows_grow_to_the_whole_context(name):
    recipe, context = recipe_of(name), RECIPES[name].LENGTH
    assert recipe.lengths[-1] == context
    assert list(recipe.lengths) == sorted(recipe.lengths)
    lengths = [recipe.shape(fraction)[1] for fraction in np.linspace(0, 1, 40)]
    assert lengths[0] < context
    assert context in lengths[-10:]
    window = recipe.windows(2, context)
    assert window.shape == (2, context)
    assert (window[:, 0] == BEGIN_ID).all()


@pytest.mark.parametrize("name", ["llama", "hybrid"])
def test_token_losses_are_those_of_the_whole_model(name):
    torch.manual_seed(0)
    model, recipe = RECIPES[name].new_model(), recipe_of(name)
    ids = torch.randint(1, VOCABULARY, (2, 20))
    with torch.no_grad():
        mean, each = recipe.token_losses(model, ids)
        expected = next_token_loss(model, ids)
    torch.testing.assert_close(each, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mean, expected.mean(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["llama", "hybrid"])
def test_new_models_have_four_to_six_million_weights_and_begin_with_the_words(name):
    model = RECIPES[name].new_model()
    assert 4e6 < sum(weight.numel() for weight in model.parameters()) < 6e6
    assert torch.equal(model.get_input_embeddings().weight, word_vectors())
    assert len(shared_tokenizer(RECIPES[name].LENGTH)) == VOCABULARY
    assert model.config.max_position_embeddings == RECIPES[name].LENGTH


def test_every_other_layer_of_the_llama_has_a_window():
    config = llama.new_model().config
    assert config.layer_types == ["full_attention", "sliding_attention"] * 2
    assert (config.sliding_window, config.num_attention_heads) == (64, 8)
    assert config.num_key_value_heads == 2


def test_the_hybrid_has_one_layer_with_attention():
    assert hybrid.new_model().config.layers_block_type == ["mamba", "mamba", "attention", "mamba"]


def test_the_course_of_a_longer_context_ends_with_its_longest_rows():
    curriculum = Curriculum(lengths=len(llama.LlamaRecipe.lengths))
    while not curriculum.widest:
        curriculum.note(0.0)
    assert curriculum.length + 1 == len(llama.LlamaRecipe.lengths)


def test_repeated_stories_have_their_first_stretch_twice():
    recipe = recipe_of("llama")
    for row in recipe.repeated_stories(20, 96).numpy():
        assert row[0] == BEGIN_ID
        first = row[1:9]  # the shortest stretch
        starts = [at for at in range(1, 89) if (row[at : at + 8] == first).all()]
        assert len(starts) >= 2
