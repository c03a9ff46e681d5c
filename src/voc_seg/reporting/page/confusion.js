// The confusion matrix and the classes most often confused.

function showConfusion() {
  const totals = data.confusion.map((row) => row.reduce((sum, count) => sum + count, 0));
  const head = make("tr", {}, make("td", { style: "background:none" }));
  for (const { name } of classes) head.append(make("th", { scope: "col", title: name }, make("span", {}, name)));
  const body = make("tbody");
  const pairs = [];
  for (const [row, counts] of data.confusion.entries()) {
    const line = make("tr", {}, make("th", { scope: "row", title: classes[row].name }, classes[row].name));
    if (!totals[row]) {
      line.append(make("td", { class: "never", colspan: classes.length }, make("span", {}, "never true")));
    } else {
      for (const [column, count] of counts.entries()) {
        const share = count / totals[row];
        const text = share >= 0.01 ? String(Math.round(100 * share)) : "";
        const shown = make("td", { "data-row": row, "data-column": column }, text);
        // A square-root scale, or the interesting confusions of a few per cent would look white.
        if (share > 0) shown.style.setProperty("--heat-share", Math.sqrt(share).toFixed(3));
        if (share > 0.5) shown.classList.add("strong");
        if (row === column) shown.classList.add("right");
        else if (share > 0) pairs.push([share, row, column]);
        line.append(shown);
      }
    }
    body.append(line);
  }
  find("matrix").style.setProperty("--cell", `${Math.min(64, Math.max(27, Math.round(680 / classes.length)))}px`);
  find("matrix").append(make("table", {}, make("thead", {}, head), body));

  const showCell = (event) => {
    const { row, column } = event.target.dataset;
    if (row === undefined) return;
    const count = data.confusion[row][column];
    const verb = row === column ? "found" : `predicted as ${classes[column].name}`;
    const share = `${percent(count / totals[row])} % of its ${whole(totals[row])} pixels (${whole(count)})`;
    find("cell").textContent = `${classes[row].name} ${verb}: ${share}`;
  };
  for (const name of ["pointerover", "click"]) body.addEventListener(name, showCell);

  pairs.sort((a, b) => b[0] - a[0]);
  for (const [share, row, column] of pairs.slice(0, 12)) {
    find("confusions").append(make("li", {},
      make("span", {}, `${classes[row].name} → ${classes[column].name}`), make("span", {}, `${percent(share)} %`)));
  }
  if (!pairs.length) find("confusions").append(make("li", {}, "none"));
}

showConfusion();
