// The cells of the confusion matrix open their examples; a slider shows the epochs.
{
  const cells = [...document.querySelectorAll("#matrix button")], n = classes.length;
  const pairs = [...document.querySelectorAll("#pairs button")], panel = document.getElementById("cell");
  const name = (t, p) => t === p ? `${classes[t]}, predicted right` : `true ${classes[t]}, predicted ${classes[p]}`;

  function open(t, p) {
    for (const button of [...cells, ...pairs])
      button.setAttribute("aria-pressed", +button.dataset.true === t && +button.dataset.predicted === p);
    const kept = examples.filter(example => example.true === t && example.predicted === p).slice(0, 8);
    const count = matrix ? matrix[t][p] : confused[`${t},${p}`];
    const held = kept.length === count ? "" : kept.length ? `, ${kept.length} of them here` : count ? "; the page keeps none" : "";
    panel.replaceChildren(make("h3", {textContent: `${name(t, p)} `}, make("small", {
      textContent: `${d3.format(",")(count)} of the test split${held}`})),
      make("div", {className: "cards"}, ...kept.map(example => make(example.src ? "figure" : "blockquote", {}, ...shown(example)))));
  }
  for (const button of [...cells, ...pairs])
    button.onclick = () => open(+button.dataset.true, +button.dataset.predicted);

  // One cell at a time is in the order of the Tab key; the arrow keys move it.
  function focusable(index) { cells.forEach((cell, i) => { cell.tabIndex = i === index ? 0 : -1 }) }
  const moves = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};
  cells.forEach((cell, i) => {
    cell.onfocus = () => focusable(i);
    cell.onkeydown = event => {
      const [down, right] = moves[event.key] || [];
      if (down === undefined) return;
      event.preventDefault();
      const row = Math.floor(i / n) + down, column = i % n + right;
      if (row >= 0 && row < n && column >= 0 && column < n) cells[row * n + column].focus();
    };
  });
  focusable(0);
  if (pairs.length) pairs[0].click();
  else if (panel && cells.length) cells[0].click();

  function draw(counts) {
    counts.forEach((row, t) => row.forEach((count, p) => {
      const cell = cells[t * n + p], share = count / Math.max(d3.sum(row), 1), box = cell.parentNode;
      cell.textContent = count;
      cell.setAttribute("aria-label", `${name(t, p)}: ${count}`);
      box.style.setProperty("--share", share.toFixed(3));
      box.className = share > .75 ? "much" : count ? "" : "none";
    }));
  }
  const slider = document.getElementById("epoch"), play = document.getElementById("play");
  if (slider) {
    const accuracy = counts => percent(d3.sum(counts, (row, i) => row[i]) / d3.sum(counts, row => d3.sum(row)));
    const show = () => {
      const chosen = epochs[+slider.value], counts = chosen ? chosen.matrix : matrix;
      draw(counts);
      const what = chosen ? `epoch ${chosen.epoch}: validation split` : `test split, after epoch ${best}`;
      document.getElementById("epoch-shown").textContent = `${what}, accuracy ${accuracy(counts)}`;
      slider.setAttribute("aria-valuetext", what);
    };
    let timer = null;
    const stop = () => { clearInterval(timer); timer = null; play.textContent = "▶" };
    slider.oninput = () => { stop(); show() };
    play.onclick = () => {
      if (timer) return stop();
      if (+slider.value === epochs.length) slider.value = 0;
      play.textContent = "❚❚";
      show();
      timer = setInterval(() => {
        slider.value = +slider.value + 1;
        show();
        if (+slider.value === epochs.length) stop();
      }, 700);
    };
    show();
  }
}
