"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);

  // Tables: a click on a head sorts by its column, a second click turns the order round.
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    const sort = (column) => {
      const head = heads[column];
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => {
        const cell = row.cells[column];
        if (cell.dataset.v !== undefined) return Number(cell.dataset.v.replace("inf", "Infinity"));
        return cell.textContent;
      };
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === ""); // what is missing comes last
        const sign = typeof x === "number" && typeof y === "number"
          ? (x > y) - (x < y) : String(x).localeCompare(String(y));
        return up ? sign : -sign;
      };
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort(order));
    };
    heads.forEach((head, column) => {
      head.firstChild.addEventListener("click", () => sort(column));
      head.firstChild.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        sort(column);
      });
    });
  }

  // Wide figures take the whole row.
  for (const image of document.querySelectorAll("figure img")) {
    const place = () => {
      if (image.naturalWidth > 1.9 * image.naturalHeight) image.parentNode.classList.add("full");
    };
    image.complete ? place() : image.addEventListener("load", place);
  }

  if (!window.Plotly) return;
  const WORDS = {
    loss: "loss f(x)", gap: "gap f(x) − f*", grad_norm: "gradient norm |g|", step_size: "step size η",
  };
  const OKABE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
  const DASH = ["solid", "dash"];
  const STATUS = {
    converged: ["#009E73", "circle"], budget: ["#E69F00", "square"], diverged: ["#D55E00", "x"],
  };
  const SCALE = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [230, 205, 40]];
  const along = (t) => {
    const at = Math.min(t * (SCALE.length - 1), SCALE.length - 1.001), low = Math.floor(at);
    return "rgb(" + SCALE[low].map((v, i) => Math.round(v + (at - low) * (SCALE[low + 1][i] - v))) + ")";
  };
  const FEW = 2 * OKABE.length; // lines that colours and dashes tell apart; more are shaded by rank
  const colour = (i, n) => (n <= FEW ? OKABE[i % OKABE.length] : along(i / (n - 1)));
  const dash = (i, n) => (n <= FEW ? DASH[Math.floor(i / OKABE.length)] : "solid");
  const faint = (c, a) => c.startsWith("#")
    ? `rgba(${[1, 3, 5].map((k) => parseInt(c.slice(k, k + 2), 16))},${a})`
    : c.replace("rgb", "rgba").replace(")", `,${a})`);
  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const config = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  const printing = window.matchMedia("print");

  const layout = (x, y) => {
    const [ink, soft, line] = ["--ink", "--soft", "--line"].map(variable);
    const axis = {
      gridcolor: line, linecolor: soft, zeroline: false, ticks: "outside", tickcolor: soft,
      exponentformat: "power", showline: true, automargin: true,
    };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      font: { family: "system-ui, Segoe UI, Roboto, DejaVu Sans, sans-serif", size: 12, color: ink },
      margin: { l: 64, r: 12, t: 12, b: 48 }, ...(printing.matches ? { width: 680, height: 340 } : {}),
      legend: { bgcolor: "rgba(0,0,0,0)", font: { size: 11 } },
      xaxis: { ...axis, ...x }, yaxis: { ...axis, ...y },
    };
  };
  // A log axis that spans less than two decades needs plain ticks, one of many decades few.
  const logAxis = (title, values, log) => {
    if (!log) return { title: { text: title } };
    const decades = Math.log10(Math.max(...values) / Math.min(...values));
    return { title: { text: title }, type: "log", ...(decades > 1.5 ? { dtick: Math.ceil(decades / 8) } : { nticks: 6 }) };
  };
  const positive = (values) => values.length > 0 && values.every((v) => v > 0);
  const choose = (select, options) => {
    select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  };

  const drawCurves = () => {
    const panel = data.panels[byId("panel").value];
    const quantity = byId("quantity").value;
    const lines = panel.lines.filter((line) => line[quantity] && line[quantity].some((v) => v !== null));
    const all = lines.flatMap((line) => line[quantity]).filter((v) => v !== null);
    // Zeros leave a log axis, negative values forbid it.
    const log = all.every((v) => v >= 0) && all.some((v) => v > 0);
    const traces = [];
    lines.forEach((line, i) => {
      const c = colour(i, lines.length), group = String(i);
      const low = line[quantity + "_low"], high = line[quantity + "_high"];
      if (low && high) {
        const band = { x: line.step, legendgroup: group, showlegend: false, hoverinfo: "skip", mode: "lines", line: { width: 0 } };
        traces.push({ ...band, y: low }, { ...band, y: high, fill: "tonexty", fillcolor: faint(c, 0.16) });
      }
      traces.push({
        x: line.step, y: line[quantity], name: line.label, legendgroup: group, mode: "lines", showlegend: lines.length > 1,
        line: { color: c, width: 1.8, dash: dash(i, lines.length) },
        hovertemplate: "%{y:.3e} at step %{x}<extra>" + line.label.replace(/</g, "&lt;") + "</extra>",
      });
    });
    const steps = byId("logsteps").checked;
    const below = layout(
      { title: { text: "step t" }, ...(steps ? { type: "log" } : {}) },
      logAxis(WORDS[quantity], all.filter((v) => v > 0), log),
    );
    if (lines.some((line) => line.label.length > 34) || window.innerWidth < 700) {
      below.legend = { ...below.legend, orientation: "h", y: -0.22 };
    }
    Plotly.react("curve-chart", traces, below, config);
    byId("curve-note").textContent = panel.note + (log && all.some((v) => v === 0) ? "; zeros lie below the axis" : "");
  };

  const drawSweep = () => {
    const chosen = data.scatter[byId("swept").value];
    const ys = chosen.groups.filter((g) => g.status !== "diverged").flatMap((g) => g.y).filter((v) => v !== null);
    const xs = chosen.groups.flatMap((g) => g.x).filter((v) => v !== null);
    const log = positive(ys), top = ys.length ? Math.max(...ys) : 1;
    const traces = chosen.groups.map((group) => {
      const [c, symbol] = STATUS[group.status] || ["#7F7F7F", "circle"];
      const y = group.status === "diverged" ? group.x.map(() => (log ? top * 3 : top)) : group.y;
      return {
        x: group.x, y, text: group.text, name: group.status, mode: "markers", type: "scatter",
        marker: { color: c, symbol, size: 7, opacity: 0.75 }, hovertemplate: "%{text}<br>%{y:.4g}<extra></extra>",
      };
    });
    Plotly.react("sweep-chart", traces, layout(logAxis(chosen.parameter, xs, positive(xs)), logAxis("final loss", ys, log)), config);
  };

  const redraw = () => {
    if (data.panels.length) drawCurves();
    if (data.scatter.length) drawSweep();
  };
  if (data.panels.length) {
    choose(byId("panel"), data.panels.map((panel, i) => [i, panel.name]));
    const quantities = () => {
      const before = byId("quantity").value;
      const names = data.panels[byId("panel").value].quantities;
      choose(byId("quantity"), names.map((q) => [q, WORDS[q]]));
      if (names.includes(before)) byId("quantity").value = before;
    };
    quantities();
    byId("panel").addEventListener("change", () => { quantities(); drawCurves(); });
    for (const id of ["quantity", "logsteps"]) byId(id).addEventListener("change", drawCurves);
  }
  if (data.scatter.length) {
    choose(byId("swept"), data.scatter.map((s, i) => [i, `${s.parameter} (${s.name})`]));
    byId("swept").addEventListener("change", drawSweep);
  }
  redraw();
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    window.matchMedia(query).addEventListener("change", redraw);
  }
})();
