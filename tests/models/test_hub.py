"""Simulated answers of the hub: every failure becomes a sentence."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import errors as hub
from transformers import (
    AutoTokenizer,
    GPT2LMHeadModel,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)

import attnviz
from attnviz.errors import (
    AttnvizError,
    ModelError,
    ModelNotAllowed,
    ModelNotFound,
    ModelNotSupported,
    ModelOffline,
    ModelUnsafe,
)
from attnviz.models.loading import hub as hub_access
from tests.served import ROOT
from tests.vocabularies import vocabulary

http: Any = importlib.import_module(hub.HTTPError.__module__.partition(".")[0])  # the hub's own
RESPONSE = http.Response(404, request=http.Request("GET", "https://hub.example/model"))


def http_error(kind: type[Exception]) -> Exception:
    return kind("404 Client Error", response=RESPONSE)


def wrapped(cause: Exception, text: str = "it is not a local folder") -> Exception:
    """Raise what the library raises: an OSError that was caused by the hub's error."""
    try:
        raise OSError(text) from cause
    except OSError as error:
        return error


ANSWERS: dict[str, tuple[Callable[[], Exception], type[ModelError], str]] = {
    "gated": (lambda: http_error(hub.GatedRepoError), ModelNotAllowed, "gated.*hf auth login"),
    "no such model": (
        lambda: http_error(hub.RepositoryNotFoundError),
        ModelNotFound,
        "no model 'org/model' on the hub",
    ),
    "no such revision": (
        lambda: http_error(hub.RevisionNotFoundError),
        ModelNotFound,
        "no revision 'v9'",
    ),
    "offline mode": (
        lambda: hub.OfflineModeIsEnabled("offline"),
        ModelOffline,
        "cannot be reached",
    ),
    "not in the cache": (
        lambda: hub.LocalEntryNotFoundError("not cached"),
        ModelOffline,
        "cannot be reached",
    ),
    "no route": (lambda: ConnectionError("refused"), ModelOffline, "cannot be reached"),
    "no address": (lambda: http.ConnectError("no address"), ModelOffline, "cannot be reached"),
    "slow": (lambda: http.ConnectTimeout("timed out"), ModelOffline, "cannot be reached"),
    "slow answer": (lambda: http.ReadTimeout("timed out"), ModelOffline, "cannot be reached"),
    "server trouble": (lambda: http_error(hub.HfHubHTTPError), ModelError, "org/model"),
    "bad name": (lambda: hub.HFValidationError("bad"), ModelNotFound, "neither a listed model"),
    "comes with code": (
        lambda: ValueError("Please pass the argument `trust_remote_code=True`"),
        ModelNotSupported,
        "comes with code",
    ),
    "no safetensors": (
        lambda: OSError("org/model does not appear to have a file named model.safetensors"),
        ModelUnsafe,
        "no safetensors",
    ),
    "full disk": (lambda: OSError(28, "No space left on device"), ModelError, "No space left"),
}


@pytest.mark.parametrize("through", ["straight", "wrapped"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_every_answer_of_the_hub(
    monkeypatch: pytest.MonkeyPatch, answer: str, through: str
) -> None:
    make, kind, sentence = ANSWERS[answer]

    def fail(*unused: Any, **options: Any) -> None:
        raise make() if through == "straight" else wrapped(make(), str(make()))

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(PreTrainedConfig, "get_config_dict", fail)
    with pytest.raises(AttnvizError, match=sentence) as caught:
        attnviz.load("org/model", revision="v9")
    assert type(caught.value) is kind
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)


def test_no_network_is_found_out_without_trying_again_and_again() -> None:
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", "import attnviz; attnviz.load('org/model')"],
        env={**os.environ, **nobody, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ModelOffline: 'org/model' is not on this machine" in done.stderr
    assert "Retrying" not in done.stderr


def test_what_is_on_this_machine_needs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*unused: Any, **options: Any) -> None:
        raise http.ConnectError("no address")

    monkeypatch.setattr(hub_access, "is_offline_mode", lambda: False)
    monkeypatch.setattr(hub_access.HfApi, "model_info", nobody)
    monkeypatch.setattr(hub_access, "try_to_load_from_cache", lambda *unused, **options: "config")
    hub_access.reach("org/model", None)
    monkeypatch.setattr(hub_access, "try_to_load_from_cache", lambda *unused, **options: None)
    with pytest.raises(http.ConnectError):
        hub_access.reach("org/model", None)


def test_a_hub_that_refuses_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*unused: Any, **options: Any) -> None:
        raise http_error(hub.RepositoryNotFoundError)

    monkeypatch.setattr(hub_access, "is_offline_mode", lambda: False)
    monkeypatch.setattr(hub_access.HfApi, "model_info", refuse)
    hub_access.reach("org/model", None)


def test_the_commit_of_the_configuration_is_the_commit_of_everything(
    monkeypatch: pytest.MonkeyPatch, gpt_folder: Path
) -> None:
    """A branch can move between two downloads; what was resolved first is used for the rest."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    calls: list[dict[str, Any]] = []
    config, _ = PreTrainedConfig.get_config_dict(gpt_folder)
    config["_commit_hash"] = commit

    def weights(*unused: Any, **options: Any) -> None:
        calls.append(options)
        raise OSError("enough seen")

    def remember(*unused: Any, **options: Any) -> PreTrainedTokenizerBase:
        calls.append(options)
        return vocabulary("bpe")

    monkeypatch.setattr(
        PreTrainedConfig, "get_config_dict", lambda *unused, **options: (config, {})
    )
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", remember)
    monkeypatch.setattr(GPT2LMHeadModel, "from_pretrained", weights)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(ModelError, match="enough seen"):
        attnviz.load("org/model", revision="main")
    assert [options["revision"] for options in calls] == [commit, commit]
    assert [options["trust_remote_code"] for options in calls] == [False, False]
    assert calls[1]["use_safetensors"] is True
