/**
 * A line chart, `lineChart(element, options)`: drag, wheel or keys zoom, the pointer or the arrow keys read values.
 *
 * @typedef {{name: string, x: number[], y: (number|null)[], color?: string, dashed?: boolean,
 *   band?: {lower: (number|null)[], upper: (number|null)[]}}} LineSeries - x ascends; a null is a gap
 * @typedef {{title: string, xLabel: string, yLabel: string, series: LineSeries[], logY?: boolean,
 *   onHover?: (x: number|null) => void, marker?: number|null,
 *   minRange?: number,
 *   spans?: {from: number, to: number, text: string}[]}} LineOptions - minRange: least range of y; spans are shaded and named where they are read
 */
const lineChart = (() => {
  const { Chart, svg, html, format, ticks, logTicks, extent, isNumber } = charts;
  const HEIGHT = 260, LEFT = 64, RIGHT = 12, TOP = 12, BOTTOM = 44, TABLE_ROWS = 50;

  /** Index of the sample of ascending `x` that is nearest to `place`. */
  function nearest(x, place) {
    let low = 0, high = x.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (x[middle] < place) low = middle + 1;
      else high = middle;
    }
    return low > 0 && place - x[low - 1] <= x[low] - place ? low - 1 : low;
  }

  class LineChart extends Chart {
    constructor(element, options) {
      super(element, options);
      this.view = null; // [low, high] of x; all of it if null
      this.place = null; // x of the readout
      this.listen();
      this.update({});
    }

    get range() { return extent(this.options.series.flatMap((s) => [s.x[0], s.x.at(-1)])); }
    get visibleRange() { return this.view ?? this.range; }

    controls() {
      const button = (text, label, action) => {
        const node = html("button", { type: "button", textContent: text, ariaLabel: `${label}: ${this.options.title}` });
        node.addEventListener("click", action);
        return node;
      };
      return [html("span", { className: "chart-zoom" }, button("+", "Zoom in", () => this.zoom(0.5)),
        button("\u2212", "Zoom out", () => this.zoom(2)), button("All", "Show all", () => this.setView(null)))];
    }

    draw() {
      this.drawing.setAttribute("aria-label", `${this.options.title}: left and right read the values, plus and minus zoom, 0 shows all`);
      const width = this.startDrawing(HEIGHT);
      const [xLow, xHigh] = this.visibleRange, series = this.visible;
      const transform = this.options.logY ? (y) => (y > 0 ? Math.log10(y) : NaN) : (y) => (y === null ? NaN : y);
      const [yLow, yHigh] = this.rangeOf(this.visibleValues(series, xLow, xHigh).map(transform));
      this.xOf = (x) => LEFT + ((x - xLow) / (xHigh - xLow)) * (width - LEFT - RIGHT);
      this.yOf = (y) => TOP + ((yHigh - transform(y)) / (yHigh - yLow)) * (HEIGHT - TOP - BOTTOM);
      this.plotWidth = width - LEFT - RIGHT;
      this.drawAxes(width, this.options.logY ? logTicks(yLow, yHigh) : ticks(yLow, yHigh, 5));
      this.clip();
      (this.options.spans ?? []).forEach((span) => this.drawSpan(span));
      series.forEach((s) => s.band && this.drawBand(s));
      series.forEach((s) => this.plot.append(svg("path", { "data-series": s.name, d: this.pathOf(s.x, s.y),
        style: `stroke:${s.color};stroke-dasharray:${s.dash}`, class: "chart-line" })));
      this.markerLine = this.add("line", { y1: TOP, y2: HEIGHT - BOTTOM, class: "chart-marker" });
      this.cursor = this.add("line", { y1: TOP, y2: HEIGHT - BOTTOM, class: "chart-cursor" });
      this.selection = this.add("rect", { y: TOP, height: HEIGHT - TOP - BOTTOM, class: "chart-selection" });
      this.placeLines();
    }

    /** Curves end at the frame, not at the figure's edge. */
    clip() {
      this.plot = this.add("svg", { x: LEFT, y: TOP - 2, width: this.plotWidth, height: HEIGHT - TOP - BOTTOM + 4,
        viewBox: `${LEFT} ${TOP - 2} ${this.plotWidth} ${HEIGHT - TOP - BOTTOM + 4}` });
    }

    /** Range of the y axis: that of the values with a margin, and at least `minRange`. */
    rangeOf(values) {
      const [low, high] = extent(values, 0.05), missing = Math.max((this.options.minRange ?? 0) - (high - low), 0);
      return [low - missing / 2, high + missing / 2];
    }

    visibleValues(series, low, high) {
      return series.flatMap(({ x, y, band }) => {
        const first = Math.max(nearest(x, low) - 1, 0), end = nearest(x, high) + 2;
        return [y, band?.lower, band?.upper].flatMap((values) => values?.slice(first, end) ?? []);
      });
    }

    drawAxes(width, yTicks) {
      const bottom = HEIGHT - BOTTOM, right = width - RIGHT;
      for (const y of yTicks) {
        this.add("line", { x1: LEFT, x2: right, y1: this.yOf(y), y2: this.yOf(y), class: "chart-grid" });
        this.add("text", { x: LEFT - 6, y: this.yOf(y) + 4, "text-anchor": "end" }, format(y));
      }
      for (const x of ticks(...this.visibleRange, Math.max(2, Math.floor(this.plotWidth / 90)))) {
        this.add("line", { x1: this.xOf(x), x2: this.xOf(x), y1: bottom, y2: bottom + 4, class: "chart-axis" });
        this.add("text", { x: this.xOf(x), y: bottom + 18, "text-anchor": "middle" }, format(x));
      }
      this.add("line", { x1: LEFT, x2: right, y1: bottom, y2: bottom, class: "chart-axis" });
      this.add("text", { x: (LEFT + right) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, this.options.xLabel);
      this.add("text", { x: -(TOP + bottom) / 2, y: 14, transform: "rotate(-90)", "text-anchor": "middle" }, this.options.yLabel);
    }

    drawSpan({ from, to }) {
      const width = Math.max(this.xOf(to) - this.xOf(from), 2);
      this.plot.append(svg("rect", { x: this.xOf(from), width, y: TOP, height: HEIGHT - TOP - BOTTOM, class: "chart-span" }));
    }

    drawBand({ x, band, color, name }) {
      const finite = x.map((_, i) => i).filter((i) => isNumber(this.yOf(band.lower[i])) && isNumber(this.yOf(band.upper[i])));
      const points = [...finite.map((i) => [x[i], band.upper[i]]), ...finite.reverse().map((i) => [x[i], band.lower[i]])];
      this.plot.append(svg("polygon", { points: points.map(([a, b]) => `${this.xOf(a)},${this.yOf(b)}`).join(" "),
        style: `fill:${color}`, class: "chart-band", "data-band": name }));
    }

    /** Path of the visible samples; of many samples in one pixel the lowest and the highest. */
    pathOf(x, y) {
      const first = Math.max(nearest(x, this.visibleRange[0]) - 1, 0), end = Math.min(nearest(x, this.visibleRange[1]) + 2, x.length);
      const bucket = Math.max(1, Math.floor((end - first) / (2 * this.plotWidth)));
      const points = [];
      for (let i = first; i < end; i += bucket) {
        const indices = Array.from({ length: Math.min(bucket, end - i) }, (_, k) => i + k);
        const heights = indices.map((k) => this.yOf(y[k] ?? null));
        const low = indices[heights.indexOf(Math.max(...heights))], high = indices[heights.indexOf(Math.min(...heights))];
        points.push(...(heights.some((h) => !isNumber(h)) ? indices : low === high ? [low] : [low, high].sort((a, b) => a - b)));
      }
      let path = "", pen = "M";
      for (const k of points) {
        const height = this.yOf(y[k] ?? null);
        if (isNumber(height)) path += `${pen}${this.xOf(x[k]).toFixed(1)},${height.toFixed(1)}`;
        // a sample between two gaps is a dot
        if (isNumber(height) && pen === "M") path += "h0";
        pen = isNumber(height) ? "L" : "M";
      }
      return path;
    }

    placeLines() {
      const [low, high] = this.visibleRange;
      for (const [line, x] of [[this.markerLine, this.options.marker], [this.cursor, this.place]]) {
        const inside = isNumber(x) && x >= low && x <= high;
        line.style.display = inside ? "" : "none";
        if (inside) for (const key of ["x1", "x2"]) line.setAttribute(key, this.xOf(x));
      }
      const values = this.visible.filter((s) => s.x.length).map((s) => `${s.name} ${format(s.y[nearest(s.x, this.place ?? 0)])}`);
      const reach = 2 * (high - low) / Math.max(this.plotWidth, 1); // two pixels
      const spans = (this.options.spans ?? []).filter((s) => s.from - reach <= this.place && this.place <= s.to + reach);
      const text = [values.join(", "), ...new Set(spans.map((s) => s.text))].join("; ");
      this.readout.textContent = this.place === null ? "\u00a0" : `${this.options.xLabel} ${format(this.place)}: ${text}`;
    }

    setMarker(x) {
      this.options.marker = x;
      this.placeLines();
    }

    setPlace(x) {
      this.place = x;
      this.placeLines();
      this.options.onHover?.(x);
    }

    setView(view) {
      const [first, last] = this.range, width = view ? view[1] - view[0] : Infinity;
      const low = view && Math.min(Math.max(view[0], first), last - width);
      this.view = width > 0 && width < last - first ? [low, low + width] : null;
      this.draw();
    }

    zoom(factor, around = this.place) {
      const [low, high] = this.visibleRange;
      const center = around === null || around < low || around > high ? (low + high) / 2 : around;
      if ((high - low) * factor < (this.range[1] - this.range[0]) * 1e-5) return;
      this.setView([center - (center - low) * factor, center + (high - center) * factor]);
    }

    listen() {
      const xAt = (event) => {
        const [low, high] = this.visibleRange, box = this.drawing.getBoundingClientRect();
        const fraction = ((event.clientX - box.left) * (this.drawing.viewBox.baseVal.width / box.width) - LEFT) / this.plotWidth;
        return low + Math.min(Math.max(fraction, 0), 1) * (high - low);
      };
      let start = null;
      const on = (name, action) => this.drawing.addEventListener(name, action, { passive: false });
      on("pointerdown", (event) => { start = xAt(event); this.drawing.setPointerCapture(event.pointerId); });
      on("pointermove", (event) => {
        this.setPlace(xAt(event));
        if (start !== null) this.showSelection(start, this.place);
      });
      on("pointerup", (event) => {
        const [low, high] = [start, xAt(event)].sort((a, b) => a - b);
        if (start !== null && this.xOf(high) - this.xOf(low) > 5) this.setView([low, high]);
        start = null;
        this.showSelection(0, 0);
      });
      on("pointercancel", () => { start = null; this.showSelection(0, 0); });
      on("pointerleave", () => this.setPlace(null));
      on("dblclick", () => this.setView(null));
      on("wheel", (event) => {
        // without this the page would not scroll past a chart
        if (document.activeElement !== this.drawing && !event.ctrlKey) return;
        event.preventDefault();
        this.zoom(event.deltaY < 0 ? 0.8 : 1.25, xAt(event));
      });
      on("keydown", (event) => this.onKey(event));
    }

    showSelection(from, to) {
      const [low, high] = [this.xOf(from), this.xOf(to)].sort((a, b) => a - b);
      this.selection.setAttribute("x", low);
      this.selection.setAttribute("width", high - low);
    }

    onKey(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const [low, high] = this.visibleRange, step = (high - low) / (event.shiftKey ? 10 : 100);
      const move = (by) => {
        const [first, last] = this.range, x = Math.min(Math.max((this.place ?? (low + high) / 2) + by, first), last);
        if (this.view && x > high) this.setView([low + x - high, x]);
        if (this.view && x < low) this.setView([x, high + x - low]);
        this.setPlace(x);
      };
      const actions = { "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), 0: () => this.setView(null),
        ArrowLeft: () => move(-step), ArrowRight: () => move(step) };
      const action = actions[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    }

    tableRows() {
      const series = this.visible.filter((s) => s.x.length), [low, high] = this.visibleRange;
      const all = [...new Set(series.flatMap((s) => s.x))].filter((x) => x >= low && x <= high).sort((a, b) => a - b);
      const stride = Math.max(1, Math.ceil(all.length / TABLE_ROWS));
      const places = all.filter((_, i) => i % stride === 0);
      const rows = places.map((x) => [format(x), ...series.map((s) => format(s.y[nearest(s.x, x)]))]);
      return [[this.options.xLabel, ...series.map((s) => s.name)], ...rows];
    }
  }

  /** @param {LineOptions} options @returns {{update(options), setMarker(x), destroy()}} */
  return (element, options) => new LineChart(element, options);
})();
