/**
 * A chart of horizontal bars, `barChart(element, options)`: one group per category, one bar per series.
 *
 * @typedef {{name: string, values: (number|null)[], color?: string,
 *   lower?: (number|null)[], upper?: (number|null)[]}} BarSeries - lower and upper end the whisker of each bar
 * @typedef {{title: string, yLabel: string, categories: string[], series: BarSeries[], log?: boolean}} BarOptions
 */
const barChart = (() => {
  const { Chart, format, ticks, logTicks, extent, isNumber } = charts;
  const BAR = 18, GROUP_GAP = 12, LABEL = 20, BOTTOM = 44, SIDE = 12, VALUE_WIDTH = 60;

  class BarChart extends Chart {
    constructor(element, options) {
      super(element, options);
      this.drawing.removeAttribute("tabindex");
      this.drawing.setAttribute("role", "img");
      this.update({});
    }

    draw() {
      const { title, categories, yLabel } = this.options, series = this.visible;
      this.drawing.setAttribute("aria-label", `${title}: the values are in the table below`);
      const group = LABEL + series.length * BAR + GROUP_GAP, bottom = categories.length * group;
      const width = this.startDrawing(bottom + BOTTOM);
      const all = series.flatMap((s) => [s.values, s.lower, s.upper].flatMap((values) => values ?? []));
      const scale = this.options.log ? (value) => Math.log10(value) : (value) => value;
      const used = this.options.log ? all.filter((value) => value > 0).map(scale) : [0, ...all];
      const [low, high] = extent(used.flatMap((value) => (this.options.log ? [Math.floor(value), value] : value)));
      this.origin = this.options.log ? 10 ** low : 0; // where all bars begin
      this.xOf = (value) => SIDE + ((Math.max(scale(value), low) - low) / (high - low)) * (width - 2 * SIDE - VALUE_WIDTH);
      const places = this.options.log ? logTicks(low, high) : ticks(low, high, Math.max(2, Math.floor((width - VALUE_WIDTH) / 90)));
      this.drawAxis(places, bottom, this.options.log ? `${yLabel}, logarithmic` : yLabel);
      categories.forEach((category, k) => {
        this.add("text", { x: SIDE + 4, y: k * group + LABEL - 6 }, category);
        series.forEach((s, row) => this.drawBar(s, k, k * group + LABEL + row * BAR));
      });
    }

    drawAxis(places, bottom, label) {
      for (const value of places) {
        this.add("line", { x1: this.xOf(value), x2: this.xOf(value), y1: 0, y2: bottom, class: "chart-grid" });
        this.add("text", { x: this.xOf(value), y: bottom + 18, "text-anchor": this.xOf(value) < 30 ? "start" : "middle" }, format(value));
      }
      this.add("line", { x1: this.xOf(this.origin), x2: this.xOf(this.origin), y1: 0, y2: bottom, class: "chart-axis" });
      this.add("text", { x: SIDE, y: bottom + BOTTOM - 6 }, label);
    }

    drawBar({ name, color, values, lower, upper }, k, y) {
      const value = values[k], middle = y + BAR / 2 - 1;
      const [left, right] = [this.origin, isNumber(value) ? value : this.origin].map(this.xOf).sort((a, b) => a - b);
      this.add("rect", { x: left, y, width: right - left, height: BAR - 3, style: `fill:${color}`, "data-series": name });
      let end = right;
      if (isNumber(lower?.[k]) && isNumber(upper?.[k])) {
        end = Math.max(end, this.xOf(upper[k]));
        this.add("line", { x1: this.xOf(lower[k]), x2: this.xOf(upper[k]), y1: middle, y2: middle, class: "chart-whisker" });
      }
      this.add("text", { x: end + 6, y: middle + 5, class: "chart-value" }, format(value));
    }

    tableRows() {
      const cell = (s, k) => isNumber(s.lower?.[k]) && isNumber(s.upper?.[k])
        ? `${format(s.values[k])} (${format(s.lower[k])} to ${format(s.upper[k])})` : format(s.values[k]);
      const rows = this.options.categories.map((category, k) => [category, ...this.visible.map((s) => cell(s, k))]);
      return [[this.options.yLabel, ...this.visible.map((s) => s.name)], ...rows];
    }
  }

  /** @param {BarOptions} options @returns {{update(options), destroy()}} */
  return (element, options) => new BarChart(element, options);
})();
