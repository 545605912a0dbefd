"""Sentences at any size: read once, tokenized once, in memory or on disk, by one core or all."""
import csv
import gzip
import hashlib
import random
import sys
import unicodedata

import numpy as np
import pytest

from tests.sentences import LABELS, SENTENCES, spellings
from zoo.errors import UserError
from zoo.training.data import growing, token_cache
from zoo.training.data.dataset import load_data
from zoo.training.data.growing import Growing
from zoo.training.data.opening import open_source
from zoo.training.data.sentences import read_table
from zoo.training.data.splits import fingerprint
from zoo.training.data.token_cache import TokenCache
from zoo.training.preprocessing import word_numbers
from zoo.training.preprocessing.tokens import Vocabulary, split_words
from zoo.training.preprocessing.word_numbers import WordNumbers

ALL = [sentence for sentences in SENTENCES.values() for sentence in sentences]
TEXTS = ["", "\u200b", "...", *(text for sentence in ALL[::3] for text in
                                spellings(sentence).values())]


def raw(indices):
    return [TEXTS[index].encode() for index in indices]


@pytest.fixture
def table(tmp_path):
    """A CSV of the sentences; every third is the same, so that words differ in how often."""
    path = tmp_path / "reviews.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *zip(ALL, LABELS, strict=True)])
    return path


@pytest.mark.parametrize("most, slots", [(1 << 18, 18), (10, 18), (1 << 18, 4)])
def test_words_are_numbered_as_they_are_split(monkeypatch, most, slots):
    monkeypatch.setattr(word_numbers, "_MOST", most)  # chunks are forgotten, words are not
    monkeypatch.setattr(word_numbers, "_SLOTS", slots)  # many chunks for a slot
    generator = random.Random(0)
    letters = "ab\0 \n\t\x1c\x85\u2028é’'.,_In't12345678"
    texts = [*TEXTS, *("".join(generator.choices(letters, k=generator.randrange(40)))
                       for _ in range(1000)),
             *(f"{'x' * n} {'x' * n}\0 {'y' * n}" for n in range(40))]
    numbers = WordNumbers()
    found, words = [], []
    for first in range(0, len(texts), 50):
        new, ids, sizes = numbers.number([text.encode() for text in texts[first:first + 50]])
        words += new
        assert ids.dtype == sizes.dtype == np.int32 and words == list(numbers.words)
        found += [[words[i] for i in part] for part in np.split(ids, np.cumsum(sizes)[:-1])]
    assert found == split_words(texts)
    assert not any(len(part) for part in numbers.number([]))


@pytest.mark.parametrize("where", ["memory", "disk", "processes"])
@pytest.mark.parametrize("max_tokens", [None, 5])
def test_the_ids_are_those_of_the_vocabulary(monkeypatch, tmp_path, where, max_tokens):
    lines, count = [], len(TEXTS)
    monkeypatch.setattr(token_cache, "_BLOCK", 100)
    monkeypatch.setattr(token_cache, "SECONDS", 0)
    if where == "disk":
        monkeypatch.setattr(growing, "MEMORY_SHARE", 0)
    if where == "processes":
        monkeypatch.setattr(token_cache, "_MANY", 1)
    train = np.arange(0, count, 2)
    expected = Vocabulary.build([TEXTS[index] for index in train], 300, 2)
    for vocabulary in (None, expected):
        cache = TokenCache(raw, np.zeros(count, "int32"), vocabulary, max_tokens, train=train,
                           size=300, min_count=2, cache_dir=tmp_path, say=lines.append)
        assert cache.vocabulary == expected and 100 < len(expected) <= 300
        generator = np.random.default_rng(0)
        for indices in (np.arange(count), np.array([0, 1]), generator.integers(0, count, 50),
                        np.array([], "int64")):
            ids = cache.read(indices)
            wanted = expected.encode([TEXTS[index] for index in indices], max_tokens)
            assert ids.dtype == np.int32 and np.array_equal(ids, wanted)
        assert cache.raw(np.array([5, 3])) == raw([5, 3])
    assert f"  {count:,} of {count:,} sentences split into words" in lines
    assert any("token ids" in line and str(tmp_path) in line for line in lines) == (
        where == "disk")
    assert isinstance(cache.tokens, np.memmap) == (where == "disk")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(growing, "MEMORY_SHARE", 0)
    with Growing("int32", "token ids", tmp_path / "gone") as array, pytest.raises(
            UserError, match="The token ids fit neither memory nor .*gone: No such file"):
        array.append(np.arange(3, dtype="int32"))


def test_the_fingerprint_is_that_of_texts_and_labels(table):
    dataset = load_data(str(table))
    for split in (dataset.train, dataset.validation, dataset.test):
        digest = hashlib.blake2b(split.labels.tobytes(), digest_size=16)
        texts = [unicodedata.normalize("NFC", ALL[index]).encode() for index in split.indices]
        digest.update(b"\0".join(texts))
        assert fingerprint([split]) == digest.hexdigest()
        assert [dataset.class_names[label] for label in split.labels] == [
            LABELS[index] for index in split.indices]


def test_a_table_on_disk_is_read_as_one_in_memory(monkeypatch, table):
    expected, lines = list(read_table(table)), []
    monkeypatch.setattr(growing, "MEMORY_SHARE", 0)
    monkeypatch.setattr(growing, "_PENDING", 100)
    monkeypatch.setattr(growing, "SECONDS", 0)
    rows = read_table(table, lines.append)
    assert list(rows) == expected and len(rows) == 300
    assert any("sentences fill much of the memory" in line for line in lines)
    assert "sentences read" in lines[-1]


def test_gzip_and_parquet_hold_the_same_rows(tmp_path, table):
    pyarrow = pytest.importorskip("pyarrow", reason="pip install '.[parquet]'")
    from pyarrow import parquet
    expected = list(read_table(table))
    compressed = tmp_path / "train.csv.gz"
    compressed.write_bytes(gzip.compress(table.read_bytes()))
    assert list(read_table(compressed)) == expected
    columns = pyarrow.table({"id": range(300), "Text": [text for _, text, _ in expected],
                             "label": [label for *_, label in expected]})
    parquet.write_table(columns, tmp_path / "reviews.parquet", row_group_size=70)
    assert [row[1:] for row in read_table(tmp_path / "reviews.parquet")] == [
        row[1:] for row in expected]
    parquet.write_table(columns.set_column(2, "label", pyarrow.array([10, 9, 2] * 100)),
                        tmp_path / "test.parquet")
    (tmp_path / "reviews.parquet").unlink()
    table.unlink()
    source = open_source(str(tmp_path))
    assert {split: len(indices) for split, indices in source.splits.items()} == {
        "train": 300, "test": 300}
    assert source.class_names == ["2", "9", "10", "bad", "good"]
    assert source.read(np.array([299, 300])) == [expected[299][1], expected[0][1]]


@pytest.mark.parametrize("columns, words", [
    ({"text": ["a", None], "label": ["x", "y"]}, "row 2: expected a text and a label. .*'None'"),
    ({"text": ["a", "b"], "label": ["x", None]}, "row 2: .*'b' and None"),
    ({"text": [1, 2], "label": ["x", "y"]}, "row 1: expected a text"),
    ({"text": ["a"], "other": ["b"], "more": ["c"]}, "line 1: expected the names of the columns"),
    ({"image": ["a"], "label": ["b"]}, "line 1: expected a column of texts .* a column of paths"),
    ({"text": [], "label": []}, "has no sentences")])
def test_a_bad_parquet_table_is_one_line(tmp_path, columns, words):
    pyarrow = pytest.importorskip("pyarrow", reason="pip install '.[parquet]'")
    from pyarrow import parquet
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=rf"a\.parquet.*{words}"):
        read_table(tmp_path / "a.parquet")


def test_files_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"text,label\na,b\n")
    with pytest.raises(UserError, match=r"Cannot read .*a\.parquet as Parquet: [^\n]*\.$"):
        read_table(tmp_path / "a.parquet")
    (tmp_path / "a.csv.gz").write_bytes(b"text,label\na,b\n")
    with pytest.raises(UserError, match=r"Cannot read .*a\.csv\.gz as gzip: [^\n]*\.$"):
        read_table(tmp_path / "a.csv.gz")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"text,label\nword,x\n" * 999)[:-40])
    with pytest.raises(UserError, match=r"Cannot read .*b\.csv\.gz as gzip: "):
        read_table(tmp_path / "b.csv.gz")
    (tmp_path / "c.tsv.gz").write_bytes(gzip.compress(b"text\tlabel\nfine\ta\n\xe1\xbb\tb\n"))
    with pytest.raises(UserError, match=r"c\.tsv\.gz, line 3: byte 0xe1 is not UTF-8"):
        read_table(tmp_path / "c.tsv.gz")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match="pyarrow is not installed: pip install pyarrow"):
        read_table(tmp_path / "a.parquet")
