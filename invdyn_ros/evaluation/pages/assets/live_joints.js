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
    cell.textContent = Number.isNaN(distance) ? "–" : `${distance.toFixed(1)}${near ? " near" : ""}`;
    cell.classList.toggle("bad", near);
  }
}
