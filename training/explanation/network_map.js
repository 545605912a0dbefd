// Draws the map of a network and writes out the arithmetic of its numbers; see network_map.py.
(async () => {
"use strict";
const root = document.getElementById("network-map");
if (!globalThis.DecompressionStream) {
  root.querySelector(".hint").textContent = "The map needs a browser of 2023 or later.";
  return;
}
const packed = Uint8Array.from(atob(document.getElementById("network-map-data").textContent), c => c.charCodeAt(0));
const data = await new Response(
  new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
const steps = data.steps, $ = selector => root.querySelector(selector);
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;
const cache = new Map();
function numbers(text, Type = Float32Array) {
  if (!cache.has(text)) cache.set(text, new Type(bytes(text)));
  return cache.get(text);
}

// ---- arithmetic: the terms of one number, and what follows their sum

const parameter = (value, k) => value && value.floats !== undefined ? numbers(value.floats)[k] : value;
function valueAt(step, row, column, channel) {
  const [h, w, c] = step.shape;
  return numbers(step.values)[(Math.min(row, h - 1) * w + Math.min(column, w - 1)) * c + Math.min(channel, c - 1)];
}

// {terms: [{index, x, w}], rest, count}; x * w is a product
function termsOf(step, k, row, column) {
  if (!data.exact) return kept(step, k, row, column);
  const source = steps[step.sources[0]], terms = [];
  if (step.geometry) {
    const g = step.geometry, kernel = step.kernel && numbers(step.kernel), size = g.kernel[0] * g.kernel[1] * g.share;
    let index = 0;
    for (let i = 0; i < g.kernel[0]; i++) for (let j = 0; j < g.kernel[1]; j++) {
      const y = row * g.strides[0] - g.pad[0] + i * g.dilation[0], x = column * g.strides[1] - g.pad[1] + j * g.dilation[1];
      const inside = y >= 0 && x >= 0 && y < source.shape[0] && x < source.shape[1];
      for (let c = 0; c < g.share; c++, index++) {
        if (!kernel && !inside && step.options.same) continue;
        terms.push({index, x: inside ? valueAt(source, y, x, g.first[k] + c) : 0, w: kernel ? kernel[k * size + index] : 1});
      }
    }
    if (!kernel) for (const term of terms) term.w = 1 / terms.length;
  } else if (step.kind == "concat") {
    let channel = step.channels[k];
    step.sources.some((number, index) => {
      if (channel < steps[number].shape[2]) return terms.push({index, x: valueAt(steps[number], row, column, channel), w: 1});
      channel -= steps[number].shape[2];
    });
  } else if (step.kind == "move") {
    const index = numbers(step.moved, Int32Array)[(row * step.shape[1] + column) * step.channels.length + k];
    terms.push({index, x: index < 0 ? 0 : numbers(source.values)[index], w: 1});
  } else if (step.kind == "lrn") {
    const at = step.channels[k], n = step.options.size;
    for (let c = Math.max(at - (n >> 1), 0); c <= Math.min(at + ((n - 1) >> 1), step.shape[2] - 1); c++)
      terms.push({index: c, x: valueAt(source, row, column, c), w: 1});
  } else if (["input", "embedding", "other"].includes(step.kind)) {
    terms.push({index: 0, x: valueAt(step, row, column, step.channels[k]), w: 1});
  } else step.sources.forEach((number, index) => terms.push({index, x: valueAt(steps[number], row, column, step.channels[k]), w: 1}));
  return {terms, rest: 0, count: terms.length};
}

function kept(step, k, row, column) {  // from the grid of a large network
  const inputs = numbers(step.inputs), weights = numbers(step.weights), indices = numbers(step.indices, Int32Array);
  const place = (k * step.rows.length + step.rows.indexOf(row)) * step.columns.length + step.columns.indexOf(column);
  const each = inputs.length / (step.channels.length * step.rows.length * step.columns.length), terms = [];
  for (let n = place * each; n < (place + 1) * each; n++)
    if (indices[n] >= 0 || step.kind == "move" && n == place * each) terms.push({index: indices[n], x: inputs[n], w: weights[n]});
  const g = step.geometry;
  const count = !g ? terms.length : step.kind == "conv" ? g.kernel[0] * g.kernel[1] * g.share : Math.round(1 / terms[0].w);
  return {terms, rest: numbers(step.rest)[place], count};
}

const add = (a, b) => a + b, gelu = v => { const x = v * Math.SQRT1_2, t = 1 / (1 + .3275911 * Math.abs(x));
  const e = 1 - ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - .284496736) * t + .254829592) * t * Math.exp(-x * x);
  return v / 2 * (1 + Math.sign(x) * e) };
const sigmoid = v => 1 / (1 + Math.exp(-v)), hard = v => Math.min(Math.max(v / 6 + .5, 0), 1);
const FUNCTIONS = {tanh: Math.tanh, sigmoid, silu: v => v * sigmoid(v), hard_sigmoid: hard, hard_silu: v => v * hard(v),
  elu: v => v > 0 ? v : Math.expm1(v), selu: v => 1.0507009873554805 * (v > 0 ? v : 1.6732632423543772 * Math.expm1(v)),
  gelu, softplus: v => Math.log1p(Math.exp(v)), exponential: Math.exp};
const JOIN = {add: x => x.reduce(add), average: x => x.reduce(add) / x.length, multiply: x => x.reduce((a, b) => a * b),
  maximum: x => Math.max(...x), minimum: x => Math.min(...x), subtract: x => x[0] - x[1]};

function base(step, k, {terms, rest}) {
  if (step.kind == "conv" || step.kind == "avg") return terms.reduce((sum, t) => sum + t.x * t.w, 0) + rest;
  if (step.kind == "max") return Math.max(...terms.map(t => t.x));
  if (JOIN[step.kind]) return JOIN[step.kind](terms.map(t => t.x));
  if (step.kind == "lrn") {
    const {k: bias, alpha, beta} = step.options;
    return terms.find(t => t.index == step.channels[k]).x / (bias + alpha * terms.reduce((sum, t) => sum + t.x * t.x, 0)) ** beta;
  }
  return terms[0].x;
}

// [[what, value]]: each step from the sum to the number
function following(step, k, value) {
  const lines = [];
  if (step.kind == "other" || step.kind == "embedding" || step.kind == "input") return lines;
  for (const [name, options] of step.after) {
    const o = key => parameter(options[key], k), before = value;
    if (name == "bias") { value += o("by"); lines.push([`+ bias ${show(o("by"))}`, value]) }
    else if (name == "scale") {
      value = value * o("by") + o("offset");
      lines.push([`× ${show(o("by"))}${o("offset") ? ` + ${show(o("offset"))}` : ""}, rescaling`, value]);
    } else if (name == "bn") {
      value = (value - o("mean")) / Math.sqrt(o("variance") + o("epsilon")) * o("gamma") + o("beta");
      lines.push([`batch normalisation: γ·(x − μ) / √(σ² + ε) + β = ${show(o("gamma"))}·(${show(before)} − ${show(o("mean"))}) / √(${show(o("variance"))} + ${Number(options.epsilon.toPrecision(3))}) + ${show(o("beta"))}`, value]);
    } else if (name == "relu") {
      const {max, slope, threshold} = options;
      value = max !== null && value >= max ? max : value >= threshold ? value : slope * (value - threshold);
      lines.push([max === 6 ? "relu6: at least 0, at most 6" : slope ? `leaky relu: × ${slope} below 0` : `relu: max(0, ${show(before)})`, value]);
    } else if (FUNCTIONS[name]) { value = FUNCTIONS[name](value); lines.push([`${name.replace("_", " ")}(${show(before)})`, value]) }
    else if (name == "softmax") { value = probabilities()[step.channels[k]].p; lines.push([`softmax: exp(${show(before)}) / the sum over all outputs`, value]) }
    else { lines.push([`${options.name || name}: its arithmetic is not shown`, NaN]); break }
  }
  return lines;
}

function show(v) {
  if (!Number.isFinite(v)) return "–";
  const size = Math.abs(v);
  const text = size >= 1e4 ? size.toPrecision(9).replace(/\.?0+$/, "") : size && size < 1e-3 ? size.toExponential(3) : size.toFixed(5);
  return v < 0 ? `−${text}` : text;
}

// ---- the softmax after the logits is a step of the page

const outputs = steps[data.output], logits = () => Array.from(numbers(data.logits), (z, c) => [c, z]);
const classifies = outputs.shape[0] * outputs.shape[1] == 1 && data.classes.length == outputs.shape[2];
if (classifies) steps.push({name: "softmax", label: "", layers: [], kind: "softmax", sources: [data.output], shape: outputs.shape,
  path: [], params: 0, cost: 0, channels: [], after: [], options: {}, fields: outputs.fields});

// ---- layout

const open = new Set(), byPath = new Map();
steps.forEach((step, number) => step.path.forEach(path => byPath.set(path, [...(byPath.get(path) || []), number])));
if (data.open) for (const path of byPath.keys()) open.add(path);
let chosen = {step: 0, k: 0, row: 0, column: 0, from: null};

const shown = number => steps[number].path.find(path => !open.has(path)) || number;  // what stands for a step
const sizes = shape => (shape[0] * shape[1] == 1 ? [shape[2]] : data.input.kind == "text" ? [shape[0], shape[2]] : shape).join(" × ");
const count = n => n.toLocaleString("en-US");
const many = (list, one) => `${list} ${one}${list == 1 ? "" : "s"}`;
function side(step) {
  const longest = Math.max(step.shape[0], step.shape[1]);
  return longest >= 100 ? 74 : longest >= 40 ? 62 : longest >= 20 ? 54 : longest >= 10 ? 44 : longest >= 4 ? 34 : 26;
}
function cardOf(id) {  // the box that stands for a step or a group
  const group = typeof id == "string", members = group ? byPath.get(id) : [id], step = steps[members.at(-1)];
  const sign = !group && {add: "+", multiply: "×"}[step.kind];
  const label = group ? id.split("_").at(-1) : drawn(step);
  if (sign) return {id, group, step, members, label, sign, width: 30, height: 30};
  const s = side(step), text = step.shape[0] > 1 && step.shape[1] == 1, vector = step.shape[0] * step.shape[1] == 1;
  const w = vector ? 24 : text ? 58 : s, h = vector ? 60 : text ? 70 : s, back = vector || text || step.kind == "input" ? 0 : Math.min(step.channels.length, group ? 4 : 3) - 1;
  const width = Math.max(w + 5 * Math.max(back, 0) + 14, 6.6 * Math.max(label.length, sizes(step.shape).length * .86) + 8);
  return {id, group, step, members, label, w, h, back: Math.max(back, 0), text, vector, width, height: h + 5 * Math.max(back, 0) + 42};
}
const drawn = step => step.path.length && step.label && data.input.kind == "image" ? step.label.split(", ").filter((text, i) => !i || text[0] == "/").join(", ") : shortName(step);
function shortName(step) {
  const path = step.path.at(-1);
  return (path ? step.name.slice(path.length + 1) : step.name).replaceAll("_", " ");
}

function layout(across) {
  const graph = new dagre.graphlib.Graph({compound: true, multigraph: false});
  graph.setGraph({rankdir: across ? "LR" : "TB", nodesep: across ? 30 : 16, ranksep: across ? 22 : 34, edgesep: across ? 22 : 10, marginx: 12, marginy: 12});
  graph.setDefaultEdgeLabel(() => ({}));
  steps.forEach((step, number) => {
    if (step.hidden) return;
    const id = shown(number);
    if (!graph.hasNode(String(id))) {
      graph.setNode(String(id), cardOf(id));
      const outer = step.path.slice(0, typeof id == "string" ? step.path.indexOf(id) : undefined);
      outer.forEach((path, level) => {
        if (!graph.hasNode(`group ${path}`)) graph.setNode(`group ${path}`, {path});
        if (level) graph.setParent(`group ${path}`, `group ${outer[level - 1]}`);
      });
      if (outer.length) graph.setParent(String(id), `group ${outer.at(-1)}`);
    }
    for (const source of step.sources) {
      const from = shown(source);
      if (from !== id && !steps[source].hidden) graph.setEdge(String(from), String(id), {weight: 1});
    }
  });
  dagre.layout(graph);
  mirror(graph, across ? "y" : "x");
  for (const id of graph.nodes()) {  // room for the name of a group, above what is in it
    const group = graph.node(id);
    if (!group.path) continue;
    const room = graph.children(id).some(child => graph.node(child).path) ? 24 : 12;
    group.y -= room / 2; group.height += room;
  }
  return graph;
}

// Branches stand in the order in which they are joined, the first on top or at the left.
function mirror(graph, axis) {
  const at = number => graph.node(String(shown(number)))[axis];
  let order = 0;
  for (const {kind, sources} of steps)
    if (kind == "concat") order += Math.sign(at(sources.at(-1)) - at(sources[0]));
  if (order >= 0) return;
  const end = graph.graph()[axis == "x" ? "width" : "height"];
  for (const id of graph.nodes()) graph.node(id)[axis] = end - graph.node(id)[axis];
  for (const edge of graph.edges()) for (const point of graph.edge(edge).points) point[axis] = end - point[axis];
}

// ---- drawing

const svg = d3.select(root).select(".view > svg"), stage = svg.append("g");
svg.append("defs").append("marker").attr("id", "map-arrow").attr("viewBox", "0 0 8 8").attr("refX", 7).attr("refY", 4)
  .attr("markerWidth", 8).attr("markerHeight", 8).attr("markerUnits", "userSpaceOnUse").attr("orient", "auto").append("path").attr("d", "M0 0 8 4 0 8Z");
const layers = ["edges", "groups", "nodes"].map(name => stage.append("g").attr("class", name));
const zoom = d3.zoom().scaleExtent([.1, 4]).on("zoom", event => stage.attr("transform", event.transform))
  .filter(event => event.type == "wheel" ? event.ctrlKey || event.metaKey : event.touches ? event.touches.length > 1 : !event.button);
svg.call(zoom).on("dblclick.zoom", null);
let size = {left: 0, top: 0, width: 1, height: 1};
const line = d3.line().curve(d3.curveBasis), png = step => `data:image/png;base64,${step.maps}`;

function draw(focus) {
  const width = root.clientWidth || 800, across = width >= 640, graph = layout(across);
  const cards = [], groups = [];
  for (const id of graph.nodes()) {
    const node = graph.node(id);
    (node.path ? groups : cards).push(node);
  }
  const all = [...cards, ...groups], left = Math.min(...all.map(n => n.x - n.width / 2)) - 8, top = Math.min(...all.map(n => n.y - n.height / 2)) - 8;
  size = {left, top, width: Math.max(...all.map(n => n.x + n.width / 2)) + 8 - left, height: Math.max(...all.map(n => n.y + n.height / 2)) + 8 - top};
  const time = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 250;
  layers[1].selectAll("g").data(groups, g => g.path).join(enter => {
    const g = enter.append("g").attr("class", "group").attr("tabindex", 0).attr("role", "button").attr("data-path", g => g.path);
    g.append("rect"); g.append("text");
    return g;
  }).attr("aria-label", g => `Close ${g.path}`).call(g => {
    g.select("rect").attr("x", g => g.x - g.width / 2).attr("y", g => g.y - g.height / 2).attr("width", g => g.width).attr("height", g => g.height);
    g.select("text").text(g => `▾ ${g.path.split("_").at(-1)}`).attr("x", g => g.x - g.width / 2 + 7).attr("y", g => g.y - g.height / 2 + 13);
  }).on("click", (event, g) => toggle(g.path)).on("keydown", keys(g => toggle(g.path)));
  layers[0].selectAll("path").data(graph.edges().map(e => ({...e, points: graph.edge(e).points})), e => `${e.v}>${e.w}`)
    .join("path").attr("class", "edge").attr("marker-end", "url(#map-arrow)").attr("d", e => line(e.points.map(p => [p.x, p.y])));
  layers[2].selectAll("g.node").data(cards, c => c.id).join(enter => {
    const g = enter.append("g").attr("transform", c => `translate(${c.x},${c.y})`).attr("opacity", 0);
    g.each(function (c) { card(d3.select(this), c) });
    return g;
  }).attr("class", c => `node ${c.group ? "stage" : c.step.kind}`).attr("data-id", c => c.id).attr("data-name", c => c.group ? c.id : c.step.name)
    .attr("tabindex", 0).attr("role", "button").attr("aria-label", c => about(c).join(", "))
    .on("click", (event, c) => activate(c)).on("keydown", keys(activate))
    .on("mouseenter focus", (event, c) => tip(c, event.currentTarget)).on("mouseleave blur", () => tip())
    .transition().duration(time).attr("opacity", 1).attr("transform", c => `translate(${c.x},${c.y})`);
  fit(focus);
  mark();
}

function card(g, c) {
  if (c.sign) {
    g.append("circle").attr("class", "box").attr("r", 13);
    g.append("text").attr("class", "sign").text(c.sign);
    return;
  }
  g.append("rect").attr("class", "box").attr("x", -c.width / 2).attr("y", -c.height / 2).attr("width", c.width).attr("height", c.height).attr("rx", 6);
  const total = 5 * c.back, left = -(c.w + total) / 2, top = -c.height / 2 + 6;
  const paint = (k, x, y) => {
    g.append("rect").attr("class", "back").attr("x", x).attr("y", y).attr("width", c.w).attr("height", c.h);
    if (!c.step.maps) {  // words
      data.input.words.slice(0, 5).forEach((word, i) => g.append("text").attr("class", "shape").attr("y", y + 12 + 13 * i)
        .text(i == 4 && data.input.words.length > 5 ? "…" : word.length > 9 ? `${word.slice(0, 8)}…` : word));
      return;
    }
    const [w, h] = c.step.cell, n = c.step.channels.length, whole = c.step.kind == "input" && !c.text;
    const picture = whole ? [0, 0, w, h] : c.vector ? [0, 0, n, 1] : c.text ? [0, 0, n * w, h] : [k * w, 0, w, h];
    const turned = c.vector;  // a vector stands upright
    g.append("svg").attr("x", x).attr("y", y).attr("width", c.w).attr("height", c.h)
      .style("width", `${c.w}px`).style("height", `${c.h}px`).attr("viewBox", turned ? `0 0 1 ${n}` : picture.join(" ")).attr("preserveAspectRatio", "none")
      .append("image").attr("href", png(c.step)).attr("width", whole ? w : n * w).attr("height", h).attr("preserveAspectRatio", "none")
      .attr("transform", turned ? "matrix(0 1 1 0 0 0)" : null);
  };
  if (c.step.kind == "softmax") bars(g, left, top, c);
  else for (let k = c.back; k >= 0; k--) paint(k, left + 5 * k, top + 5 * (c.back - k));
  const bottom = c.height / 2;
  g.append("text").attr("y", bottom - 20).text((c.group ? "▸ " : "") + c.label);
  g.append("text").attr("class", "shape").attr("y", bottom - 7).text(c.step.kind == "input" && c.text ? many(c.step.shape[0], "word") : sizes(c.step.shape));
}
function bars(g, x, y, c) {
  const best = probabilities().sort((a, b) => b.p - a.p).slice(0, 10).sort((a, b) => a.c - b.c);
  g.append("rect").attr("class", "back").attr("x", x).attr("y", y).attr("width", c.w).attr("height", c.h);
  best.forEach(({p}, i) => g.append("rect").attr("x", x).attr("y", y + i * c.h / best.length).attr("fill", "var(--plus)")
    .attr("width", Math.max(.5, p * c.w)).attr("height", c.h / best.length - 1));
}

function about({group, members, step, id}) {
  const parts = members.map(n => steps[n]), total = key => parts.reduce((sum, s) => sum + s[key], 0);
  const field = data.input.kind == "image" && step.kind != "input" ? sight(step) : null;
  return [group ? `${id}: ${many(members.length, "layer")}` : step.label.length > 1 ? `${step.name}: ${step.label}` : step.name, sizes(step.shape),
    `${count(total("params"))} params`, `${count(total("cost"))} multiply-adds${data.input.kind == "text" ? " a word" : ""}`, ...(field ? [`sees ${field} pixels`] : [])];
}
function sight(step) {  // the largest receptive field
  const [rows, columns] = step.fields.map(text => { const f = numbers(text, Int16Array); let n = 0;
    for (let i = 0; i < f.length; i += 2) n = Math.max(n, f[i] < 0 ? 0 : f[i + 1] - f[i] + 1);
    return n; });
  return `${rows} × ${columns}`;
}
function tip(c, target) {
  const box = $(".tip");
  box.hidden = !c;
  if (!c) return;
  const [first, ...rest] = about(c);
  box.replaceChildren(h("b", {}, first), ...rest.map(text => h("div", {}, text)));
  const whole = root.getBoundingClientRect(), at = (target.querySelector(".box") || target).getBoundingClientRect();
  box.style.left = `${Math.max(4, Math.min(at.left - whole.left, whole.width - box.offsetWidth - 4))}px`;
  box.style.top = `${at.bottom - whole.top + 6}px`;
}

const keys = action => (event, d) => { if (event.key == "Enter" || event.key == " ") { event.preventDefault(); action(d) } };
function activate(c) {
  if (c.group) return toggle(c.id);
  choose({step: c.members[0], k: null});
}
function toggle(path) {
  if (!open.delete(path)) open.add(path);
  tip();
  draw(path);
  (root.querySelector(`[data-path="${CSS.escape(path)}"]`) || root.querySelector(`[data-id="${CSS.escape(path)}"]`))?.focus({preventScroll: true});
}

function fit(focus, least = root.clientWidth >= 640 ? .6 : .5) {
  const width = svg.node().clientWidth || root.clientWidth, across = root.clientWidth >= 640;
  const scale = Math.max(least, Math.min(across ? 1.25 : 1, (width - 2) / size.width, across ? 620 / size.height : 1));
  const height = Math.min(size.height * scale, across ? 620 : 3000);
  svg.style("height", `${Math.max(height, 120)}px`);
  let x = Math.max(0, (width - size.width * scale) / 2), y = Math.max(0, (height - size.height * scale) / 2);
  if (size.width * scale > width && focus !== undefined) {  // keep what was opened in sight
    const at = layers[1].selectAll("g").data().find(g => g.path == focus) || layers[2].selectAll("g.node").data().find(c => c.id == focus);
    if (at) x = Math.min(0, Math.max(width - size.width * scale, 40 - (at.x - at.width / 2 - size.left) * scale));
  }
  svg.call(zoom.transform, d3.zoomIdentity.translate(x - size.left * scale, y - size.top * scale).scale(scale));
}
function mark() {
  const id = shown(chosen.step);
  layers[2].selectAll("g.node").classed("chosen", c => c.id === id);
  layers[0].selectAll("path").classed("lit", e => e.w === String(id));
}

// ---- looking into one step

function h(tag, properties, ...children) {
  const {data: set, style, ...rest} = properties || {}, node = Object.assign(document.createElement(tag), rest);
  Object.assign(node.dataset, set);
  for (const [key, value] of Object.entries(style || {})) node.style.setProperty(key, value);
  for (const [key, value] of Object.entries(rest)) if (/^aria-|^role$|^tabindex$/.test(key)) node.setAttribute(key, value);
  node.append(...children.filter(child => child !== null && child !== undefined));
  return node;
}
const nearest = (list, n) => list.reduce((a, b) => Math.abs(b - n) < Math.abs(a - n) ? b : a);

function choose(next) {
  const step = steps[next.step];
  let {k, row, column} = {...chosen, ...next};
  if (next.k === null || k >= step.channels.length) {
    k = 0; row = undefined;
    if (step.name == outputs.name || step.kind == "softmax") k = Math.max(0, step.channels.indexOf(best()));
  }
  if (row === undefined) [row, column] = brightest(step, k);
  row = Math.min(row, step.shape[0] - 1); column = Math.min(column, step.shape[1] - 1);
  if (step.rows) { row = nearest(step.rows, row); column = nearest(step.columns, column) }
  const same = chosen.step == next.step && chosen.k == k;
  chosen = {step: next.step, k, row, column, from: next.from ?? null};
  look(same);
  mark();
}
function best() { return logits().reduce((a, b) => b[1] > a[1] ? b : a)[0] }
function brightest(step, k) {  // the position of the largest number
  const [rows, columns] = step.rows ? [step.rows, step.columns] : step.shape.slice(0, 2).map(n => [...Array(n).keys()].slice(...(n > 8 && data.input.kind == "image" ? [2, -2] : [])));
  let top = -Infinity, at = [rows[rows.length >> 1], columns[columns.length >> 1]];
  if (!step.channels.length || ["input", "embedding"].includes(step.kind)) return at;
  for (const row of rows) for (const column of columns) {
    const value = number(step, k, row, column);
    if (value > top) { top = value; at = [row, column] }
  }
  return at;
}
function number(step, k, row, column) {
  if (step.values !== undefined) return valueAt(step, row, column, step.channels[k]);
  const sum = base(step, k, termsOf(step, k, row, column));
  return following(step, k, sum).at(-1)?.[1] ?? sum;
}

function look(keep) {
  const step = steps[chosen.step], box = $(".look"), focused = keep && document.activeElement?.className;
  const text = data.input.kind == "text", facts = about({step, members: [chosen.step], group: false}).slice(1);
  box.replaceChildren(
    h("h3", {}, title(step)),
    h("p", {className: "facts"}, [...facts, step.layers.length > 1 ? `layers ${step.layers.join(", ")}` : null].filter(Boolean).join(" · ")),
    h("div", {className: `columns3${text ? " words" : ""}`}, input(step), maps(step), arithmetic(step)));
  if (keep && String(focused).includes("plane")) box.querySelector(".plane[tabindex]")?.focus({preventScroll: true});
}
function title(step) {
  if (step.kind == "softmax") return "softmax: from logits to probabilities";
  const full = [step.path.map(path => path.split("_").at(-1)).join(" › "), shortName(step)].filter(Boolean).join(" › ");
  if (step.kind == "input") return full;
  const vector = step.shape[0] * step.shape[1] == 1, c = step.channels[chosen.k];
  const unit = step.name == outputs.name && data.classes[c] !== undefined ? `${c} (${data.classes[c]})` : c;
  if (vector) return `${full}, unit ${unit}`;
  return step.shape[1] == 1 ? `${full}, filter ${c}, position ${chosen.row + 1}` : `${full}, map ${c}, row ${chosen.row}, column ${chosen.column}`;
}

function field(step) {
  return step.fields.map((text, axis) => { const f = numbers(text, Int16Array), n = 2 * (axis ? chosen.column : chosen.row); return [f[n], f[n + 1]] });
}
function input(step) {
  const [rows, columns] = field(step), first = steps[0], whole = step.kind == "input";
  if (data.input.kind == "text") {
    const lit = whole ? [-1, -1] : wordsOf(step);
    return h("div", {}, h("h4", {}, "The sentence, and the words that this number depends on"),
      h("p", {className: "sentence", data: {first: lit[0], last: lit[1]}}, ...data.input.words.flatMap((word, i) =>
        [h("span", {className: i >= lit[0] && i <= lit[1] ? "lit" : ""}, word), " "])));
  }
  const percent = ([low, high], n) => [`${100 * low / n}%`, `${100 * (high - low + 1) / n}%`];
  const [top, height] = percent(rows, first.shape[0]), [left, width] = percent(columns, first.shape[1]);
  return h("div", {}, h("h4", {}, "What it sees of the image"),
    h("div", {className: "plane", style: {"background-image": `url(${png(first)})`, "aspect-ratio": `${first.shape[1]} / ${first.shape[0]}`}},
      whole || rows[0] < 0 ? null : h("i", {className: "field", style: {top, height, left, width}, data: {rows: rows.join(), columns: columns.join()}})),
    h("p", {className: "small"}, whole ? sizes(first.shape) : rows[0] < 0 ? "Nothing: only padding." :
      `Rows ${rows[0]} to ${rows[1]}, columns ${columns[0]} to ${columns[1]}: ${rows[1] - rows[0] + 1} × ${columns[1] - columns[0] + 1} pixels.`));
}

function sprite(step, k) {
  const n = step.channels.length;
  return {"background-image": `url(${png(step)})`, "background-size": `${n * 100}% 100%`, "background-position": `${n > 1 ? 100 * k / (n - 1) : 0}% 0`};
}
function maps(step) {
  if (step.kind == "input" || step.kind == "softmax") return h("div", {});
  const [rows, columns, all] = step.shape, vector = rows * columns == 1, n = step.channels.length;
  const unit = vector ? "unit" : columns == 1 ? "filter" : "map";
  const box = h("div", {});
  box.append(h("h4", {}, vector ? "Choose a unit" : columns == 1 ? "Choose a window of words" : `Map ${step.channels[chosen.k]}: choose a pixel`));
  if (!vector) box.append(columns == 1 ? windows(step) : plane(step));
  box.append(h("div", {className: "maps"}, ...step.channels.map((c, k) => h("button", {
    type: "button", title: `${unit} ${c}`, "aria-label": `${unit} ${c}`, "aria-pressed": String(k == chosen.k), style: columns == 1 && !vector ? {...sprite(step, k)} : sprite(step, k),
    data: {channel: c}, onclick: () => choose({step: chosen.step, k})}))));
  if (n < all) box.append(h("p", {className: "small"}, `${n} of ${all} ${unit}s: those that ${step.best ? "add most to the predicted class" : vector ? step.name == outputs.name ? "are largest" : "are farthest from 0" : "vary most"}.`));
  if (step.rows && step.rows.length * step.columns.length < rows * columns)
    box.append(h("p", {className: "small"}, `The page keeps exact numbers at the ${step.rows.length * step.columns.length} marked of ${count(rows * columns)} positions; a click chooses the nearest.`));
  return box;
}
function plane(step) {
  const [rows, columns] = step.shape, put = (event, box) => {
    const at = box.getBoundingClientRect();
    choose({step: chosen.step, k: chosen.k, row: Math.max(0, Math.floor((event.clientY - at.top) / at.height * rows)),
            column: Math.max(0, Math.floor((event.clientX - at.left) / at.width * columns))});
  };
  const box = h("div", {className: "plane", tabindex: 0, role: "application", "aria-label": "Map: arrow keys move the chosen pixel",
    style: {...sprite(step, chosen.k), "aspect-ratio": `${columns} / ${rows}`}, onclick: event => put(event, box),
    onkeydown: event => {
      const by = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key];
      if (!by) return;
      event.preventDefault();
      const move = (list, at, n, d) => list ? list[Math.max(0, Math.min(list.length - 1, list.indexOf(at) + d))] : Math.max(0, Math.min(n - 1, at + d));
      choose({step: chosen.step, k: chosen.k, row: move(step.rows, chosen.row, rows, by[0]), column: move(step.columns, chosen.column, columns, by[1])});
    }});
  if (step.rows && step.rows.length * step.columns.length < rows * columns)
    for (const r of step.rows) for (const c of step.columns)
      box.append(h("i", {className: "dot", style: {top: `${100 * (r + .5) / rows}%`, left: `${100 * (c + .5) / columns}%`}}));
  box.append(h("i", {className: "at", style: {top: `${100 * chosen.row / rows}%`, left: `${100 * chosen.column / columns}%`, height: `${100 / rows}%`, width: `${100 / columns}%`}}));
  return box;
}

// ---- words

// The words under a number; of a maximum, those under its winner.
function wordsOf(step, row = chosen.row, channel = step.channels[chosen.k]) {
  let each = step;
  for (let walk = 0; walk < 20; walk++) {
    if (each.kind == "max" && each.shape[0] == 1) {
      const source = steps[each.sources[0]];
      let top = -Infinity;
      for (let r = 0; r < source.shape[0]; r++) { const v = valueAt(source, r, 0, channel); if (v > top) { top = v; row = r } }
      each = source;
    } else if (each.kind == "concat") {
      let n = 0;
      while (channel >= steps[each.sources[n]].shape[2]) channel -= steps[each.sources[n++]].shape[2];
      each = steps[each.sources[n]];
    } else break;
  }
  const f = numbers(each.fields[0], Int16Array);
  return [f[2 * row], f[2 * row + 1]];
}
const between = ([low, high]) => low < 0 ? "(padding)" : data.input.words.slice(low, high + 1).join(" ");
function phrase(step, row) {
  const f = numbers(step.fields[0], Int16Array);
  return between([f[2 * row], f[2 * row + 1]]);
}
function windows(step) {
  const values = [...Array(step.shape[0]).keys()].map(row => number(step, chosen.k, row, 0)), top = Math.max(1e-9, ...values.map(Math.abs));
  return h("div", {className: "windows"}, ...values.map((value, row) => h("button", {
    type: "button", "aria-pressed": String(row == chosen.row), data: {row}, onclick: () => choose({step: chosen.step, k: chosen.k, row, column: 0})},
    h("span", {}, phrase(step, row)), h("em", {style: {width: `${100 * Math.abs(value) / top}%`, ...(value < 0 ? {background: "var(--minus)"} : {})}}), h("b", {}, show(value)))));
}

// ---- the arithmetic of the chosen number

function go(number, row, column, channel) {  // to a number of a source
  const step = steps[number], k = step.channels.indexOf(channel);
  if (k < 0 || row < 0 || column < 0 || row >= step.shape[0] || column >= step.shape[1]) return null;
  return () => {
    for (const path of step.path) open.add(path);
    choose({step: number, k, row, column});
    draw(number);
  };
}
function place(step, index) {  // of a term of a window: [row, column, channel] in the source
  const g = step.geometry, c = index % g.share, tap = (index - c) / g.share, j = tap % g.kernel[1], i = (tap - j) / g.kernel[1];
  return [chosen.row * g.strides[0] - g.pad[0] + i * g.dilation[0], chosen.column * g.strides[1] - g.pad[1] + j * g.dilation[1], g.first[chosen.k] + c, i, j, c];
}
const tr = (cells, className, link) => h("tr", {className: `${className || ""}${link ? " link" : ""}`, ...(link ? {onclick: link, tabindex: 0, onkeydown: event => keys(link)(event)} : {})}, ...cells.map(cell => h("td", {}, cell)));

function arithmetic(step) {
  const box = h("div", {className: "arithmetic"}, h("h4", {}, "How this number is computed"));
  if (step.kind == "softmax") { box.append(...softmax()); return box }
  if (step.kind == "input") {
    box.append(h("p", {}, data.input.kind == "text" ? "The words, as numbers of the vocabulary." : "The pixels, from 0 to 255."));
    return box;
  }
  const found = termsOf(step, chosen.k, chosen.row, chosen.column), sum = base(step, chosen.k, found);
  const lines = following(step, chosen.k, sum), table = h("tbody", {});
  box.append(...(explain[step.kind] || explain.join)(step, found, table, sum));
  lines.forEach(([text, value], i) => table.append(tr([text, `= ${show(value)}`], i == lines.length - 1 ? "result" : "")));
  if (!lines.length) table.lastElementChild?.classList.add("result");
  const value = lines.at(-1)?.[1] ?? sum;
  box.append(h("table", {className: "sum", data: {value: String(value)}}, table));
  return box;
}
const unitName = data.input.kind == "text" ? "filter" : "map";
const sourceName = number => `${steps[number].path.map(p => p.split("_").at(-1)).join(" ")} ${shortName(steps[number])}`.trim();

const explain = {
  conv(step, {terms, rest, count: all}, table, sum) {
    const g = step.geometry, parts = [], source = step.sources[0], area = g.kernel[0] * g.kernel[1];
    const dense = step.options.dense && area == 1;
    parts.push(h("p", {className: "small"}, dense ? `The sum of ${count(all)} products: input × weight.` :
      `The sum of ${count(all)} products: patch ${g.kernel.join(" × ")} × ${g.share} of ${sourceName(source)} times the kernel${step.options.separable ? " (depthwise × pointwise)" : ""}.`));
    if (data.exact && area > 1 && data.input.kind == "image") parts.push(...grids(step, terms));
    if (data.input.kind == "text" && area > 1) parts.push(perWord(step, terms));
    const order = terms.map((t, i) => ({...t, product: t.x * t.w, i})).sort((a, b) => Math.abs(b.product) - Math.abs(a.product)).slice(0, 9);
    for (const t of order) {
      const [row, column, channel] = place(step, t.index);
      const where = data.input.kind == "text" && area > 1 ? `${data.input.words[numbers(steps[source].fields[0], Int16Array)[2 * row]] ?? "(padding)"} [${channel}]` :
        data.input.kind == "text" && ["max", "concat"].includes(steps[source].kind) ? `“${between(wordsOf(steps[source], 0, channel))}”` :
        steps[source].shape[0] * steps[source].shape[1] == 1 ? `unit ${channel}` : `map ${channel} (${row}, ${column})`;
      table.append(tr([`${where}: ${show(t.x)} × ${show(t.w)}`, show(t.product)], "product", go(source, row, column, channel)));
    }
    const others = sum - order.reduce((total, t) => total + t.product, 0);
    if (all > order.length) table.append(tr([`the ${count(all - order.length)} other products`, show(others)], "others"));
    table.append(tr(["sum", show(sum)], "total"));
    return parts;
  },
  avg(step, {terms, rest, count: all}, table, sum) {
    const shownTerms = terms.slice(0, 9), parts = [h("p", {className: "small"}, `The mean of ${count(all)} numbers of ${unitName} ${step.geometry.first[chosen.k]} of ${sourceName(step.sources[0])}.`)];
    if (data.exact) parts.push(window2d(step, terms, null));
    else for (const t of shownTerms) table.append(tr([`(${place(step, t.index).slice(0, 2).join(", ")}): ${show(t.x)} / ${count(all)}`, show(t.x * t.w)], "product"));
    if (!data.exact && all > shownTerms.length) table.append(tr([`the ${count(all - shownTerms.length)} others`, show(rest)], "others"));
    table.append(tr([data.exact ? `sum ${show(sum * all)} / ${count(all)}` : "mean", show(sum)], "total"));
    return parts;
  },
  max(step, {terms, count: all}, table, sum) {
    const winner = terms.find(t => t.x === sum), [row, column] = place(step, winner.index), source = step.sources[0], channel = step.geometry.first[chosen.k];
    const parts = [h("p", {className: "small"}, `The largest of ${count(all)} numbers of ${unitName} ${channel} of ${sourceName(source)}.`)];
    if (data.input.kind == "image") parts.push(window2d(step, terms, winner));
    const where = data.input.kind == "text" ? `“${phrase(steps[source], row)}”` : `row ${row}, column ${column}`;
    table.append(tr([`maximum, at ${where}`, show(sum)], "total", go(source, row, column, channel)));
    return parts;
  },
  concat(step, {terms}, table, sum) {
    const number = step.sources[terms[0].index];
    const before = step.sources.slice(0, terms[0].index).reduce((n, s) => n + steps[s].shape[2], 0), channel = step.channels[chosen.k] - before;
    table.append(tr([`${unitName} ${channel} of ${sourceName(number)}`, show(sum)], "total", go(number, chosen.row, chosen.column, channel)));
    return [h("p", {className: "small"}, `A copy: ${many(step.sources.length, "input")} stand side by side (${step.sources.map(s => `${sourceName(s)} ${steps[s].shape[2]}`).join(", ")}).`)];
  },
  lrn(step, {terms}, table, sum) {
    const {k, alpha, beta} = step.options, squares = terms.reduce((total, t) => total + t.x * t.x, 0), x = terms.find(t => t.index == step.channels[chosen.k]).x;
    for (const t of terms) table.append(tr([`map ${t.index}: ${show(t.x)}²`, show(t.x * t.x)], "product"));
    table.append(tr(["sum of squares", show(squares)], "total"), tr([`${show(x)} / (${k} + ${alpha} · ${show(squares)})^${beta}`, show(sum)], "result"));
    return [h("p", {className: "small"}, `Divided by the energy of ${terms.length} neighbouring maps of ${sourceName(step.sources[0])}.`)];
  },
  move(step, {terms}, table, sum) {
    const source = step.sources[0], [, w, c] = steps[source].shape, index = terms[0].index, channel = index % c, column = (index - channel) / c % w, row = Math.floor(index / (w * c));
    table.append(tr([index < 0 ? "a zero of the padding" : `map ${channel} (${row}, ${column}) of ${sourceName(source)}`, show(sum)], "total", index < 0 ? null : go(source, row, column, channel)));
    return [h("p", {className: "small"}, "A copy: the numbers only change places.")];
  },
  same(step, {terms}, table, sum) {
    const source = step.sources[0], first = steps[source].kind == "input";
    table.append(tr([first ? `pixel (${chosen.row}, ${chosen.column}), channel ${step.channels[chosen.k]}` : `the same position of ${sourceName(source)}`, show(sum)], "total",
      first ? null : go(source, chosen.row, chosen.column, step.channels[chosen.k])));
    return [];
  },
  embedding(step, {terms}, table, sum) {
    table.append(tr([`number ${step.channels[chosen.k]} of the vector of “${data.input.words[chosen.row] ?? ""}”`, show(sum)], "total"));
    return [h("p", {className: "small"}, "Looked up in a table: one row for each word.")];
  },
  other(step, {terms}, table, sum) {
    table.append(tr(["the number itself", show(sum)], "total"));
    return [h("p", {className: "small"}, `The arithmetic of ${step.layers[0]} is not shown.`)];
  },
  join(step, {terms}, table, sum) {
    const sign = {add: "+", multiply: "×", subtract: "−"}[step.kind] || "and";
    terms.forEach((t, i) => {
      const number = step.sources[t.index], source = steps[number], word = source.hidden ? `a mask: ${t.x ? "a word is there" : "no word is there"}` : sourceName(number);
      table.append(tr([`${i ? `${sign} ` : ""}${word}`, show(t.x)], "product",
        source.hidden ? null : go(number, Math.min(chosen.row, source.shape[0] - 1), Math.min(chosen.column, source.shape[1] - 1), Math.min(step.channels[chosen.k], source.shape[2] - 1))));
    });
    const word = {add: "sum", multiply: "product", average: "mean", subtract: "difference"}[step.kind] || step.kind;
    table.append(tr([word, show(sum)], "total"));
    return [h("p", {className: "small"}, `The ${word} of the same position of ${many(step.sources.length, "input")}.`)];
  }};

function tint(value, top) { return `color-mix(in srgb, var(${value < 0 ? "--minus" : "--plus"}) ${Math.round(55 * Math.min(1, Math.abs(value) / (top || 1)))}%, var(--panel))` }
function cells(values, width, {links, strong} = {}) {
  const top = Math.max(1e-12, ...values.map(v => Math.abs(v ?? 0))), body = h("tbody", {});
  const short = v => (Math.abs(v) >= 100 ? v.toFixed(0) : v.toFixed(2)).replace(/^-0.00$/, "0.00").replace(/^(-?)0\./, "$1.").replace("-", "−");
  for (let i = 0; i < values.length; i += width) body.append(h("tr", {}, ...values.slice(i, i + width).map((v, j) => {
    const link = links?.[i + j];
    return h("td", {className: link ? "link" : "", onclick: link, style: v === null ? {} : {background: tint(v, top), ...(strong === i + j ? {outline: "2px solid var(--patch)"} : {})}, title: v === null ? "outside" : show(v)},
      v === null ? "" : short(v));
  })));
  return h("table", {className: `grid${width > 4 ? " tight" : ""}`}, body);
}
function grids(step, terms) {  // patch x kernel of one input map
  const g = step.geometry, area = g.kernel[0] * g.kernel[1], sums = Array(g.share).fill(0);
  if (area > 81) return [];
  for (const t of terms) sums[t.index % g.share] += t.x * t.w;
  const order = sums.map((s, c) => c).sort((a, b) => Math.abs(sums[b]) - Math.abs(sums[a])), from = chosen.from ?? order[0];
  const picked = terms.filter(t => t.index % g.share == from), source = step.sources[0];
  const links = picked.map(t => go(source, ...place(step, t.index).slice(0, 3)));
  const parts = [];
  if (g.share > 1) parts.push(h("div", {className: "from"}, ...order.slice(0, 8).map(c => h("button", {type: "button", "aria-pressed": String(c == from),
    onclick: () => { chosen.from = c; look(true) }}, `map ${g.first[chosen.k] + c}: ${sums[c].toFixed(3).replace("-", "−")}`))));
  const after = (sign, value) => h("div", {className: "grids"}, h("span", {className: "operator"}, sign), cells(picked.map(value), g.kernel[1]));
  parts.push(h("div", {className: "grids"}, cells(picked.map(t => t.x), g.kernel[1], {links}), after("×", t => t.w), after("=", t => t.x * t.w)));
  return parts;
}
function window2d(step, terms, winner) {
  const g = step.geometry, area = g.kernel[0] * g.kernel[1], values = Array(area).fill(null), links = [];
  if (area > 81 || terms.length < Math.min(area, 9) && !step.options.same) return null;
  if (area > 9 && !data.exact) return null;
  for (const t of terms) {
    const [row, column, channel, i, j] = place(step, t.index);
    values[i * g.kernel[1] + j] = t.x; links[i * g.kernel[1] + j] = go(step.sources[0], row, column, channel);
  }
  return h("div", {className: "grids"}, cells(values, g.kernel[1], {links, strong: winner && Math.floor(winner.index)}));
}
function perWord(step, terms) {  // what each word of a window adds
  const g = step.geometry, source = steps[step.sources[0]], sums = Array(g.kernel[0]).fill(0), words = [];
  for (const t of terms) { const [row, , , i] = place(step, t.index); sums[i] += t.x * t.w; words[i] = data.input.words[row] !== undefined && row >= 0 && row < source.shape[0] ? data.input.words[row] : "(padding)" }
  return h("table", {className: "sum perword"}, h("tbody", {}, ...words.map((word, i) => tr([`${word}: its vector · row ${i + 1} of the kernel`, show(sums[i])]))));
}

function probabilities() {
  const z = logits(), top = Math.max(...z.map(([, v]) => v)), all = z.reduce((sum, [, v]) => sum + Math.exp(v - top), 0);
  return z.map(([c, v]) => ({c, z: v, e: Math.exp(v - top), p: Math.exp(v - top) / all, top, all}));
}
function softmax() {
  const rows = probabilities().sort((a, b) => b.p - a.p).slice(0, 10), {top, all} = rows[0];
  return [h("p", {className: "small"}, `p = exp(z − ${show(top)}) / ${show(all)}: the largest logit is subtracted, and the sum is over all ${outputs.shape[2]} classes.`),
    h("div", {className: "wide"}, h("table", {className: "softmax"}, h("thead", {}, h("tr", {}, ...["class", "logit z", "exp(z − max)", "probability"].map(text => h("th", {}, text)))),
      h("tbody", {}, ...rows.map(({c, z, e, p}) => tr([data.classes[c], show(z), show(e), show(p)], "", go(data.output, 0, 0, c))))))];
}

// ---- start

root.querySelector(".bar").addEventListener("click", event => {
  const act = event.target.dataset.do;
  if (act == "open") { for (const path of byPath.keys()) open.add(path); draw() }
  if (act == "close") { open.clear(); draw() }
  if (act == "in") zoom.scaleBy(svg, 1.3);
  if (act == "out") zoom.scaleBy(svg, 1 / 1.3);
  if (act == "fit") fit(undefined, .05);
});
let last = 0, printing = false;
new ResizeObserver(([entry]) => {
  const width = Math.round(entry.contentRect.width);
  if (width && width != last && !printing) { last = width; draw() }
}).observe(root);
addEventListener("beforeprint", () => {
  printing = true;
  layers[2].selectAll("g.node").interrupt().attr("opacity", 1).attr("transform", c => `translate(${c.x},${c.y})`);
  svg.attr("viewBox", `${size.left} ${size.top} ${size.width} ${size.height}`).style("height", "auto");
  stage.attr("transform", null);
});
addEventListener("afterprint", () => { printing = false; svg.attr("viewBox", null); fit() });
const start = steps.findIndex(step => step.kind == "conv");
draw();
choose({step: start < 0 ? 0 : start, k: null});
root.dataset.ready = "yes";
})();
