/** Response of a neuron to one or two inputs, all others as the sliders say. */
const networkResponse = (() => {
  const CURVE_POINTS = 121, MAP_SIZE = 48, THUMBNAIL = 14;
  const BUDGET = 12; // [ms] of computing per drawn frame
  const MAX_THUMBNAILS = 60; // neurons of a network that are drawn with their response
  const COARSE_WEIGHTS = 50_000; // a network with more gets a coarser map

  const steps = (input, count) => Array.from({ length: count }, (_, i) => input.low + ((input.high - input.low) * i) / (count - 1));

  /** A canvas with the response of one neuron, computed bit by bit so that the page stays quick. */
  class Response {
    constructor(canvas) {
      this.canvas = canvas;
      this.context = canvas.getContext("2d");
      this.job = 0;
    }

    /** @param {{run, layers, inputs, chosen, x: number, y: number}} state - y is -1 for a curve */
    draw(state) {
      const job = ++this.job, { run, x, y } = state;
      const coarse = run.parameters > COARSE_WEIGHTS;
      const size = coarse ? 16 : MAP_SIZE, points = y < 0 ? (coarse ? 41 : CURVE_POINTS) : size * size;
      const xs = steps(run.data.inputs[x], y < 0 ? points : size), ys = y < 0 ? [0] : steps(run.data.inputs[y], size);
      const values = new Float64Array(points);
      let done = 0;
      const work = () => {
        if (job !== this.job) return;
        const start = performance.now();
        for (; done < points && performance.now() - start < BUDGET; done++) {
          const inputs = Float64Array.from(state.inputs);
          inputs[x] = xs[done % xs.length];
          if (y >= 0) inputs[y] = ys[Math.floor(done / xs.length)];
          values[done] = run.forward(state.layers, inputs, state.chosen.layer)[state.chosen.layer].values[state.chosen.neuron];
        }
        if (done === points) this.show(state, xs, ys, values);
        else requestAnimationFrame(work);
      };
      work();
    }

    show(state, xs, ys, values) {
      const ratio = window.devicePixelRatio || 1, width = this.canvas.clientWidth, height = this.canvas.clientHeight;
      this.canvas.width = width * ratio;
      this.canvas.height = height * ratio;
      this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
      const box = { left: 64, top: 10, width: width - 76, height: height - 44 };
      const [low, high] = [Math.min(...values), Math.max(...values)];
      if (state.y < 0) this.drawCurve(box, values, low, high);
      else this.drawMap(box, values, xs.length, Math.max(Math.abs(low), Math.abs(high), 1e-9));
      this.drawAxes(box, state, low, high);
      const over = state.y < 0 ? "" : ` and ${state.run.data.inputs[state.y].name}`;
      const { format } = networkView;
      this.canvas.setAttribute("aria-label", `Response to ${state.run.data.inputs[state.x].name}${over}: ${format(low)} to ${format(high)}`);
      this.canvas.dataset.range = `${low} ${high}`;
    }

    drawCurve(box, values, low, high) {
      const pen = this.context, span = high - low || 1;
      pen.beginPath();
      values.forEach((value, i) => pen.lineTo(box.left + (box.width * i) / (values.length - 1), box.top + box.height * (1 - (value - low) / span)));
      pen.strokeStyle = "#0072b2";
      pen.lineWidth = 2.5;
      pen.stroke();
    }

    drawMap(box, values, columns, most) {
      const rows = values.length / columns, pen = this.context, w = box.width / columns, h = box.height / rows;
      values.forEach((value, i) => {
        pen.fillStyle = networkView.signalColor(value / most);
        const left = Math.round(box.left + (i % columns) * w), top = Math.round(box.top + (rows - 1 - Math.floor(i / columns)) * h);
        pen.fillRect(left, top, Math.ceil(w) + 1, Math.ceil(h) + 1);
      });
    }

    drawAxes(box, { run, inputs, x, y }, low, high) {
      const pen = this.context, a = run.data.inputs[x], vertical = y < 0 ? { low, high } : run.data.inputs[y], { format } = networkView;
      pen.strokeStyle = "#767676";
      pen.lineWidth = 1;
      pen.strokeRect(box.left, box.top, box.width, box.height);
      pen.font = "12px system-ui, sans-serif";
      pen.fillStyle = "#1a1a1a";
      const bottom = box.top + box.height;
      for (const [text, align, px, py] of [
        [format(a.low), "left", box.left, bottom + 14], [format(a.high), "right", box.left + box.width, bottom + 14],
        [networkPanels.withUnit(a), "center", box.left + box.width / 2, bottom + 30],
        [format(vertical.low), "right", box.left - 4, bottom], [format(vertical.high), "right", box.left - 4, box.top + 10],
      ]) {
        pen.textAlign = align;
        pen.fillText(text, px, py);
      }
      if (y >= 0) {
        pen.save();
        pen.translate(14, box.top + box.height / 2);
        pen.rotate(-Math.PI / 2);
        pen.textAlign = "center";
        pen.fillText(networkPanels.withUnit(vertical), 0, 0);
        pen.restore();
      }
      const fraction = (input, value) => Math.min(Math.max((value - input.low) / (input.high - input.low || 1), 0), 1);
      const px = box.left + box.width * fraction(a, inputs[x]);
      pen.setLineDash([3, 3]);
      pen.strokeStyle = "#1a1a1a";
      pen.beginPath();
      pen.moveTo(px, box.top);
      pen.lineTo(px, bottom);
      if (y >= 0) {
        const py = bottom - box.height * fraction(vertical, inputs[y]);
        pen.moveTo(box.left, py);
        pen.lineTo(box.left + box.width, py);
      }
      pen.stroke();
      pen.setLineDash([]);
    }
  }

  const canDrawThumbnails = (run) => run.data.inputs.length > 1 && run.units.reduce((a, b) => a + b, 0) <= MAX_THUMBNAILS;

  /** Small images of the response of every neuron to inputs x and y, per column. */
  function thumbnails({ run, layers, inputs, x, y }) {
    const xs = steps(run.data.inputs[x], THUMBNAIL), ys = steps(run.data.inputs[Math.max(y, 0)], THUMBNAIL);
    const results = ys.flatMap((b) => xs.map((a) => {
      const point = Float64Array.from(inputs);
      if (y >= 0) point[y] = b;
      point[x] = a;
      return run.forward(layers, point);
    }));
    return run.units.map((count, c) => Array.from({ length: count }, (_, i) => image(results.map((columns) => columns[c].values[i]))));
  }

  function image(values) {
    const canvas = document.createElement("canvas"), most = Math.max(...values.map(Math.abs), 1e-9);
    canvas.width = canvas.height = THUMBNAIL;
    const pen = canvas.getContext("2d");
    values.forEach((value, i) => {
      pen.fillStyle = networkView.signalColor(value / most);
      pen.fillRect(i % THUMBNAIL, THUMBNAIL - 1 - Math.floor(i / THUMBNAIL), 1, 1);
    });
    return canvas;
  }

  return { Response, thumbnails, canDrawThumbnails };
})();
