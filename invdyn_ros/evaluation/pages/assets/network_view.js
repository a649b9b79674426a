/** Drawing of a network: neurons in columns, and the links between them. */
const networkView = (() => {
  const MAX_DOTS = 40; // neurons of a column that is drawn as dots; larger ones are grids of cells
  const MAX_LINKS = 240, MAX_CHOSEN_LINKS = 40; // per layer, and of the chosen neuron; the strongest are drawn
  const MAX_RADIUS = 18, MAX_WIDTH = 7; // [px]
  const MAX_CELL = 14, DASH = [6, 4]; // [px]
  const POSITIVE = [0, 114, 178], NEGATIVE = [213, 94, 0], ZERO = [245, 245, 245];
  const TEXT = "#1a1a1a", MUTED = "#595959", LINE = "#767676";

  /** Colour of a signal from -1 to 1. */
  function signalColor(fraction) {
    const end = fraction < 0 ? NEGATIVE : POSITIVE, part = Math.min(Math.abs(fraction), 1);
    return `rgb(${ZERO.map((zero, i) => Math.round(zero + part * (end[i] - zero))).join(",")})`;
  }

  /** Place, size and kind of each column of neurons in a width and height [px]. */
  function layout(units, width, height, margins) {
    const gap = (width - margins.left - margins.right) / Math.max(units.length - 1, 1);
    const top = margins.top, room = height - margins.top - margins.bottom;
    return units.map((count, c) => {
      const x = margins.left + c * gap;
      if (count <= MAX_DOTS) {
        const step = Math.min(room / count, 3 * MAX_RADIUS);
        const first = top + room / 2 - (step * (count - 1)) / 2;
        return { x, count, grid: false, radius: Math.min(step * 0.4, MAX_RADIUS, gap * 0.2), place: (i) => [x, first + i * step] };
      }
      const cell = Math.min(MAX_CELL, Math.sqrt((room * gap * 0.45) / count));
      const rows = Math.max(Math.floor(room / cell), 1), columns = Math.ceil(count / rows);
      const size = Math.min(cell, (gap * 0.5) / columns), left = x - (columns * size) / 2;
      const start = top + (room - rows * size) / 2;
      const place = (i) => [left + (Math.floor(i / rows) + 0.5) * size, start + ((i % rows) + 0.5) * size];
      return { x, count, grid: true, radius: size / 2, place };
    });
  }

  /** Indices of the `count` values of greatest magnitude, by a histogram of magnitudes. */
  function strongest(weight, count) {
    if (weight.length <= count) return Array.from(weight.keys());
    let most = 0;
    for (let i = 0; i < weight.length; i++) most = Math.max(most, Math.abs(weight[i]));
    const bins = new Uint32Array(1025), scale = 1024 / (most || 1);
    for (let i = 0; i < weight.length; i++) bins[(Math.abs(weight[i]) * scale) | 0]++;
    let bin = 1024;
    for (let sum = bins[bin]; bin > 0 && sum + bins[bin - 1] <= count; sum += bins[bin]) bin--;
    const chosen = [], limit = bin / scale;
    for (let i = 0; i < weight.length && chosen.length < count; i++) if (Math.abs(weight[i]) >= limit) chosen.push(i);
    return chosen;
  }

  /** A canvas with one network. */
  class NetworkView {
    constructor(canvas, run, onPick) {
      Object.assign(this, { canvas, run, onPick, context: canvas.getContext("2d") });
      const last = run.snapshot(run.epochs.length - 1), first = run.snapshot(0);
      const most = (k, key) => [first, last].reduce((size, layers) => layers[k][key].reduce((a, b) => Math.max(a, Math.abs(b)), size), 1e-9);
      this.scales = run.shapes.map((_, k) => ({ weight: most(k, "weight"), bias: most(k, "bias") }));
      canvas.addEventListener("click", (event) => this.pick(event));
      canvas.addEventListener("keydown", (event) => this.onKey(event));
    }

    resize() {
      const width = this.canvas.clientWidth, ratio = window.devicePixelRatio || 1;
      this.wide = width > 640;
      const large = this.run.units.some((count) => count > 12);
      const height = Math.round(large ? Math.max(420, Math.min(620, width * 0.6)) : Math.max(300, Math.min(480, width * 0.5)));
      if (this.width === width && this.height === height) return;
      Object.assign(this, { width, height });
      this.canvas.width = width * ratio;
      this.canvas.height = height * ratio;
      this.canvas.style.height = `${height}px`;
      this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
      const names = Math.max(...this.run.data.features.map((_, i) => this.featureName(i).length));
      const left = this.wide ? Math.min(34 + 7 * names, 190) : 24;
      this.columns = layout(this.run.units, width, height, { left, right: this.wide ? 150 : 90, top: 14, bottom: 46 });
    }

    featureName(index) {
      const feature = this.run.data.features[index], name = shortName(this.run.data.inputs[feature.input].name);
      return feature.function === "identity" ? name : `${feature.function} ${name}`;
    }

    /** @param {{layers, columns, prediction, chosen: {layer: number, neuron: number}, maps: ?Array}} state */
    draw(state) {
      this.resize();
      const pen = this.context;
      pen.clearRect(0, 0, this.width, this.height);
      this.run.shapes.forEach((_, k) => this.drawLinks(k, state));
      this.columns.forEach((column, c) => (column.grid ? this.drawGrid(column, c, state) : this.drawDots(column, c, state)));
      this.drawChosen(state);
      this.drawLabels(state);
    }

    /** The strongest links into layer k, then those of the chosen neuron, relative to its strongest one. */
    drawLinks(k, { layers, columns, chosen }) {
      const weight = layers[k].weight, width = this.run.shapes[k].inputs, own = chosen.layer === k + 1 || chosen.layer === k;
      const links = strongest(weight, MAX_LINKS).sort((a, b) => Math.abs(weight[a]) - Math.abs(weight[b]));
      const source = columns[k].values, most = source.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
      const signal = (i) => Math.abs(source[i % width]) / most;
      for (const i of links) {
        const size = Math.min(Math.abs(weight[i]) / this.scales[k].weight, 1);
        this.drawLink(k, i, weight[i], size, (own ? 0.3 : 0.8) * (0.12 + 0.88 * signal(i) * Math.sqrt(size)));
      }
      if (!own) return;
      const chosenLinks = this.linksOf(k, chosen, weight);
      const largest = Math.max(...chosenLinks.map((i) => Math.abs(weight[i])), 1e-9);
      for (const i of chosenLinks) this.drawLink(k, i, weight[i], Math.abs(weight[i]) / largest, 0.3 + 0.7 * signal(i));
    }

    /** Indices of the strongest links of layer k from or to a neuron. */
    linksOf(k, chosen, weight) {
      const { inputs, units } = this.run.shapes[k], into = chosen.layer === k + 1;
      const indices = Array.from({ length: into ? inputs : units }, (_, j) => (into ? chosen.neuron * inputs + j : j * inputs + chosen.neuron));
      return indices.sort((a, b) => Math.abs(weight[b]) - Math.abs(weight[a])).slice(0, MAX_CHOSEN_LINKS);
    }

    drawLink(k, i, value, size, opacity) {
      if (value === 0) return;
      const pen = this.context, width = this.run.shapes[k].inputs, color = value < 0 ? NEGATIVE : POSITIVE;
      const from = this.columns[k].place(i % width), to = this.columns[k + 1].place(Math.floor(i / width));
      const bend = (to[0] - from[0]) * 0.4;
      pen.strokeStyle = `rgba(${color.join(",")},${opacity.toFixed(3)})`;
      pen.lineWidth = 0.4 + (this.columns[k].grid || this.columns[k + 1].grid ? 3 : MAX_WIDTH) * size;
      pen.setLineDash(value < 0 ? DASH : []);
      pen.beginPath();
      pen.moveTo(...from);
      pen.bezierCurveTo(from[0] + bend, from[1], to[0] - bend, to[1], ...to);
      pen.stroke();
      pen.setLineDash([]);
    }

    drawGrid(column, c, { columns }) {
      const values = columns[c].values, pen = this.context;
      const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9), size = column.radius * 2;
      for (let i = 0; i < column.count; i++) {
        const [x, y] = column.place(i);
        pen.fillStyle = signalColor(values[i] / most);
        pen.fillRect(x - column.radius, y - column.radius, size - 0.6, size - 0.6);
      }
    }

    drawDots(column, c, { columns, layers, maps }) {
      const values = columns[c].values, most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9), pen = this.context;
      for (let i = 0; i < column.count; i++) {
        const [x, y] = column.place(i);
        pen.beginPath();
        pen.arc(x, y, column.radius, 0, 2 * Math.PI);
        pen.fillStyle = signalColor(values[i] / most);
        pen.fill();
        if (maps?.[c]?.[i]) this.drawMap(maps[c][i], x, y, column.radius);
        pen.strokeStyle = LINE;
        pen.lineWidth = 1;
        pen.stroke();
        if (c > 0 && column.radius > 4) this.drawBias(x, y, column.radius, layers[c - 1].bias[i] / this.scales[c - 1].bias);
      }
    }

    drawMap(image, x, y, radius) {
      const pen = this.context;
      pen.save();
      pen.clip();
      pen.drawImage(image, x - radius, y - radius, 2 * radius, 2 * radius);
      pen.restore();
    }

    /** The bias is an arc around the neuron; a whole circle is the largest bias of the layer. */
    drawBias(x, y, radius, fraction) {
      const pen = this.context, color = fraction < 0 ? NEGATIVE : POSITIVE;
      pen.beginPath();
      pen.arc(x, y, radius + 3, -Math.PI / 2, -Math.PI / 2 + 2 * Math.PI * Math.max(-1, Math.min(fraction, 1)), fraction < 0);
      pen.setLineDash(fraction < 0 ? [3, 2] : []);
      pen.strokeStyle = `rgb(${color.join(",")})`;
      pen.lineWidth = 2.5;
      pen.stroke();
      pen.setLineDash([]);
    }

    drawChosen({ chosen }) {
      const column = this.columns[chosen.layer], [x, y] = column.place(chosen.neuron), pen = this.context;
      pen.beginPath();
      pen.arc(x, y, column.grid ? column.radius + 3 : column.radius + 6, 0, 2 * Math.PI);
      pen.strokeStyle = TEXT;
      pen.lineWidth = 2.5;
      pen.stroke();
    }

    drawLabels({ prediction, chosen }) {
      const pen = this.context, { data, shapes } = this.run;
      pen.font = "12px system-ui, sans-serif";
      pen.textBaseline = "middle";
      const put = (text, x, y, align, color) => { pen.textAlign = align; pen.fillStyle = color; pen.fillText(text, x, y); };
      const inputs = this.columns[0];
      for (let i = 0; i < inputs.count && !inputs.grid; i++) {
        const [x, y] = inputs.place(i);
        const near = chosen.layer === 0 && chosen.neuron === i;
        if (this.wide && inputs.count <= MAX_DOTS) put(this.featureName(i), x - inputs.radius - 6, y, "right", near ? TEXT : MUTED);
        else if (inputs.count <= 4) put(this.featureName(i), x, y - inputs.radius - 10, "center", TEXT);
      }
      const outputs = this.columns.at(-1);
      for (let i = 0; i < outputs.count && !outputs.grid; i++) {
        const [x, y] = outputs.place(i), text = format(prediction[i]) + (this.wide ? ` ${data.outputs[i].unit}` : "");
        put(text, x + outputs.radius + 8, this.wide ? y - 7 : y, "left", TEXT);
        if (this.wide) put(shortName(data.outputs[i].name), x + outputs.radius + 8, y + 8, "left", MUTED);
      }
      this.columns.forEach((column, c) => {
        put(c ? shapes[c - 1].activation : "inputs", column.x, this.height - 12, "center", MUTED);
        put(String(column.count), column.x, this.height - 28, "center", TEXT);
      });
    }

    pick(event) {
      const box = this.canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
      let best = null;
      this.columns.forEach((column, layer) => {
        for (let neuron = 0; neuron < column.count; neuron++) {
          const [px, py] = column.place(neuron), distance = Math.hypot(px - x, py - y);
          if (distance < Math.max(column.radius + 4, 8) && distance < (best?.distance ?? Infinity)) best = { layer, neuron, distance };
        }
      });
      if (best) this.onPick(best.layer, best.neuron);
    }

    onKey(event) {
      const moves = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      this.onPick(...move, true);
    }
  }

  /** "q shoulder pan" for "q shoulder_pan_joint". */
  const shortName = (name) => name.replace(/_joint\b/, "").replaceAll("_", " ");

  /** Four significant digits. */
  function format(value) {
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
    return String(Number(value.toPrecision(4)));
  }

  return { NetworkView, signalColor, strongest, shortName, format };
})();
