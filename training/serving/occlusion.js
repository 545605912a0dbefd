// Occlusion (Zeiler and Fergus 2014): predictions with a patch covered, or without a word.
{
  const GRID = 8, SIDE = 224, ROWS = 8;  // patches along a side, pixels of an image, rows of a request

  async function probabilities(values, kind, classId) {
    const all = [];
    for (let first = 0; first < values.length; first += ROWS)
      all.push(...await predictions(values.slice(first, first + ROWS), kind));
    return all.map(prediction => prediction.probabilities[classId]);
  }

  // The canvas as files: first as it is, then with each patch covered by its mean colour.
  function covered() {
    const copy = make("canvas", {width: SIDE, height: SIDE}), brush = copy.getContext("2d", {willReadFrequently: true});
    const file = () => bytes(copy.toDataURL("image/png")), step = SIDE / GRID;
    brush.drawImage(canvas, 0, 0, SIDE, SIDE);
    const {data} = brush.getImageData(0, 0, SIDE, SIDE), mean = [0, 1, 2].map(channel => {
      let sum = 0;
      for (let i = channel; i < data.length; i += 4) sum += data[i];
      return Math.round(4 * sum / data.length);
    });
    const files = [file()], size = 2 * step;  // patches overlap by half
    for (let y = 0; y < GRID; y++) for (let x = 0; x < GRID; x++) {
      brush.drawImage(canvas, 0, 0, SIDE, SIDE);
      brush.fillStyle = `rgb(${mean})`;
      brush.fillRect((x - .5) * step, (y - .5) * step, size, size);
      files.push(file());
    }
    return files;
  }

  function heat(drops) {
    const small = make("canvas", {width: GRID, height: GRID}), brush = small.getContext("2d"), most = Math.max(...drops, 1e-6);
    drops.forEach((drop, i) => {
      brush.fillStyle = `rgba(255,120,0,${.75 * Math.max(0, drop) / most})`;
      brush.fillRect(i % GRID, Math.floor(i / GRID), 1, 1);
    });
    const over = $("heat").getContext("2d");
    over.clearRect(0, 0, 320, 320);
    over.imageSmoothingQuality = "high";
    over.drawImage(small, 0, 0, 320, 320);
    $("heat").hidden = false;
  }

  const points = drop => `${(100 * drop).toFixed(1)} points`;
  const change = drop => `${drop > 0 ? "−" : "+"}${points(Math.abs(drop))}`;
  $("occlude").onclick = async () => {
    if (!last) return;
    stopCamera();
    const {value, kind, prediction} = last, number = requests, label = prediction.label;
    const chunks = kind === "text" ? value.trim().split(/\s+/u) : [];
    const values = kind === "text" ? [value, ...chunks.map((_, i) => chunks.filter((_, j) => j !== i).join(" "))] : covered();
    $("occlude").disabled = true;
    $("without").textContent = `Predicting ${values.length - 1} variants…`;
    try {
      const [whole, ...others] = await probabilities(values, kind, prediction.class_id);
      if (number !== requests) return;
      const drops = others.map(p => whole - p), most = Math.max(...drops);
      if (kind === "text") {
        $("without").textContent = `How the probability of ${label} changes without each word.`;
        $("words").replaceChildren(...chunks.map((word, i) => {
          const node = make("span", {className: "word", tabIndex: 0}, word, " ", make("small", {textContent: change(drops[i])}));
          node.style.setProperty("--share", (Math.max(0, drops[i]) / Math.max(most, 1e-6)).toFixed(3));
          return node;
        }));
      } else {
        heat(drops);
        $("without").textContent = most > 0 ? `Covering what is orange lowers the probability of ${label}, by ${points(most)} at most.`
          : `No covered patch lowers the probability of ${label}.`;
      }
    } catch (error) { report(error.message, true) } finally { $("occlude").disabled = false }
  };
}
