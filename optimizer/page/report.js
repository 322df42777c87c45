"use strict";
// Draws the charts, sorts and finds in the tables, gives them as CSV. Everything it needs is in the page.
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const config = { displaylogo: false, responsive: false, modeBarButtonsToRemove: ["lasso2d", "select2d", "sendDataToCloud"] };
  const printing = { on: false };
  const PAPER = 690, TALL = 900; // px of an A4 page between its margins

  const ink = (name) => (printing.on ? { "--ink": "#000", "--line": "#bbb", "--back": "#fff" }[name]
    : getComputedStyle(document.documentElement).getPropertyValue(name).trim());

  function themed(figure, width) {
    const layout = JSON.parse(JSON.stringify(figure.layout));
    layout.width = width;
    if (printing.on) layout.height = Math.min(layout.height, TALL);
    layout.font = { ...layout.font, color: ink("--ink"), family: "system-ui, -apple-system, Segoe UI, Roboto, Arial, sans-serif" };
    for (const axis of ["xaxis", "yaxis"]) {
      layout[axis] = { ...layout[axis], gridcolor: ink("--line"), zerolinecolor: ink("--line"), linecolor: ink("--line") };
    }
    layout.hoverlabel = { bgcolor: ink("--back"), bordercolor: ink("--line"), font: { color: ink("--ink") } };
    if (width < 480) layout.font.size = 10;
    return layout;
  }

  const keyOf = (figure) => [...figure.querySelectorAll(".choices select")].map((select) => select.value).join("|");

  function draw(figure) {
    const chart = charts[figure.dataset.chart], key = keyOf(figure), plot = figure.querySelector(".plot");
    const drawn = chart.figures[key];
    figure.querySelector(".caption").textContent = chart.captions[key] || "";
    if (drawn) {
      const data = JSON.parse(JSON.stringify(drawn.data));
      for (const trace of data) if (trace.type === "sankey") trace.textfont = { color: ink("--ink"), size: plot.clientWidth < 480 ? 9 : 12 };
      Plotly.react(plot, data, themed(drawn, printing.on ? PAPER : plot.clientWidth), config);
    } else {
      Plotly.purge(plot);
      plot.textContent = "Nothing to show for this choice.";
    }
    plot.style.minHeight = "";
    figure.dataset.drawn = "yes";
  }

  function choose(figure) {
    const parts = keyOf(figure).split("|"), table = figure.querySelector(".table");
    for (const row of table.querySelectorAll("tbody tr[data-key]")) {
      const own = row.dataset.key.split("|");
      row.dataset.out = own.every((part, at) => part === "*" || part === parts[at]) ? "" : "yes";
    }
    show(table);
  }

  // Rows that the chart's choice and the search leave.
  function show(box) {
    const find = box.querySelector(".find"), wanted = find ? find.value.trim().toLowerCase() : "";
    let count = 0;
    for (const row of box.querySelectorAll("tbody tr")) {
      row.hidden = row.dataset.out === "yes" || (wanted !== "" && !row.textContent.toLowerCase().includes(wanted));
      if (!row.hidden) count += 1;
    }
    box.querySelector(".count").textContent = `${count} row${count === 1 ? "" : "s"}`;
  }

  const valueOf = (cell) => (cell.dataset.v !== undefined ? cell.dataset.v : cell.textContent.trim());

  function sort(head) {
    const table = head.closest("table"), at = head.cellIndex, body = table.tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending", numeric = head.classList.contains("n");
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const compare = numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, "en", { numeric: true });
    const rows = [...body.rows].map((row) => [valueOf(row.cells[at]), row]);
    const given = rows.filter(([value]) => value !== ""), blank = rows.filter(([value]) => value === "");
    given.sort(([a], [b]) => (down ? -1 : 1) * (numeric ? compare(Number(a), Number(b)) : compare(a, b)));
    body.append(...given.map(([, row]) => row), ...blank.map(([, row]) => row));
  }

  // Numbers to the last digit; text that a spreadsheet would take for a formula gets a quote before it.
  function csv(box) {
    const quote = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const safe = (text) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text);
    const heads = [...box.querySelectorAll("thead th")].map((head) => quote(safe(head.textContent.trim())));
    const lines = [heads.join(",")];
    for (const row of box.querySelectorAll("tbody tr")) {
      if (!row.hidden) lines.push([...row.cells].map((cell) => quote(cell.classList.contains("n") ? valueOf(cell) : safe(valueOf(cell)))).join(","));
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
    link.download = box.dataset.name.replace(/[^\w.-]+/g, "_") + ".csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  for (const box of document.querySelectorAll(".table")) {
    box.querySelector(".csv").addEventListener("click", () => csv(box));
    box.querySelector(".find")?.addEventListener("input", () => show(box));
    for (const head of box.querySelectorAll("thead th")) head.querySelector("button").addEventListener("click", () => sort(head));
  }

  const figures = [...document.querySelectorAll("figure.chart")];
  for (const figure of figures) {
    choose(figure);
    const drawn = charts[figure.dataset.chart].figures[keyOf(figure)];
    if (drawn) figure.querySelector(".plot").style.minHeight = `${drawn.layout.height}px`; // until it is drawn
    for (const select of figure.querySelectorAll("select")) {
      select.addEventListener("change", () => { choose(figure); draw(figure); });
    }
  }
  // A chart is drawn when it comes near the window, all of them before printing.
  const near = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) if (isIntersecting && target.dataset.drawn !== "yes") draw(target);
  }, { rootMargin: "600px" });
  figures.forEach((figure) => near.observe(figure));
  const again = () => { for (const figure of figures) if (figure.dataset.drawn === "yes") draw(figure); };
  let width = window.innerWidth, waiting = 0;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width || printing.on) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(again, 150);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  const paper = (on) => { if (printing.on !== on) { printing.on = on; figures.forEach(draw); } };
  window.addEventListener("beforeprint", () => paper(true));
  window.addEventListener("afterprint", () => paper(false));
  matchMedia("print").addEventListener("change", (print) => paper(print.matches));
})();
