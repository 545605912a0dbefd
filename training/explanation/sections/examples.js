// The test examples that the page keeps, as pictures or sentences with their probabilities.
const {classes, examples, epochs, positions, best, matrix, pairs: confused} =
  JSON.parse(document.getElementById("results").textContent);

// The nodes that show an example: input, prediction and the bars of its highest probabilities.
function shown(example, side) {
  const input = example.src ? make("img", {src: example.src, alt: `an example of ${classes[example.true]}`})
                            : make("p", {textContent: example.text});
  if (example.src && side) input.style.width = side;
  const right = example.true === example.predicted ? "right" : `true ${classes[example.true]}`;
  const rows = make("div", {className: "bars"});
  rows.append(...bars(example.top.map(([i, p]) => [classes[i], p]), classes[example.true]));
  return [input, make("div", {className: "soft", textContent: `predicted ${classes[example.predicted]} (${right})`}), rows];
}
