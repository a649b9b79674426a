/** What line_chart.js and bar_chart.js share: drawing, scales, and the frame of a chart. */
const charts = (() => {
  const COLORS = ["var(--blue)", "var(--orange)", "var(--green)", "var(--purple)", "var(--text)"];
  const DASHES = ["none", "8 4", "2 3"];
  const isNumber = Number.isFinite;

  function html(name, properties = {}, ...children) {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  }

  function svg(name, attributes = {}, text = "") {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "style") node.style.cssText = value;
      else node.setAttribute(key, value);
    }
    node.textContent = text;
    return node;
  }

  /** Four significant digits. */
  function format(value) {
    if (!isNumber(value)) return "none";
    const size = Math.abs(value);
    const exponential = size !== 0 && (size < 1e-3 || size >= 1e6);
    return exponential ? value.toExponential(2).replace(/\.?0+e/, "e") : String(Number(value.toPrecision(4)));
  }

  function ticks(low, high, count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
    const first = Math.ceil(low / step - 1e-9);
    const places = Math.floor(high / step + 1e-9) - first + 1;
    return Array.from({ length: Math.max(places, 0) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
  }

  function logTicks(low, high) {
    const first = Math.ceil(low - 1e-9), last = Math.floor(high + 1e-9);
    if (last - first < 1) return ticks(low, high, 3).map((exponent) => 10 ** exponent);
    const step = Math.ceil((last - first + 1) / 6);
    return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, i) => 10 ** (first + i * step));
  }

  /** Lowest and highest number, a little apart if they are equal. */
  function extent(values, margin = 0) {
    let low = Infinity, high = -Infinity;
    for (const value of values) {
      if (!isNumber(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (low > high) return [0, 1];
    const pad = low === high ? Math.abs(low) * 0.1 || 0.5 : (high - low) * margin;
    return [low - pad, high + pad];
  }

  function styleOf(series, index) {
    const color = series.color ?? COLORS[index % COLORS.length];
    const dash = series.dashed ? DASHES[1] : DASHES[Math.floor(index / COLORS.length) % DASHES.length];
    return { color, dash };
  }

  /** Title, legend whose buttons toggle series, legend whose buttons toggle series, drawing, readout and table of the values. */
  class Chart {
    constructor(element, options) {
      this.options = options;
      this.hidden = new Set();
      this.caption = html("figcaption");
      this.toolbar = html("div", { className: "chart-legend" });
      this.drawing = svg("svg", { tabindex: "0", role: "application" });
      this.readout = html("p", { className: "chart-readout", ariaLive: "polite" });
      this.table = html("div", { className: "scroll", tabIndex: 0, role: "region" });
      this.details = html("details", {}, html("summary", { textContent: "Values as a table" }), this.table);
      this.figure = html("figure", { className: "chart" }, this.caption, this.toolbar, this.drawing, this.readout, this.details);
      element.replaceChildren(this.figure);
      this.details.addEventListener("toggle", () => this.fillTable());
      this.observer = new ResizeObserver(() => this.figure.clientWidth !== this.width && this.draw());
      this.observer.observe(this.figure);
    }

    get visible() {
      return this.options.series.map((series, index) => ({ ...series, ...styleOf(series, index) }))
        .filter((series) => !this.hidden.has(series.name));
    }

    update(options) {
      this.options = { ...this.options, ...options };
      this.caption.textContent = this.options.title;
      this.table.ariaLabel = `${this.options.title}: values`;
      this.fillLegend();
      this.draw();
      this.fillTable();
    }

    fillLegend() {
      const key = JSON.stringify(this.options.series.map((s, i) => [s.name, styleOf(s, i)]));
      if (key === this.legendKey) return; // a button that has the focus keeps it
      this.legendKey = key;
      const buttons = this.options.series.map((series, index) => this.legendButton(series.name, styleOf(series, index)));
      this.toolbar.replaceChildren(...(buttons.length > 1 ? buttons : []), ...this.controls());
    }

    legendButton(name, { color, dash }) {
      const line = svg("line", { x1: 1, x2: 25, y1: 6, y2: 6, style: `stroke:${color};stroke-width:3;stroke-dasharray:${dash}` });
      const swatch = svg("svg", { width: 26, height: 12, "aria-hidden": "true" });
      swatch.append(line);
      const button = html("button", { type: "button", className: "legend" }, swatch, name);
      button.ariaPressed = String(!this.hidden.has(name));
      button.addEventListener("click", () => {
        if (!this.hidden.delete(name)) this.hidden.add(name);
        button.ariaPressed = String(!this.hidden.has(name));
        this.draw();
        this.fillTable();
      });
      return button;
    }

    controls() { return []; }

    startDrawing(height) {
      this.width = this.figure.clientWidth;
      const width = Math.max(this.width, 200);
      for (const [key, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) this.drawing.setAttribute(key, value);
      this.drawing.replaceChildren();
      return width;
    }

    add(name, attributes, text) {
      const node = svg(name, attributes, text);
      this.drawing.append(node);
      return node;
    }

    fillTable() {
      if (!this.details.open) return;
      const [head, ...rows] = this.tableRows();
      const cells = (row, tag) => html("tr", {}, ...row.map((cell) => html(tag, { textContent: cell, ...(tag === "th" && { scope: "col" }) })));
      this.table.replaceChildren(html("table", {}, html("thead", {}, cells(head, "th")), html("tbody", {}, ...rows.map((row) => cells(row, "td")))));
    }

    destroy() {
      this.observer.disconnect();
      this.figure.remove();
    }
  }

  return { Chart, svg, html, format, ticks, logTicks, extent, isNumber };
})();
