// The charts of a search: each trial is drawn in all of them, and followed through all when chosen.
const {trials, names, best} = JSON.parse(document.getElementById("data").textContent);
const scored = trials.filter(trial => trial.score !== null);
const failed = trials.filter(trial => trial.score === null);
const WIDE = 50;  // ratio of a range's ends from which its axis is logarithmic
const FEW = 6;    // numbers that are a list of values, not a range
const small = d3.format(".2~e"), usual = d3.format(".3~g"), accuracy = d3.format(".4f");
const number = value => value && Math.abs(value) < .001 ? small(value) : usual(value);
const show = value => typeof value === "number" ? number(value) : String(value);
let fixed = null;  // the trial that was clicked

// How the values of all trials are laid out between two positions: a scale and its ticks.
function layout(values, from, to) {
  const present = values.filter(value => value !== undefined && value !== null);
  const numbers = present.every(value => typeof value === "number"), few = new Set(present).size;
  if (numbers && !(few > 1 && few <= FEW && few <= present.length / 2)) {
    let [low, high] = d3.extent(present);
    const wide = low > 0 && high / low > WIDE;
    const only = low === high ? [low] : null;
    if (only) [low, high] = [low - (Math.abs(low) || 1) / 10, high + (Math.abs(high) || 1) / 10];
    const scale = (wide ? d3.scaleLog() : d3.scaleLinear()).domain([low, high]).range([from, to]);
    return {scale, wide, only};
  }
  const labels = d3.sort(new Set(present)).map(show), scale = d3.scalePoint(labels, [from, to]).padding(.5);
  return {scale: value => scale(show(value)), labels, point: scale};
}

// Draw an axis below or left of its line, with as many ticks as are readable.
function axis(group, side, {scale, wide, only, labels, point}, room, format = number) {
  const drawn = side(point || scale).tickSizeOuter(0);
  const count = Math.max(2, Math.floor(room / 60));
  if (wide) {
    const powers = scale.ticks().filter(tick => Math.abs(Math.log10(tick) % 1) < 1e-9);
    drawn.tickValues(powers.length > 1 ? powers : scale.ticks(3)).tickFormat(format);
  } else if (only) drawn.tickValues(only).tickFormat(format);
  else if (!labels) drawn.ticks(Math.min(count, 6)).tickFormat(format);
  group.attr("class", "axis").call(drawn);
  if (labels) fit(group, room / labels.length);
}

// Shorten labels that are wider than their room.
function fit(group, room) {
  group.selectAll(".tick text").each(function () {
    const whole = this.textContent;
    for (let n = whole.length - 1; n > 1 && this.getComputedTextLength() > room - 4; n--)
      this.textContent = `${whole.slice(0, n)}…`;
    if (this.textContent !== whole) d3.select(this).append("title").text(whole);
  });
}

function title(svg, x, y, text) {
  svg.append("text").attr("class", "name").attr("x", x).attr("y", y).text(text);
}

function colour(trial) {  // by rank: one score far below the others would make these alike
  const share = scored.length < 2 ? 1 : ranks.get(trial.trial) / (scored.length - 1);
  return `color-mix(in srgb, var(--bar) ${Math.round(18 + 82 * share)}%, var(--ground))`;
}
const ascending = d3.sort(scored, trial => trial.score);
const ranks = new Map(ascending.map((trial, rank) => [trial.trial, rank]));

function about(trial) {
  const score = trial.score === null ? trial.status : accuracy(trial.score);
  return [make("b", {textContent: `Trial ${trial.trial}: ${score}`}),
          ...Object.entries(trial.values).map(([name, value]) => make("div", {
            textContent: `${name} ${show(value)}`})),
          ...(trial.params ? [make("div", {textContent: `${d3.format(",")(trial.params)} params`})] : [])];
}

function choose(trial) {
  d3.selectAll("[data-trial]").classed("chosen", function () { return trial !== null && +this.dataset.trial === trial });
  d3.selectAll(".line.chosen").raise();
}

function follow(nodes) {
  nodes.attr("data-trial", trial => trial.trial)
    .classed("best", trial => trial.trial === best)
    .style("--colour", colour)
    .on("pointermove", (event, trial) => { choose(trial.trial); showTip(event.clientX, event.clientY, ...about(trial)) })
    .on("pointerleave", event => { if (event.pointerType === "mouse") { hideTip(); choose(fixed) } })
    .on("click", (event, trial) => { event.stopPropagation(); keep(trial.trial); showTip(event.clientX, event.clientY, ...about(trial)) });
  return nodes;
}
function keep(trial) {  // the choice survives that the page reloads
  fixed = trial;
  history.replaceState(null, "", trial === null ? "#" : `#trial=${trial}`);
  choose(trial);
}
document.addEventListener("click", event => {
  if (!event.target.closest("tr[data-trial]")) { keep(null); hideTip() }
});

const drawnLast = rows => d3.sort(rows, trial => trial.trial === best ? Infinity : trial.score);  // the best

function dots(svg, rows, x, y) {
  follow(svg.append("g").selectAll("circle").data(drawnLast(rows)).join("circle")
    .attr("class", "dot").attr("cx", x).attr("cy", trial => y(trial.score))
    .attr("r", trial => trial.trial === best ? 7 : 5));
}

function frame(svg, width, height, left = 52, bottom = 40) {
  svg.attr("viewBox", `0 0 ${width} ${height}`);
  const y = layout(scored.map(trial => trial.score), height - bottom, 14);
  y.scale.nice(5);
  const ticks = Math.round(height / 50), format = y.scale.tickFormat(ticks, "%");
  svg.append("g").attr("class", "grid").selectAll("line").data(y.scale.ticks(ticks)).join("line")
    .attr("x1", left).attr("x2", width - 8).attr("y1", y.scale).attr("y2", y.scale);
  svg.append("g").attr("class", "axis").attr("transform", `translate(${left},0)`)
    .call(d3.axisLeft(y.scale).ticks(ticks).tickFormat(format).tickSizeOuter(0));
  return y.scale;
}

function overTrials(svg, width) {
  const height = 260, left = 52, y = frame(svg, width, height);
  const [first, last] = d3.extent(trials, trial => trial.trial);
  const x = d3.scaleLinear([first - .5, last + .5], [left, width - 8]);
  const whole = d3.ticks(first, last, Math.min(10, width / 60)).filter(Number.isInteger);
  svg.append("g").attr("class", "axis").attr("transform", `translate(0,${height - 40})`)
    .call(d3.axisBottom(x).tickValues(whole).tickFormat(d3.format("d")).tickSizeOuter(0));
  svg.append("text").attr("x", width - 8).attr("y", height - 6).attr("text-anchor", "end")
    .text("trial; dashed: the best so far");
  const inOrder = d3.sort(scored, trial => trial.trial);
  let most = -Infinity;
  const sofar = inOrder.map(trial => [x(trial.trial), y(most = Math.max(most, trial.score))]);
  sofar.push([width - 8, y(most)]);
  svg.append("path").attr("class", "sofar").attr("d", d3.line().curve(d3.curveStepAfter)(sofar));
  svg.append("g").selectAll("line").data(failed).join("line").attr("class", "failed")
    .attr("data-trial", trial => trial.trial).attr("x1", trial => x(trial.trial)).attr("x2", trial => x(trial.trial))
    .attr("y1", height - 48).attr("y2", height - 40)
    .on("pointermove", (event, trial) => showTip(event.clientX, event.clientY, ...about(trial)))
    .on("pointerleave", hideTip);
  dots(svg, scored, trial => x(trial.trial), y);
}

function parallel(svg, width) {  // the axes are rows, so that names and values are read across
  const step = 62, left = 24, right = width - 24;
  const axes = [...names.map(name => ({name, value: trial => trial.values[name]})),
                {name: "validation accuracy", value: trial => trial.score}];
  svg.attr("viewBox", `0 0 ${width} ${step * axes.length}`);
  axes.forEach((each, i) => {
    Object.assign(each, layout(scored.map(each.value), left, right), {y: 22 + step * i});
    if (i === axes.length - 1) each.scale.nice(5);
  });
  const drawn = scored.filter(trial => axes.every(each => each.value(trial) !== undefined));
  const line = trial => d3.line()(axes.map(each => [each.scale(each.value(trial)), each.y]));
  const order = drawnLast(drawn);
  follow(svg.append("g").selectAll("path").data(order).join("path").attr("class", "line").attr("d", line));
  follow(svg.append("g").selectAll("path").data(order).join("path").attr("class", "hit").attr("d", line))
    .attr("data-trial", null);
  axes.forEach((each, i) => {
    const group = svg.append("g").attr("transform", `translate(0,${each.y})`);
    axis(group, d3.axisBottom, each, right - left, i === axes.length - 1 ? d3.format(".3~p") : number);
    group.classed("bold", true).selectAll("text").attr("stroke", "var(--ground)").attr("stroke-width", 4)
      .attr("paint-order", "stroke");
    svg.append("text").attr("class", "name").attr("x", 2).attr("y", each.y - 8).text(each.name)
      .attr("stroke", "var(--ground)").attr("stroke-width", 4).attr("paint-order", "stroke");
  });
}

function slice(name) {
  return (svg, width) => {
    const height = 180, left = 52, y = frame(svg, width, height, left, 46);
    const shown = scored.filter(trial => trial.values[name] !== undefined);
    const x = layout(shown.map(trial => trial.values[name]), left + 10, width - 16);
    axis(svg.append("g").attr("transform", `translate(0,${height - 46})`), d3.axisBottom, x, width - left - 26);
    title(svg.attr("aria-label", name), left, height - 8, name);
    dots(svg, shown, trial => x.scale(trial.values[name]), y);
  };
}

function againstParams(svg, width) {
  const height = 260, left = 52, y = frame(svg, width, height), shown = scored.filter(trial => trial.params);
  const x = layout(shown.map(trial => trial.params), left + 10, width - 16);
  axis(svg.append("g").attr("transform", `translate(0,${height - 40})`), d3.axisBottom, x, width - left - 26, d3.format(".2~s"));
  svg.append("text").attr("x", width - 8).attr("y", height - 6).attr("text-anchor", "end").text("params");
  dots(svg, shown, trial => x.scale(trial.params), y);
}

if (scored.length) {
  const $ = id => document.getElementById(id);
  $("low").textContent = accuracy(ascending[0].score);
  $("high").textContent = accuracy(ascending.at(-1).score);
  $("without").hidden = !failed.length;
  chart($("scores"), "validation accuracy of each trial", overTrials);
  if (names.length) {
    chart($("parallel"), "parallel coordinates of all hyperparameters", parallel);
    for (const name of names)
      chart($("slices").appendChild(make("figure", {})), `validation accuracy against ${name}`, slice(name));
  }
  chart($("params"), "validation accuracy against params", againstParams);
}

for (const row of document.querySelectorAll("#trials tbody tr")) {
  const trial = +row.dataset.trial;
  row.classList.toggle("best", trial === best);
  row.onpointerenter = row.onfocus = () => choose(trial);
  row.onpointerleave = row.onblur = () => choose(fixed);
  row.onclick = () => keep(trial);
  row.onkeydown = event => { if (event.key === "Enter") keep(trial) };
}
const kept = /^#trial=(\d+)$/.exec(location.hash);
if (kept) { fixed = +kept[1]; choose(fixed) }

if ("live" in document.body.dataset) {
  let used = 0;
  for (const kind of ["pointermove", "pointerdown", "keydown", "scroll"])
    addEventListener(kind, () => { used = Date.now() }, {passive: true, capture: true});
  setInterval(() => { if (!document.hidden && tip.hidden && Date.now() - used > 4000) location.reload() }, 5000);
}
