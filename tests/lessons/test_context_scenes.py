"""Numbers of the lesson about vectors in context against independent computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from attnviz.errors import InputError
from attnviz.lessons import scenes_of
from attnviz.lessons.context_scenes import line_between, read_groups, right_by_nearest_mean
from attnviz.models import twin
from tests.lessons.given import given, lesson, load

GROUPS = read_groups(lesson("context").sentence)
SENTENCES, MEANINGS, WORD = GROUPS.sentences, GROUPS.meanings, "bank"


@pytest.fixture(scope="module")
def scenes():
    one = lesson("context")
    return scenes_of(one, given(one))


def vectors() -> np.ndarray:
    network = twin(load("bert-classroom").network)
    network.set_attn_implementation("eager")
    tokenizer = load("bert-classroom").tokenizer
    rows = []
    for sentence in SENTENCES:
        ids = torch.tensor([tokenizer(sentence).input_ids])
        at = ids[0].tolist().index(tokenizer.convert_tokens_to_ids(WORD))
        assert at == 7
        with torch.inference_mode():
            states = network(ids, output_hidden_states=True).hidden_states
        rows.append(torch.stack(states)[:, 0, at].double().numpy())
    return np.stack(rows, axis=1)  # [layer, sentence, width]


def separable(points: np.ndarray) -> bool:
    """Return whether a linear program finds a line with all points on the right sides."""
    signs = np.where(MEANINGS == 0, -1.0, 1.0)
    rows = -signs[:, None] * np.column_stack([points, np.ones(len(points))])
    return linprog([0, 0, 0], rows, -np.ones(len(points)), bounds=(None, None)).success


def test_points_keep_the_distances_of_the_two_main_directions(scenes) -> None:
    points = scenes["dots"].arrays["points"]
    for layer, rows in enumerate(vectors()):
        centred = rows - rows.mean(0)
        values, directions = np.linalg.eigh(centred.T @ centred)
        expected = centred @ directions[:, -2:]
        apart = np.linalg.norm(points[layer][:, None] - points[layer], axis=2)
        wanted = np.linalg.norm(expected[:, None] - expected, axis=2)
        assert np.abs(apart - wanted).max() < 1e-3
        assert values[-1] > 1 or layer == 0


def test_the_line_is_there_where_a_linear_program_finds_one(scenes) -> None:
    scene = scenes["dots"]
    points, lines = scene.arrays["points"], scene.arrays["lines"]
    for layer in range(1, len(points)):
        assert bool(np.isfinite(lines[layer]).all()) == separable(points[layer])
    assert not np.isfinite(lines[0]).any()
    assert scene.places["from"] == 3
    middle, along = lines[3][:2], lines[3][2:]
    sides = np.sign((points[3] - middle) @ np.array([along[1], -along[0]]))
    assert len(set(sides[:5])) == len(set(sides[5:])) == 1 and sides[0] != sides[-1]


def test_a_line_through_a_gap_and_none_where_the_groups_cross() -> None:
    points = np.array([[0.0, 0], [1, 0], [3, 0], [4, 1]])
    line = line_between(points, np.array([0, 0, 1, 1]))
    assert 1 < line[0] / abs(line[3]) < 3
    assert np.isnan(line_between(points, np.array([0, 1, 0, 1]))).all()


def test_counts_against_a_loop(scenes) -> None:
    shown = scenes["count"].arrays["rights"]
    for layer, rows in enumerate(vectors()):
        count = 0.0
        for at in range(10):
            distances = []
            for meaning in (0, 1):
                members = [i for i in range(10) if MEANINGS[i] == meaning and i != at]
                mean = sum(rows[i] for i in members) / len(members)
                distances.append(float(((rows[at] - mean) ** 2).sum()) ** 0.5)
            same, other = distances[MEANINGS[at]], distances[1 - MEANINGS[at]]
            count += 0.5 if layer == 0 else float(same < other)
        assert shown[layer] == count
    assert shown.tolist() == [5, 8, 5, 8, 9]
    assert right_by_nearest_mean(np.zeros((10, 3)), MEANINGS) == 5


OWN = """A ring of gold.
The king wore his ring.
She lost her ring in the river.

They stood in a ring.
The children danced in a ring around the old tree.
We made a ring around him.
"""


def test_the_students_sentences_take_their_place() -> None:
    groups = read_groups(OWN)
    assert groups.word == "ring"
    assert groups.meanings.tolist() == [0, 0, 0, 1, 1, 1]
    one = lesson("context")
    scene = scenes_of(one, given(one, OWN))["dots"]
    assert scene.values["word"] == "ring" and scene.values["count"] == 6
    points = scene.arrays["points"]
    assert points.shape == (5, 6, 2)
    # The word has different places, so that its vectors differ before the first layer.
    assert np.ptp(points[0]) > 0.01
    assert scene.labels["sentences"][2] == "She lost her ring in the river."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one bank\ntwo bank\nthree bank", "two groups"),
        ("a bank\nb bank\n\nc bank\nd bank\ne bank", "not 2 [+] 3"),
        ("red\nblue\ngreen\n\none\ntwo\nthree", "no word in common"),
    ],
)
def test_other_texts_are_refused_with_advice(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_groups(text)


def test_a_word_of_several_pieces_is_refused() -> None:
    one = lesson("context")
    text = OWN.replace("ring", "photosynthesis")
    with pytest.raises(InputError, match="not in the vocabulary"):
        scenes_of(one, given(one, text))
