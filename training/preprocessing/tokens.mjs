// From sentences to token ids, in JavaScript: the same ones as tokens.py gives.
const INVISIBLE = /[\p{Cf}\u034F\u180B-\u180D\u180F\uFE00-\uFE0F\u{E0100}-\u{E01EF}]/gu;
const APART = /(n't\b|\b'(?:s|ve|re|d|ll|m)\b|(?:^| )\p{M}+|[^\p{L}\p{M}\p{N}_ ])/gu;

// Returns a text in NFKC and lower case, with plain spaces and one form of apostrophe.
function plain(text) {
  return text.replace(/\p{Cs}/gu, "\uFFFD").replace(INVISIBLE, "").replace(/[\p{Z}\p{Cc}]/gu, " ")
    .normalize("NFKC").toLowerCase().normalize("NFKC").replace(/[\u2019\u02BC]/g, "'");
}

// Returns the words of a text, at most maxTokens of them.
export function splitWords(text, maxTokens) {
  return plain(text).replace(APART, " $1 ").split(" ").filter(Boolean).slice(0, maxTokens);
}

// Returns the characters of a text, at most maxTokens of them, with one space between words.
export function splitCharacters(text, maxTokens) {
  return [...plain(text).split(" ").filter(Boolean).join(" ")].slice(0, maxTokens);
}

// Returns the token ids of texts, rows of equal length. vocabulary is the content of vocab.txt.
export function encode(texts, vocabulary, maxTokens) {
  const words = vocabulary.replace(/\n$/, "").split("\n");
  const ids = new Map(words.map((word, id) => [word, id]));
  const split = words[1] === "<unknown character>" ? splitCharacters : splitWords;
  const rows = texts.map(text => split(text, maxTokens).map(word => ids.get(word) ?? 1));
  const length = Math.max(1, ...rows.map(row => row.length));
  return rows.map(row => [...row, ...Array(length - row.length).fill(0)]);
}
