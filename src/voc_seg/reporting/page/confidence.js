// How far the probabilities can be trusted: reliability diagram and risk-coverage curve.

function chart(title, note, height, most, paint) {
  const figure = make("figure", {}, make("figcaption", {}, make("h3", {}, title)), make("p", { class: "note" }, note));
  const plot = () => {
    const width = figure.clientWidth, left = 46, right = 10, above = 10, below = 40;
    const x = (share) => left + share * (width - left - right);
    const y = (value) => height - below - (value / most) * (height - above - below);
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": title });
    for (const tick of ticks(most, 5))
      svg.append(draw("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }),
        draw("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, short(100 * tick)));
    for (const tick of [0, 0.25, 0.5, 0.75, 1])
      svg.append(draw("text", { x: x(tick), y: height - below + 18, "text-anchor": tick ? (tick < 1 ? "middle" : "end") :
        "start" }, String(100 * tick)));
    paint(svg, x, y, height - 4, left);
    return svg;
  };
  keepDrawn(figure, plot);
  return figure;
}

function showConfidence() {
  if (!data.confidence) {
    find("confidence").remove();
    document.querySelector("nav a[href='#confidence']").remove();
    return;
  }
  const { reliability, risk } = data.confidence;
  const total = reliability.reduce((sum, bin) => sum + bin.pixels, 0) || 1;
  find("confidence-note").textContent =
    `Expected calibration error ${score(metrics.ece)}, near boundaries ${score(metrics.ece_outline)}, class-wise ` +
    `${score(metrics.class_ece)}; area under the risk-coverage curve ${score(metrics.aurc)}; ` +
    "of all four, 0 is best. The confidence is the largest class probability of a pixel" +
    ((metrics.temperature ?? 1) === 1 ? "." : `, corrected with the temperature ${metrics.temperature}` +
      (metrics.split === "val" ? ", which was fitted to these images." : "."));
  find("confidence-charts").append(
    chart("Accuracy by confidence, %", "A calibrated network follows the dashed line; orange: overconfident. Bars of few pixels say little.", 260, 1,
      (svg, x, y, bottom, left) => {
        for (const { low, high, pixels, confidence, accuracy } of reliability) {
          if (!pixels) continue;
          const bar = (from, to, name) => draw("rect", { class: name, x: x(low) + 1, width: x(high) - x(low) - 2,
            y: y(Math.max(from, to)), height: Math.abs(y(from) - y(to)) });
          const group = draw("g");
          group.append(bar(0, accuracy, "right"), bar(accuracy, Math.max(accuracy, confidence), "gap"), draw("title", {},
            `confidence ${percent(confidence)} %, accuracy ${percent(accuracy)} %, ${percent(pixels / total)} % of pixels`));
          svg.append(group);
        }
        svg.append(draw("line", { class: "diagonal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
          draw("text", { x: left, y: bottom }, "confidence, %"));
      }),
    chart("Wrong pixels among those kept, %", "Keep only the most confident pixels, and fewer are wrong.", 260,
      1.08 * Math.max(...risk.map(([, wrong]) => wrong ?? 0), 0.001), (svg, x, y, bottom, left) => {
        const line = risk.filter(([, wrong]) => wrong !== null).map(([kept, wrong]) => `${x(kept)},${y(wrong)}`).join(" ");
        const group = draw("g", { style: "--colour:var(--blue)" });
        group.append(draw("polyline", { class: "curve", points: line }));
        svg.append(group, draw("text", { x: left, y: bottom }, "pixels kept, %"));
      }));
}

showConfidence();
