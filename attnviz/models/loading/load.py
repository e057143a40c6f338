"""Loading by catalogue name, hub id or local folder: safetensors only, never foreign code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from transformers import (
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from attnviz.attention import Sites, find_sites, with_separate_layers
from attnviz.errors import InputError, ModelNotFound
from attnviz.models.catalogue import known_heads, shipped
from attnviz.models.folders.damaged_files import check_intact
from attnviz.models.folders.model_names import local_folder, readable
from attnviz.models.folders.weight_files import check_entries, digest, weight_files
from attnviz.models.folders.weight_mismatch import check_weights
from attnviz.models.loading.adapters import NO_ADAPTER, adapter_in, insert
from attnviz.models.loading.build_lock import building
from attnviz.models.loading.described import family_of, max_tokens, other_layers
from attnviz.models.loading.devices import compute_dtype, usable_device
from attnviz.models.loading.hub import fetched, reach
from attnviz.models.loading.load_errors import Explained
from attnviz.models.loading.model_classes import class_of, has_language_head, reads_text, runnable
from attnviz.models.loading.model_configs import read_config
from attnviz.models.loading.model_size import check_configuration, check_files, check_model
from attnviz.models.loading.wrappers import unwrapped
from attnviz.models.tokenizers.tokenizer_check import check_tokenizer, check_tokenizer_files
from attnviz.models.tokenizers.tokenizer_settings import without_named_files
from attnviz.types import ModelInfo

__all__ = ["Model", "instrument", "load"]

Source = Literal["classroom", "folder", "hub", "object"]
FEWEST_WORDS = 2  # T5's empty vocabulary still holds a lone space


@dataclass(frozen=True, eq=False)
class Model:
    """Loaded model whose attention is instrumented.

    Attributes:
        network: the library's model, in evaluation mode; a view of it where the model runs one
            block for several layers (see `with_separate_layers`).
        vocabulary: its tokenizer; None for a model of pictures.
        info: what a person should know about it.
        sites: where its attentions are.
        prompt: what it was trained to see before a text, for shipped models.
        predicts: whether its language head was trained; a body saved without one has attention,
            but what it would predict is noise.
        original: the model that was given; `network` itself, or what it is a view of.
    """

    network: PreTrainedModel
    vocabulary: PreTrainedTokenizerBase | None
    info: ModelInfo
    sites: Sites
    prompt: str
    predicts: bool
    original: PreTrainedModel

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Tokenizer of a model that reads text.

        Raises:
            InputError: there is none, as in a model of pictures.
        """
        if self.vocabulary is None:
            raise InputError(
                f"{self.info.name} reads no text: it has no tokenizer. Capture what it reads with "
                f"attnviz.capture_inputs(model, {{'{self.sites.reads[0]}': tensor}})"
            )
        return self.vocabulary


def load(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    allowed_folders: Sequence[str | Path] | None = None,
) -> Model:
    """Load a BERT, a GPT, a T5 or a relative, a ViT, CLIP or Whisper, ready to be captured.

    Args:
        name: a catalogue name ("gpt-classroom"), a local folder, or a hub id ("org/model").
        device: "auto", or a torch device.
        dtype: "auto" (float32 on a processor; on a GPU what the weights are stored in), or the
            name of a torch float type.
        revision: branch, tag or commit on the hub; the commit it resolves to is recorded.
        allowed_folders: when given, local folders outside these are refused (for servers).

    Raises:
        LoadCancelled: the load is no longer wanted (see `cancellable`).
        ModelNotFound: no such model, folder or revision.
        ModelNotAllowed: gated, or outside the allowed folders.
        ModelOffline: not on this machine, and the hub cannot be reached.
        ModelUnsafe: it has no safetensors weights.
        ModelNotSupported: no attention that attnviz could see.
    """
    name = readable(name)
    chosen = shipped(name)
    if chosen is not None and not (chosen.folder / "config.json").is_file():
        raise ModelNotFound(
            f"'{name}' is listed but its weights are not in this installation "
            f"({chosen.folder.name}); reinstall attnviz or choose another model"
        )
    folder = chosen.folder if chosen else local_folder(name, allowed_folders)
    given, adapter = name, None
    if folder is not None and chosen is None:
        check_entries(folder, name)
        adapter = adapter_in(folder, name, allowed_folders)
    if adapter is not None and adapter.base is not None:
        name, folder, revision = adapter.base, adapter.base_folder, adapter.revision
        if folder is not None:
            check_entries(folder, name)
    files = () if folder is None else weight_files(folder, name)
    place = str(folder) if folder is not None else name
    options: dict[str, Any] = {
        "trust_remote_code": False,
        "local_files_only": folder is not None,
    }
    chosen_device = usable_device(device)
    if folder is None:
        with Explained(name, revision, local=False):
            reach(name, revision)  # outside the lock: it may wait for the network
    with building(), Explained(name, revision, local=folder is not None):
        local = {"local_files_only": options["local_files_only"]}
        config = read_config(place, name, revision=revision, **local)
        commit = getattr(config, "_commit_hash", None) or revision
        if folder is None:
            options["revision"] = commit
        kind = class_of(config)
    precision = compute_dtype(dtype, chosen_device, config)
    if chosen is None:
        # Outside the lock: downloads and trials may take long, and need nothing of the library.
        with Explained(name, revision, local=folder is not None):
            stored = folder or fetched(name, commit, config)
            if stored is not None:
                check_tokenizer_files(stored, name)
                files = weight_files(stored, name, type(config).extra_files)
                check_intact(files, name)
                check_files(files, precision, chosen_device, name)
            check_configuration(config, name)
            check_model(kind, config, precision, chosen_device, name)
    with building(), Explained(name, revision, local=folder is not None):
        tokenizer = None
        if reads_text(kind):
            beside = adapter.folder if adapter is not None and adapter.has_tokenizer else folder
            paths = {} if beside is None else without_named_files(beside)
            words = place if beside is None else str(beside)
            tokenizer = AutoTokenizer.from_pretrained(words, config=config, **paths, **options)
            _check_words(tokenizer, name)
        network, loaded = kind.from_pretrained(
            place,
            config=config,
            dtype=precision,
            attn_implementation="eager",  # attnviz's is set once the model is built
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # `check_weights` names the weight and both shapes
            output_loading_info=True,
            adapter_kwargs=dict(NO_ADAPTER),
            **options,
        )
        predicts = check_weights(network, loaded, name)
        if adapter is not None:
            with Explained(given, revision, local=True):
                insert(network, adapter, given)
            predicts = predicts and adapter.predicts
            files = (*files, *adapter.files)
        network = network.to(chosen_device)
    if tokenizer is not None and chosen is None:
        check_tokenizer(tokenizer, folder, name)
    return instrument(
        network,
        tokenizer,
        name=given,
        title=chosen.title if chosen else given if adapter is None else adapter.title(given),
        source="classroom" if chosen else "folder" if folder is not None else "hub",
        revision=digest(files) if folder is not None else str(commit),
        folder=folder,
        prompt=chosen.prompt if chosen else "",
        predicts=predicts,
    )


def instrument(
    network: Any,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    name: str | None = None,
    title: str | None = None,
    source: Source = "object",
    revision: str = "",
    folder: Path | None = None,
    prompt: str = "",
    predicts: bool = True,
) -> Model:
    """Prepare a model in memory for captures.

    Its attention implementation is set to attnviz's; its numbers do not change. Without a tokenizer
    it can read ids, pictures and sounds, but no text. A model that runs one block for several
    layers (ALBERT) is left as it is but for evaluation mode: attnviz runs a view of it, on the same
    weights, in which each layer has a block.

    >>> import attnviz
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> network = GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=4, n_embd=16, vocab_size=50))
    >>> model = attnviz.instrument(network)
    >>> model.info.heads["self"]
    (2, 4)

    Args:
        network: a model of the library, or what training puts around one: a PeftModel,
            DataParallel, DistributedDataParallel, torch.compile's module, a pipeline.
        tokenizer: the model's.
        name: the model's name in messages; its class when None.
        title: its name on the screen; `name` when None.
        source: where the weights come from.
        revision: the hub's commit, or a digest of the weights.
        folder: where its `heads.json` may lie.
        prompt: what it was trained to see before a text.
        predicts: False where its language head was never trained.

    Raises:
        ModelNotSupported: no attention that attnviz could see, or no model of the library inside.
    """
    original = runnable(unwrapped(network))
    with building():
        network = with_separate_layers(original.eval())
        sites = find_sites(network)
    family = family_of(network, sites)
    reads_ids = "input_ids" in sites.reads
    label = name or type(network).__name__
    info = ModelInfo(
        name=label,
        title=title or label,
        source=source,
        revision=revision,
        model_type=network.config.model_type,
        family=family,
        heads=sites.heads,
        key_heads=sites.key_heads,
        max_tokens=(
            None
            if sites.reads == ("pixel_values",)
            else max_tokens(network, sites, tokenizer, "source" if reads_ids else "target")
        ),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        device=str(network.device),
        dtype=str(network.dtype).removeprefix("torch."),
        known_heads=known_heads(folder, sites.heads) if folder is not None else (),
        layers=sites.layers,
        other_layers=other_layers(network, sites),
        max_target_tokens=(
            max_tokens(network, sites, tokenizer, "target") if family == "encoder-decoder" else None
        ),
    )
    predicts = predicts and has_language_head(network)
    return Model(network, tokenizer, info, sites, prompt, predicts, original)


def _check_words(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Refuse what the library makes up where a folder holds no vocabulary: one without words."""
    if len(tokenizer) - len(set(tokenizer.all_special_ids)) < FEWEST_WORDS:
        raise ModelNotFound(
            f"'{name}' comes without a tokenizer: expected a tokenizer.json (or vocabulary files) "
            "beside its config.json, as `tokenizer.save_pretrained(folder)` writes them"
        )
