"""Sentences: read from files, split into words, numbered, and the same from inside a SavedModel."""
import csv
import gzip
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.errors import UserError
from zoo.training.data.opening import open_source
from zoo.training.data.sentences import read_table
from zoo.training.preprocessing.text import lookup_table, standardize, token_ids
from zoo.training.preprocessing.tokens import PADDING, UNKNOWN, Vocabulary
from zoo.training.preprocessing.word_vectors import read_word_vectors

VIETNAMESE = (
    "aàáảãạăằắẳẵặâầấẩẫậbcdđeèéẻẽẹêềếểễệghiìíỉĩịklmnoòóỏõọôồốổỗộơờớởỡợpqrstuùúủũụưừứửữựvxyỳýỷỹỵ"
)


def read(path):
    """{split: (texts, labels)} of the sentences in `path`."""
    source = open_source(str(path))
    splits = source.splits or {"train": np.arange(len(source))}
    return {split: (source.read(indices), [source.class_names[n] for n in source.labels[indices]])
            for split, indices in splits.items()}


def words(sentence):
    return standardize([sentence]).numpy()[0].decode().split()


@pytest.fixture
def data_folder():
    folder = Path(os.environ.get("ZOO_DATA", ""))
    if (
        "ZOO_DATA" not in os.environ
        or not (folder / "mr.csv").is_file()
        or not (folder / "uit-vsfc").is_dir()
    ):
        pytest.skip("mr.csv and uit-vsfc are not here: set ZOO_DATA to a folder that holds them")
    return folder


# Reading

def test_a_table_is_read_by_the_names_of_its_columns(tmp_path):
    (tmp_path / "a.csv").write_text(
        'id,Label,Review\n1,good,"nice, really"\n\n2,bad,"two\nlines"\n3,good,\n', "utf-8"
    )
    assert list(read_table(tmp_path / "a.csv")) == [
        (2, "nice, really", "good"),
        (5, "two\nlines", "bad"),
        (6, "", "good"),
    ]
    (tmp_path / "b.tsv").write_text('words\tclass\nsay "no\tbad\n', encoding="utf-8-sig")
    assert list(read_table(tmp_path / "b.tsv")) == [(2, 'say "no', "bad")]
    assert read(tmp_path / "b.tsv") == {"train": (['say "no'], ["bad"])}


@pytest.mark.parametrize("suffix, separator", [("csv", ","), ("tsv", "\t")])
def test_quoted_tables_are_read_as_pandas_reads_them(tmp_path, suffix, separator):
    pandas = pytest.importorskip("pandas", reason="pandas writes and reads them: "
                                                  "pip install pandas")
    texts = ["plain", 'say "no"', "tab\tinside", "two\nlines", '"quoted"', "comma, too",
             "x" * 200_000, '""', "a \"b\"\tc\r\nd"]
    file = tmp_path / f"a.{suffix}"
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        frame = pandas.DataFrame({"text": texts, "label": ["x", "y", "z"] * 3})
        frame.to_csv(file, sep=separator, quoting=quoting, index=False, lineterminator="\r\n")
        read = pandas.read_csv(file, sep=separator, keep_default_na=False)
        assert [(text, label) for _, text, label in read_table(file)] == list(
            zip(read["text"], read["label"], strict=True))
        assert list(read["text"]) == texts


@pytest.mark.parametrize("rows", [
    ['"Great" movie\tx', 'say "no\ty'],              # one breaks the rules of quotes
    ['"it starts here\tx', 'and\ty', 'ends here"\tx'],  # quoted, it would be one row
    ['"\tx', "6'2\"\ty"]])
def test_quotes_of_a_tsv_without_quoting_are_kept(tmp_path, rows):
    (tmp_path / "a.tsv").write_text("\n".join(["text\tlabel", *rows]))
    assert [f"{text}\t{label}" for _, text, label in read_table(tmp_path / "a.tsv")] == rows


def test_the_limit_of_other_readers_stays(tmp_path):
    limit = csv.field_size_limit()
    (tmp_path / "a.csv").write_text(f"text,label\n{'word ' * 100_000},x\nshort,y\n")
    assert [len(text) for _, text, _ in read_table(tmp_path / "a.csv")] == [500_000, 5]
    (tmp_path / "a.csv").write_text("text,label\nshort\n")
    with pytest.raises(UserError, match="line 2"):
        read_table(tmp_path / "a.csv")
    assert csv.field_size_limit() == limit


def test_texts_are_composed_and_keep_unusual_line_ends(tmp_path):
    decomposed = unicodedata.normalize("NFD", "tiếng Việt")
    (tmp_path / "a.csv").write_bytes(f"text,label\r\n{decomposed}\u2028\x85,x\r\n".encode())
    assert list(read_table(tmp_path / "a.csv")) == [(2, "tiếng Việt\u2028\x85", "x")]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"text,label\nfine,a\n\xe1\xbb,b\n", r"line 3: byte 0xe1 is not UTF-8"),
        (
            b"text,label\nfine,a\n\nshort\n",
            r"line 4: expected 2 columns with a label. Received: 'short'",
        ),
        (b"text,label\none, two,a\n", r"line 2: expected 2 columns"),
        (b"text,label\nfine,\n", r"line 2: expected 2 columns with a label"),
        (
            b"one,two\nfine,a\n",
            r"line 1: expected the names of the columns, a text \(text, .*Received: one, two",
        ),
        (b"text,a,b\nfine,a,b\n", r"line 1: expected the names of the columns"),
        (b"", r"line 1: .* Received: nothing"),
        (b"text,label\n", "has no sentences"),
        (b'text,label\n"open,a\n', r"line 2: unexpected end of data"),
    ],
)
def test_a_bad_table_is_refused_with_the_line(tmp_path, content, words):
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"bad\.csv.*{words}"):
        read_table(tmp_path / "bad.csv")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="gone.csv does not exist"):
        read(tmp_path / "gone.csv")


def test_a_folder_of_tables_has_their_parts(tmp_path):
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.csv").write_text(f"text,label\nfrom {name},x\n", encoding="utf-8")
    assert read(tmp_path) == {"train": (["from train"], ["x"]), "validation": (["from val"], ["x"]),
                                   "test": (["from test"], ["x"])}


@pytest.mark.parametrize("part", ["", "train/", "test/"])
def test_a_folder_of_text_files_is_read_by_class(tmp_path, part):
    for label, sentence in (("neg", "dở"), ("pos", "ngon")):
        (tmp_path / part / label).mkdir(parents=True)
        (tmp_path / part / label / "1.txt").write_text(f"{sentence}\n", encoding="utf-8")
    assert read(tmp_path) == {part.rstrip("/") or "train": (["dở", "ngon"], ["neg", "pos"])}
    (tmp_path / part / "pos" / "2.txt").write_bytes(b"first\nsecond \xff\n")
    with pytest.raises(UserError, match=r"2\.txt, line 2: byte 0xff is not UTF-8"):
        read(tmp_path)
    (tmp_path / part / "pos" / "2.txt").rename(tmp_path / part / "pos" / "2.pdf")
    with pytest.raises(UserError, match=r"2\.pdf is not a \.txt file"):
        read(tmp_path)


def test_the_real_tables_are_read_whole(data_folder):
    texts, labels = read(data_folder / "mr.csv")["train"]
    assert len(texts) == 10_662 and labels.count("positive") == 5_331
    parts = read(data_folder / "uit-vsfc")
    assert {part: len(labels) for part, (_, labels) in parts.items()} == {
        "train": 11_426,
        "validation": 1_583,
        "test": 3_166,
    }
    built = Vocabulary.build(parts["train"][0])
    assert (
        UNKNOWN in built.words
        and "giảng" in built.words
        and built.encode(parts["test"][0]).max() < len(built)
    )


# Standardisation

@pytest.mark.parametrize("letters", [VIETNAMESE, VIETNAMESE.upper(), "äöüßéèçñåÿÄÖÜÉÈÇÑÅ"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_letters_are_composed_as_unicode_does(letters, form):
    spelt = [unicodedata.normalize(form, letter) for letter in letters]
    assert [word.decode() for word in standardize(spelt).numpy()] == list(
        unicodedata.normalize("NFC", letters.lower())
    )


def test_marks_in_either_order_and_half_composed_are_the_same_letter():
    for spelt in ("e\u0302\u0323", "e\u0323\u0302", "ê\u0323", "ẹ\u0302", "Ê\u0323"):
        assert words(f"vi{spelt}t") == ["việt"]
    assert len(words("á\u0302")[0]) == 2, "an acute under a circumflex is no letter; NFC leaves it"


@pytest.mark.parametrize("sentence, expected", [
    ("", []), (" \n", []), ("ngon😀😀 ❤️", ["ngon", "😀", "😀", "❤"]),
    ("Món ăn NGON, giá rẻ!", ["món", "ăn", "ngon", ",", "giá", "rẻ", "!"]),
    ("Sinh_viên rất nhiệt_tình.", ["sinh_viên", "rất", "nhiệt_tình", "."]),
    ("It's what they don't say", ["it", "'s", "what", "they", "do", "n't", "say"]),
    ("the movie’s 'sẽ' o'er", ["the", "movie", "'s", "'", "sẽ", "'", "o", "'", "er"]),
    ("8/10 :) <unk> [UNK]", ["8", "/", "10", ":", ")", "<", "unk", ">", "[", "unk", "]"]),
    ("\ufeffa\u00a0b\u2028c\td\x00e", ["a", "b", "c", "d", "e"])])
def test_words_and_punctuation_are_set_apart(sentence, expected):
    assert words(sentence) == expected


def test_broken_utf8_does_not_fail_the_batch():
    answers = standardize([b"ngon \xff", "ngon"]).numpy()
    assert [answer.decode().split() for answer in answers] == [["ngon", "\ufffd"], ["ngon"]]


# Vocabulary

def test_the_commonest_words_come_first():
    built = Vocabulary.build(["b a c", "a B c", "a d"], size=5)
    assert built.words == (PADDING, UNKNOWN, "a", "b", "c")
    assert Vocabulary.build(["b a c", "a b", "a d"], min_count=2).words == (
        PADDING,
        UNKNOWN,
        "a",
        "b",
    )
    assert Vocabulary.parse(str(built)) == built and str(built).split("\n")[4] == "c"


def test_sentences_become_ids():
    built = Vocabulary.build(["a b c"])
    ids = built.encode(["c x a", "", "b"])
    assert ids.dtype == np.int32 and ids.tolist() == [[4, 1, 2], [0, 0, 0], [3, 0, 0]]
    assert built.encode(["c x a", "b"], max_tokens=2).tolist() == [[4, 1], [3, 0]]
    assert built.encode([""]).tolist() == [[0]] and built.encode([]).shape == (0, 1)
    assert built.encode(["a " * 10_000]).shape == (1, 10_000)


def test_many_sentences_are_numbered_as_one_by_one():
    sentences = [" ".join("abcdefgh"[:i % 9]) for i in range(5000)]
    built = Vocabulary.build(sentences)
    ids = built.encode(sentences)
    assert ids.shape == (5000, 8)
    for i in (0, 8, 4095, 4096, 4999):
        alone = built.encode([sentences[i]])
        assert ids[i, :i % 9].tolist() == alone[0, :i % 9].tolist() and not ids[i, i % 9:].any()


READER = """
import sys
sys.modules["keras"] = None
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
ids = loaded.signatures["serving_default"](tf.constant(["B học_sinh", "", unknown]))["ids"]
print(ids.numpy().tolist())
""".replace("unknown", ascii(unicodedata.normalize("NFD", "học_sinh giỏi")))


def test_a_saved_model_numbers_raw_strings_with_tensorflow_alone(tmp_path):
    built = Vocabulary.build(["a b học_sinh"])
    lookup = lookup_table(built)
    archive = keras.export.ExportArchive()
    archive.track(lookup)
    archive.add_endpoint("serving_default", lambda texts: {"ids": token_ids(texts, lookup, 4)},
                         [tf.TensorSpec((None,), tf.string, name="text")])
    archive.write_out(str(tmp_path / "model"), verbose=False)
    asked = subprocess.run(
        [sys.executable, "-I", "-c", READER, tmp_path / "model"], capture_output=True, text=True
    )
    assert asked.stdout.strip() == "[[3, 4], [0, 0], [4, 1]]", asked.stderr[-500:]


# Pre-trained vectors

WORD2VEC = "3 2\nngon 1.0 2.0\ndở -1.0 0.5\nphở 0.0 3.0\n"
GLOVE = WORD2VEC.partition("\n")[2]


@pytest.fixture
def vector_files(tmp_path):
    models = pytest.importorskip("gensim.models", reason="gensim writes the files: "
                                                         "pip install gensim")
    (tmp_path / "w2v.txt").write_text(WORD2VEC, encoding="utf-8")
    (tmp_path / "glove.txt").write_text(GLOVE, encoding="utf-8")
    (tmp_path / "w2v.txt.gz").write_bytes(gzip.compress(WORD2VEC.encode()))
    known = models.KeyedVectors.load_word2vec_format(tmp_path / "w2v.txt")
    known.save_word2vec_format(tmp_path / "w2v.bin", binary=True)
    (tmp_path / "w2v.bin.gz").write_bytes(gzip.compress((tmp_path / "w2v.bin").read_bytes()))
    return tmp_path


@pytest.mark.parametrize("name", ["w2v.txt", "w2v.txt.gz", "w2v.bin", "w2v.bin.gz", "glove.txt"])
def test_vectors_are_read_in_every_format(vector_files, name):
    table, found = read_word_vectors(
        vector_files / name, Vocabulary((PADDING, UNKNOWN, "phở", "bún", "ngon"))
    )
    assert found == 2 and table.shape == (5, 2) and table.dtype == np.float32
    assert table[[0, 2, 4]].tolist() == [[0, 0], [0, 3], [1, 2]]
    assert np.abs(table[[1, 3]]).min() > 0 and not np.array_equal(table[1], table[3])


def test_vectors_are_those_that_gensim_wrote(tmp_path):
    models = pytest.importorskip("gensim.models", reason="gensim writes them: "
                                                         "pip install gensim")
    generator = np.random.default_rng(0)
    words = [f"từ{number}" for number in range(300)]
    known = models.KeyedVectors(20)
    known.add_vectors(words, generator.normal(size=(300, 20)).astype("float32"))
    for name, options in (("a.txt", {}), ("a.bin", {"binary": True}),
                          ("glove", {"write_header": False})):
        known.save_word2vec_format(tmp_path / name, **options)
        table, count = read_word_vectors(tmp_path / name, Vocabulary((PADDING, UNKNOWN, *words)))
        assert count == 300 and np.array_equal(table[2:], known[words])


def test_words_without_a_vector_have_the_variance_of_the_others(vector_files):
    table, found = read_word_vectors(
        vector_files / "w2v.txt", Vocabulary((PADDING, UNKNOWN, *map(str, range(5000))))
    )
    known = [1.0, 2.0, -1.0, 0.5, 0.0, 3.0]
    assert found == 0 and table[1:].std() == pytest.approx(np.std(known), rel=0.03)


VECTORS = Vocabulary((PADDING, UNKNOWN, "ngon", "phở", ".", "tab"))


@pytest.mark.parametrize("content", [
    "ngon 1 2\n. . . 7 7\nat name@domain.com 8 8\nphở 0 3\n. 4 5\n",  # as in glove.840B
    "ngon\t1\t2\nphở\t0\t3\r\n.\t4\t5\n",
    "ngon 1 2 \nphở  0  3 \n\n. 4 5\n\n",
    "3 2\nngon 1 2\n. 4 5\nphở 0 3", "ngon 1e0 2\n  9 9\nphở 0 3\n. 4 5",
    b"ngon 1 2\n\xff\xfe 6 6\nph\xe1\xbb 6 6\nph\xe1\xbb\x9f 0 3\n. 4 5",
    "ngon 1 2\nngon 9 9\nphở 0 3\n. 4 5", "ngon 1 2\npho\u031b\u0309 0 3\n. 4 5",
    "ngon 1 2\nphở\u00a0bò 6 6\nphở 0 3\n. 4 5\n"])
def test_words_with_spaces_tabs_and_other_bytes_are_read(tmp_path, content):
    file = tmp_path / "vectors.txt"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    table, count = read_word_vectors(file, VECTORS)
    assert count == 3 and table[2:5].tolist() == [[1, 2], [0, 3], [4, 5]]


BINARY = b"2 2\nngon " + np.float32([1, 2]).tobytes() + b"\n. " + np.float32([4, 5]).tobytes()


@pytest.mark.parametrize("content, message", [
    (b"<html>\nno vectors\n", "neither in word2vec's text or binary format nor in GloVe's"),
    (b"a x y\nb 1.0 2.0\n", "neither in word2vec's text or binary format nor in GloVe's"),
    (b"", "neither in word2vec's text or binary format nor in GloVe's"),
    (b"2 2\na 1.0 2.0\n", "the header says 2 words, the file has 1. Is it complete"),
    (b"1 2\na 1.0 2.0\nb 1 2\n", "the header says 1 words, the file has 2"),
    (b"2 3\na 1.0 2.0\nb 1 2\n", "the header says 3 numbers for each word, line 2 has 2"),
    (b"2 1\na 1.0 2.0\nb 1 2\n", "the header says 1 numbers for each word, line 2 has 2"),
    (b"a 1 2\n" * 120 + b"b 1\nc 1 2\n", "line 121: expected a word and 2 numbers. "
                                          "Received: 'b 1'"),
    (b"a 1 2\nb 1 x\n", "line 2: expected a word and 2 numbers. Received: 'b 1 x'"),
    (b"2 2\na 1 2\nb 1 x\n", "line 3: expected a word and 2 numbers"),
    (b"a 1 2\nb nan 1\n", "vector of 'b' has a value that is infinite or not a number"),
    (b"2 2\na 1 2\nb 1 -inf\n", "vector of 'b' has a value that is infinite or not a number"),
    (BINARY[:-2], "header says 2 words of 2 numbers, the file ends after 1"),
    (BINARY.replace(b"2 2", b"1 2"), "header says 1 words of 2 numbers, the file has more"),
    (BINARY.replace(b"2 2", b"2 3"), "header says 2 words of 3 numbers, the file ends after"),
    (BINARY.replace(np.float32(5).tobytes(), np.float32(np.nan).tobytes()), "vector of '.' has a"),
])
def test_a_file_without_vectors_is_refused(tmp_path, content, message):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(UserError, match=rf"bad.*{message}"):
        read_word_vectors(tmp_path / "bad", VECTORS)
    with pytest.raises(UserError, match="Cannot read .*gone: "):
        read_word_vectors(tmp_path / "gone", VECTORS)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(GLOVE.encode() * 100)[:-20])
    with pytest.raises(UserError, match="Cannot read .*cut.gz: "):
        read_word_vectors(tmp_path / "cut.gz", VECTORS)
