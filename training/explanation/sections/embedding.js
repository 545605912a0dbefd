// The map of test examples: PCA or t-SNE, an example shown at the pointer or by the arrow keys.
if (document.getElementById("map")) {
  const figure = document.getElementById("map"), n = positions.PCA.length, height = 420, margin = 14;
  const hues = classes.length <= 10 ? d3.schemeTableau10
    : classes.map((_, i) => d3.interpolateSinebow(i / classes.length));
  let kind = "t-SNE", chosen = null, only = null, points, places, root;

  function layOut(width) {
    const [[left, right], [low, high]] = [0, 1].map(axis => d3.extent(positions[kind], place => place[axis]));
    const scale = Math.min((width - 2 * margin) / (right - left || 1), (height - 2 * margin) / (high - low || 1));
    places = positions[kind].map(([x, y]) => [width / 2 + scale * (x - (left + right) / 2),
                                              height / 2 - scale * (y - (low + high) / 2)]);
    points.attr("transform", i => `translate(${places[i]})`).style("transform", i => `translate(${places[i][0]}px,${places[i][1]}px)`);
  }
  chart(figure, "map of test examples", (svg, width) => {
    root = svg.attr("viewBox", `0 0 ${width} ${height}`).attr("tabindex", 0);
    points = svg.selectAll("circle").data(d3.range(n)).join("circle").attr("r", 5)
      .attr("class", i => examples[i].true === examples[i].predicted ? "point" : "point wrong")
      .attr("fill", i => hues[examples[i].true]);
    svg.append("rect").attr("width", width).attr("height", height).attr("fill", "none").attr("pointer-events", "all");
    layOut(width);
    points.classed("faded", i => only !== null && examples[i].true !== only);
    const nearest = event => {
      const [x, y] = d3.pointer(event, svg.node());
      const [near, distance] = d3.least(d3.range(n).filter(i => only === null || examples[i].true === only)
        .map(i => [i, Math.hypot(places[i][0] - x, places[i][1] - y)]), pair => pair[1]) || [null, Infinity];
      if (distance < 24) choose(near); else choose(null);
    };
    svg.on("pointermove", nearest).on("pointerdown", nearest)
      .on("pointerleave", event => { if (event.pointerType === "mouse") choose(null) })
      .on("blur", () => choose(null))
      .on("keydown", event => {
        const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
        if (!step) return;
        event.preventDefault();
        choose(((chosen ?? (step > 0 ? -1 : 0)) + step + n) % n);
      });
  });

  function choose(i) {
    chosen = i;
    points.classed("chosen", each => each === i);
    if (i === null) return hideTip();
    const box = root.node().getBoundingClientRect(), scale = box.width / root.node().viewBox.baseVal.width;
    showTip(box.left + scale * places[i][0], box.top + scale * places[i][1], ...shown(examples[i], "6rem"));
  }
  for (const button of document.querySelectorAll("[data-map]")) button.onclick = () => {
    kind = button.dataset.map;
    for (const each of document.querySelectorAll("[data-map]")) each.setAttribute("aria-pressed", each === button);
    choose(null);
    layOut(root.node().viewBox.baseVal.width);
  };
  const present = [...new Set(d3.range(n).map(i => examples[i].true))].sort(d3.ascending);
  if (present.length <= 20) document.getElementById("classes").append(...present.map(i => {
    const dot = make("i", {});
    dot.style.background = hues[i];
    const button = make("button", {title: classes[i]}, dot, classes[i]);
    button.setAttribute("aria-pressed", false);
    button.onclick = () => {
      only = only === i ? null : i;
      points.classed("faded", each => only !== null && examples[each].true !== only);
      for (const each of document.querySelectorAll("#classes button")) each.setAttribute("aria-pressed", each === button && only !== null);
    };
    return button;
  }));
}
