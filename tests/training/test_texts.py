"""Corpora in their format, and complete tables of the measures."""

import pytest

from training import probe_texts
from training.corpus import Corpus, CorpusNotFoundError, split_sentences
from training.evaluate_t5 import WORD
from training.vocabulary import byte_pairs, unigram_pieces, word_pieces

SENTENCES = ["The cat sat on the mat.", "A dog is not a cat.", "Où est la gare ?"] * 4


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "lm-mix").mkdir()
    (tmp_path / "tatoeba-eng-fra").mkdir()
    (tmp_path / "lm-mix/train.txt").write_text("One.\nTwo.\n<|endofdoc|>\nThree.\n")
    (tmp_path / "tatoeba-eng-fra/train.tsv").write_text("Hi.\tSalut.\nHello.\tSalut.\nNo.\tNon.\n")
    return Corpus(tmp_path)


def test_documents_are_cut_at_their_mark(corpus):
    assert corpus.documents("train") == ["One.\nTwo.", "Three."]


def test_paraphrases_share_a_translation(corpus):
    assert corpus.paraphrases("train") == [("Hi.", "Hello.")]


def test_a_missing_file_says_where_to_get_it(corpus):
    with pytest.raises(CorpusNotFoundError, match=r"valid.txt.*README"):
        corpus.documents("valid")


def test_a_missing_folder_says_how_to_name_it(monkeypatch):
    monkeypatch.delenv("ATTNVIZ_DATA", raising=False)
    with pytest.raises(CorpusNotFoundError, match="--data"):
        Corpus.find(None)


def test_sentences_end_at_their_marks():
    assert split_sentences('He ran. "Stop!" she said.\nWhy?') == [
        "He ran.",
        '"Stop!"',
        "she said.",
        "Why?",
    ]


def test_gpt_text_begins_with_the_begin_token():
    tokenizer = byte_pairs(SENTENCES, 300, 64)
    ids = tokenizer("The cat")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id == 0
    assert tokenizer.decode(ids, skip_special_tokens=True) == "The cat"


def test_bert_pairs_have_two_types():
    tokenizer = word_pieces(SENTENCES, 100, 64)
    encoding = tokenizer("The cat", "a dog")
    tokens = tokenizer.convert_ids_to_tokens(encoding["input_ids"])
    assert tokens[0] == "[CLS]" and tokens.count("[SEP]") == 2
    assert encoding["token_type_ids"][-1] == 1 and encoding["token_type_ids"][0] == 0


def test_t5_text_ends_with_its_mark_and_has_no_types():
    encoding = unigram_pieces(SENTENCES, 80, 64)("la gare")
    assert encoding["input_ids"][-1] == 1
    assert set(encoding) == {"input_ids", "attention_mask"}


def test_forty_cloze_sentences_have_one_gap_and_words_that_fit():
    probes = probe_texts.cloze()
    assert len(probes) == 40
    assert all(sentence.count("[MASK]") == 1 for sentence, _ in probes)
    assert all(accepted for _, accepted in probes)


def test_thirty_pairs_are_aligned_with_words_they_have():
    pairs = probe_texts.alignments()
    assert len(pairs) == 30
    for pair in pairs:
        for french, english in pair.words:
            assert WORD.findall(pair.french).count(french) == 1, pair
            assert english in WORD.findall(pair.english), pair


def test_sentence_pairs_share_a_word():
    for first, second in probe_texts.pairs():
        assert set(first.lower().split()) & set(second.lower().rstrip(".").split())
