"""Print every figure of a shipped model's bar: `python -m training.evaluate gpt-classroom`.

Figures that need the corpora appear when their folder is named with --data.
"""

import argparse
from pathlib import Path
from types import ModuleType

import torch

import attnviz
from attnviz.models import Model
from attnviz.models.catalogue import CLASSROOM
from training import evaluate_bert, evaluate_gpt, evaluate_hybrid, evaluate_llama, evaluate_t5
from training.corpus import Corpus, CorpusNotFoundError
from training.evaluate_stories import label_of
from training.figures import Figure, rule_cell, table
from training.head_roles import write_heads

MODULES: dict[str, ModuleType] = {
    "gpt2": evaluate_gpt,
    "bert": evaluate_bert,
    "t5": evaluate_t5,
    "ministral": evaluate_llama,
    "jamba": evaluate_hybrid,
}


def figures(model: Model) -> list[Figure]:
    """Return the figures of the bar that need no corpus, for one of the shipped kinds of models."""
    result: list[Figure] = MODULES[model.info.model_type].figures(model)
    return result


def sample_figures(model: Model, corpus: Corpus) -> list[Figure]:
    """Return the figures of text that no model saw in training, on a sample of its files."""
    module = MODULES[model.info.model_type]
    result: list[Figure] = module.unseen_figures(model, corpus, module.SAMPLE)
    return result


def file_figures(model: Model, corpus: Corpus) -> list[Figure]:
    """Return the figures of text that no model saw in training, on whole files."""
    result: list[Figure] = MODULES[model.info.model_type].unseen_figures(model, corpus)
    return result


def main() -> None:
    """Read the command line and print tables."""
    names = [model.name for model in CLASSROOM]
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("name", help=f"{', '.join(names)}, or a folder that a training wrote")
    parser.add_argument("--data", type=Path, help="folder with the corpora")
    parser.add_argument("--write-heads", action="store_true", help="write heads.json")
    parser.add_argument("--samples", action="store_true", help="also print what it writes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        corpus = Corpus.find(options.data)
    except CorpusNotFoundError as missing:
        print(f"Without the figures that need the corpora: {missing}\n")
        corpus = None
    model = attnviz.load(options.name, device="cpu")
    module = MODULES[model.info.model_type]
    rows = figures(model)
    if corpus is not None:
        rows += file_figures(model, corpus)
        rows += sample_figures(model, corpus) if module.SAMPLE > 1 else []
    print(table(rows))
    heads, rules = module.known_heads(model), module.rules(model)
    print("\n| head | role | score | best rule of position alone |\n|---|---|---|---|")
    for one in heads:
        rule = rule_cell(rules[one.role])
        print(f"| {label_of(model, one.head)} | {one.label} | {one.score:.2f} | {rule} |")
    if module is evaluate_hybrid:
        print("\n" + evaluate_hybrid.copying_table(evaluate_hybrid.copying(model)))
    if options.samples:
        print("\n" + "\n".join(module.samples(model)))
    if options.write_heads:
        folder = next((m.folder for m in CLASSROOM if m.name == options.name), Path(options.name))
        write_heads(folder, heads)


if __name__ == "__main__":
    main()
