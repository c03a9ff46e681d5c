"use strict";

// All data enters the page as text nodes and attributes, so no name or id can become markup.
const data = JSON.parse(document.getElementById("data").textContent);
const { metrics, baseline, classes } = data;
const find = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function draw(tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

const score = (value) => (value === null ? "absent" : value.toFixed(3));
const percent = (value) => (value === null ? "–" : (100 * value).toFixed(1));
const isNumber = (value) => value !== null && value !== undefined;
const whole = (value) => value.toLocaleString("en");
const short = (value) => (value === null ? "–" : String(Number(value.toPrecision(4))));
const plural = (count, word) => `${whole(count)} ${word}${count === 1 ? "" : "s"}`;

function track(value, marks, [low, high] = [null, null]) {
  const bar = make("div", { class: "track", "aria-hidden": "true" });
  if (value !== null) bar.append(make("i", { style: `width:${100 * value}%` }));
  if (isNumber(low)) bar.append(make("s", { style: `left:${100 * low}%;width:${100 * (high - low)}%` }));
  for (const mark of marks) if (mark !== null) bar.append(make("b", { style: `left:${100 * mark}%` }));
  return bar;
}

function swatch(colour) {
  return make("span", { class: "swatch", style: `background:${colour}`, "aria-hidden": "true" });
}

// Draw the chart of a figure, and again whenever its width changes; plot returns the svg.
function keepDrawn(figure, plot) {
  let drawn = 0;
  new ResizeObserver(() => {
    if (figure.clientWidth === drawn) return;
    drawn = figure.clientWidth;
    const svg = plot();
    figure.querySelector("svg")?.remove();
    figure.append(svg);
  }).observe(figure);
}
