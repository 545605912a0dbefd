"use strict";  // what the charts of the pages share: elements, and a tooltip

function make(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

const percent = p => `${(100 * p).toFixed(1)} %`;

// The bars of the largest probabilities: [[name, probability]]; the name `truth` is marked.
function bars(rows, truth) {
  return rows.map(([name, p]) => {
    const fill = make("div", {className: "fill"});
    fill.style.width = `${100 * p}%`;
    return make("div", {className: name === truth ? "class true" : "class", title: name},
                make("span", {textContent: name}), make("div", {className: "track"}, fill),
                make("b", {textContent: percent(p)}));
  });
}

const tip = make("div", {id: "tip", hidden: true});
tip.setAttribute("role", "status");
document.body.append(tip);

// Show the nodes beside a point of the window.
function showTip(x, y, ...nodes) {
  tip.replaceChildren(...nodes);
  tip.hidden = false;
  const {width, height} = tip.getBoundingClientRect();
  const left = x + 14 + width > innerWidth ? x - 14 - width : x + 14;
  tip.style.left = `${Math.max(4, Math.min(left, innerWidth - width - 4))}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - height - 4))}px`;
}
function hideTip() { tip.hidden = true }
addEventListener("keydown", event => { if (event.key === "Escape") hideTip() });

// Call `draw(svg, width)` for an svg element as wide as `parent`, now and when its width changes.
function chart(parent, label, draw) {
  const svg = d3.select(parent).append("svg").attr("class", "chart").attr("role", "group")
    .attr("aria-label", label);
  let width = 0;
  const redraw = () => {
    const now = Math.round(parent.clientWidth);
    if (!now || now === width) return;
    width = now;
    svg.selectAll("*").remove();
    draw(svg, width);
  };
  redraw();
  new ResizeObserver(redraw).observe(parent);
}
