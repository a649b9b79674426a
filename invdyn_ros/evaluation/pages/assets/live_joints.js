// Joints of the live window: measured and desired positions between the limits.

const DEGREES = 180 / Math.PI;
const NEAR_LIMIT = 5; // [deg]

class JointTable {
  /** @param {HTMLElement} body rows of the table @param {object} data description of the arm. */
  constructor(body, data) {
    this.data = data;
    this.rows = [...body.rows].map((row) => ({
      measured: row.querySelector(".measured"),
      desired: row.querySelector(".desired"),
      limit: row.querySelector(".limit"),
      fill: row.querySelector(".bar-measured"),
      mark: row.querySelector(".bar-desired"),
    }));
  }

  /** @param {{q: ?number[], desired: ?number[]}} state message of the server */
  show({ q, desired }) {
    for (const [i, row] of this.rows.entries()) {
      const lower = this.data.lower[i], upper = this.data.upper[i];
      const place = (value) => `${Math.min(Math.max(100 * (value - lower) / (upper - lower), 0), 100)}%`;
      const degrees = (value) => (value == null ? "–" : (DEGREES * value).toFixed(1));
      row.measured.textContent = degrees(q?.[i]);
      row.desired.textContent = degrees(desired?.[i]);
      row.fill.hidden = q?.[i] == null;
      row.mark.hidden = desired?.[i] == null;
      if (!row.fill.hidden) row.fill.style.left = place(q[i]);
      if (!row.mark.hidden) row.mark.style.left = place(desired[i]);
      this.showLimit(row.limit, q?.[i], lower, upper);
    }
  }

  showLimit(cell, value, lower, upper) {
    const distance = value == null ? NaN : DEGREES * Math.min(value - lower, upper - value);
    const near = distance < NEAR_LIMIT;
    const word = distance < 0 ? " beyond" : near ? " near" : "";
    cell.textContent = Number.isNaN(distance) ? "–" : `${distance.toFixed(1)}${word}`;
    cell.classList.toggle("bad", near);
  }
}

const CURVE_SECONDS = 20, CURVE_PERIOD = 0.1; // [s] of the arm's time
const CURVE_DRAW_PERIOD = 300; // [ms]

/** Curve of the last seconds of one joint, measured and desired. */
class JointCurve {
  /** @param {HTMLElement} element @param {HTMLSelectElement} select @param {object} data description of the arm. */
  constructor(element, select, data) {
    this.element = element;
    this.select = select;
    this.data = data;
    this.samples = [];
    this.lastDrawing = 0;
    select.addEventListener("change", () => this.draw());
  }

  /** @param {{stamp: number, q: ?number[], desired: ?number[]}} state message of the server */
  show({ stamp, q, desired }) {
    if (q == null) return;
    const last = this.samples.at(-1)?.stamp ?? -Infinity;
    if (stamp < last) this.samples = []; // the simulation was reset
    if (stamp >= last && stamp < last + CURVE_PERIOD) return;
    this.samples.push({ stamp, q, desired });
    while (this.samples[0].stamp < stamp - CURVE_SECONDS) this.samples.shift();
    if (performance.now() - this.lastDrawing > CURVE_DRAW_PERIOD && this.samples.length > 1) this.draw();
  }

  draw() {
    this.lastDrawing = performance.now();
    if (!this.samples.length) return;
    const joint = Number(this.select.value);
    const now = this.samples.at(-1).stamp;
    const x = this.samples.map(({ stamp }) => stamp - now);
    const column = (key) => this.samples.map((sample) => (sample[key] ? DEGREES * sample[key][joint] : null));
    const options = {
      title: "The last 20 s", xLabel: "time before the newest sample [s]", yLabel: `${this.data.joints[joint]} [deg]`,
      series: [{ name: "measured", x, y: column("q") }, { name: "desired", x, y: column("desired"), dashed: true }],
    };
    if (this.chart) this.chart.update(options);
    else this.chart = lineChart(this.element, options);
  }
}
