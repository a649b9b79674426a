/** Networks of a page: weights at any time, predictions, pruning, and files to download. */
const networks = (() => {
  const CACHE = 6; // snapshots kept decoded
  const ERF_STEP = 1 / 128, ERF_END = 6;

  /** erf by cubic Hermite interpolation of a table: right to 1e-10. */
  const erf = (() => {
    const slope = (x) => (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x);
    const table = [0];
    for (let x = 0; x < ERF_END; x += ERF_STEP) {
      const middle = 4 * slope(x + ERF_STEP / 2); // Simpson's rule
      table.push(table[table.length - 1] + (ERF_STEP / 6) * (slope(x) + middle + slope(x + ERF_STEP)));
    }
    return (x) => {
      const size = Math.abs(x);
      if (size >= ERF_END) return Math.sign(x);
      const k = Math.floor(size / ERF_STEP), t = size / ERF_STEP - k, s = 1 - t;
      const value = table[k] * (1 + 2 * t) * s * s + table[k + 1] * (1 + 2 * s) * t * t
        + ERF_STEP * t * s * (slope(k * ERF_STEP) * s - slope((k + 1) * ERF_STEP) * t);
      return x < 0 ? -value : value;
    };
  })();

  const ACTIVATIONS = {
    linear: (x) => x,
    tanh: Math.tanh,
    relu: (x) => (x > 0 ? x : 0),
    sigmoid: (x) => 1 / (1 + Math.exp(-x)),
    silu: (x) => x / (1 + Math.exp(-x)),
    gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  };
  const FEATURES = { identity: (x) => x, sin: Math.sin, cos: Math.cos, tanh: Math.tanh };

  function bytesOf(text) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const binary = atob(text), bytes = new Uint8Array(binary.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes;
  }

  /**
   * Parameters of one layer.
   * @typedef {{weight: Float32Array, bias: Float32Array, normWeight?: Float32Array, normBias?: Float32Array}} Parameters
   * @returns {Parameters[]}
   */
  function decode(shapes, snapshot) {
    const buffer = bytesOf(snapshot.content).buffer;
    let place = 0;
    const floats = (count) => {
      place += 4 * count;
      return new Float32Array(buffer, place - 4 * count, count);
    };
    const layers = shapes.map((shape) => {
      const layer = { weight: floats(snapshot.exact ? shape.units * shape.inputs : shape.units), bias: floats(shape.units) };
      if (shape.norm_eps !== null) Object.assign(layer, { normWeight: floats(shape.units), normBias: floats(shape.units) });
      return layer;
    });
    if (snapshot.exact) return layers;
    shapes.forEach((shape, k) => {
      const integers = new Int8Array(buffer, place, shape.units * shape.inputs), scale = layers[k].weight;
      place += integers.length;
      const weight = new Float32Array(integers.length);
      for (let row = 0, i = 0; row < shape.units; row++) for (let j = 0; j < shape.inputs; j++, i++) weight[i] = integers[i] * scale[row];
      layers[k].weight = weight;
    });
    return layers;
  }

  function interpolate(a, b, fraction) {
    const mix = (x, y) => {
      const result = new Float32Array(x.length);
      for (let i = 0; i < x.length; i++) result[i] = x[i] + fraction * (y[i] - x[i]);
      return result;
    };
    return a.map((layer, k) => Object.fromEntries(Object.keys(layer).map((key) => [key, mix(layer[key], b[k][key])])));
  }

  function normalise(sums, layer, eps) {
    const mean = sums.reduce((a, b) => a + b, 0) / sums.length;
    const variance = sums.reduce((a, b) => a + (b - mean) ** 2, 0) / sums.length;
    const factor = 1 / Math.sqrt(variance + eps);
    sums.forEach((value, i) => { sums[i] = (value - mean) * factor * layer.normWeight[i] + layer.normBias[i]; });
  }

  /** Sums of a layer, after its normalisation, and its values. */
  function layerValues(shape, layer, values) {
    const sums = new Float64Array(shape.units), weight = layer.weight, width = shape.inputs;
    for (let i = 0, k = 0; i < shape.units; i++) {
      let sum = layer.bias[i];
      for (let j = 0; j < width; j++, k++) sum += weight[k] * values[j];
      sums[i] = sum;
    }
    if (shape.norm_eps !== null) normalise(sums, layer, shape.norm_eps);
    return { sums, values: sums.map(ACTIVATIONS[shape.activation]) };
  }

  /** A network and its history. */
  class Run {
    constructor(data) {
      this.data = data;
      this.shapes = data.layers;
      this.units = [data.features.length, ...this.shapes.map((shape) => shape.units)];
      this.epochs = data.snapshots.map((snapshot) => snapshot.epoch);
      this.decoded = new Map();
      this.pruned = {};
      this.parameters = this.shapes.reduce((sum, shape) => sum + shape.inputs * shape.units, 0);
    }

    snapshot(index) {
      if (!this.decoded.has(index)) {
        if (this.decoded.size >= CACHE) this.decoded.delete(this.decoded.keys().next().value);
        this.decoded.set(index, decode(this.shapes, this.data.snapshots[index]));
      }
      return this.decoded.get(index);
    }

    /** Position in the snapshots of an epoch; between two of them it is a fraction. */
    positionOf(epoch) {
      const next = this.epochs.findIndex((e) => e >= epoch);
      if (next === 0) return 0;
      if (next < 0) return this.epochs.length - 1;
      return next - (this.epochs[next] - epoch) / (this.epochs[next] - this.epochs[next - 1]);
    }

    /** Layers at a position, with the fraction `sparsity` of the weights of least magnitude set to zero. */
    layersAt(position, sparsity = 0) {
      const { at, fraction, layers } = this.pruned;
      if (at === position && fraction === sparsity) return layers;
      const low = Math.floor(position), rest = position - low;
      const whole = rest > 1e-9 ? interpolate(this.snapshot(low), this.snapshot(low + 1), rest) : this.snapshot(low);
      this.pruned = { at: position, fraction: sparsity, layers: sparsity > 0 ? prune(whole, sparsity) : whole };
      return this.pruned.layers;
    }

    features(inputs) {
      return Float64Array.from(this.data.features, (f) => FEATURES[f.function]((inputs[f.input] - f.offset) / f.scale));
    }

    /** Sums and values of each column of neurons, the features first; up to column `last`. */
    forward(layers, inputs, last = this.shapes.length) {
      const first = this.features(inputs), columns = [{ sums: first, values: first }];
      for (let k = 0; k < last; k++) columns.push(layerValues(this.shapes[k], layers[k], columns[k].values));
      return columns;
    }

    /** Outputs in SI units. */
    prediction(columns, inputs) {
      const values = columns[this.shapes.length].values;
      return this.data.outputs.map((o, k) => values[k] * o.scale + o.offset + (o.added_input === null ? 0 : inputs[o.added_input]));
    }

    /** Mean over the outputs of squared error / variance of the targets; `budget` [ms] ends it early. */
    error(layers, budget = Infinity) {
      const { inputs, targets } = this.data.samples, start = performance.now();
      const squares = this.data.outputs.map(() => 0);
      let count = 0;
      for (; count < inputs.length && (count < 8 || performance.now() - start < budget); count++) {
        const prediction = this.prediction(this.forward(layers, inputs[count]), inputs[count]);
        prediction.forEach((value, k) => { squares[k] += (value - targets[count][k]) ** 2; });
      }
      const ratios = squares.map((sum, k) => sum / count / (this.data.samples.variance[k] || 1));
      return { value: ratios.reduce((a, b) => a + b, 0) / ratios.length, count };
    }
  }

  /** The `count`-th smallest of positive numbers, and how many of those equal to it are among the `count` smallest. */
  function smallest(sizes, count) {
    const bits = new Uint32Array(sizes.buffer), bins = new Uint32Array(1 << 16); // bits of positive floats order as they do
    for (let i = 0; i < bits.length; i++) bins[bits[i] >>> 16]++;
    let bin = 0, below = 0;
    while (below + bins[bin] < count) below += bins[bin++];
    const candidates = sizes.filter((_, i) => bits[i] >>> 16 === bin).sort();
    const limit = candidates[count - below - 1];
    return { limit, ties: count - below - candidates.indexOf(limit) };
  }

  /** Exactly round(fraction * number of weights) are set to zero, as in `invdyn_ros.models.pruning`. */
  function prune(layers, fraction) {
    const sizes = new Float32Array(layers.reduce((sum, layer) => sum + layer.weight.length, 0));
    let place = 0;
    for (const layer of layers) for (const value of layer.weight) sizes[place++] = Math.abs(value);
    const count = Math.round(fraction * sizes.length);
    if (count === 0) return layers;
    let { limit, ties } = smallest(sizes, count);
    return layers.map((layer) => {
      const weight = layer.weight.slice();
      for (let i = 0; i < weight.length; i++) {
        const size = Math.abs(weight[i]);
        if (size < limit || (size === limit && ties-- > 0)) weight[i] = 0;
      }
      return { ...layer, weight };
    });
  }

  function tensorsOf(run, layers) {
    return run.shapes.flatMap((shape, k) => {
      const parts = [["weight", [shape.units, shape.inputs], layers[k].weight], ["bias", [shape.units], layers[k].bias]];
      if (shape.norm_eps !== null) {
        parts.push(["norm.weight", [shape.units], layers[k].normWeight], ["norm.bias", [shape.units], layers[k].normBias]);
      }
      return parts.map(([name, size, values]) => ({ name: `${k}.${name}`, size, values }));
    });
  }

  /** The network as JSON text. */
  function toJson(run, layers, epoch) {
    const tensors = tensorsOf(run, layers).map(({ name, size, values }) => [name, { shape: size, values: Array.from(values) }]);
    const { title, inputs, features, outputs } = run.data;
    return JSON.stringify({ title, epoch, inputs, features, outputs, layers: run.shapes, tensors: Object.fromEntries(tensors) });
  }

  /** The tensors as a safetensors file. */
  function toSafetensors(run, layers) {
    const header = {}, tensors = tensorsOf(run, layers);
    let end = 0;
    for (const { name, size, values } of tensors) {
      header[name] = { dtype: "F32", shape: size, data_offsets: [end, end + 4 * values.length] };
      end += 4 * values.length;
    }
    const text = JSON.stringify(header), padded = new TextEncoder().encode(text + " ".repeat((8 - (text.length % 8)) % 8));
    const length = new Uint8Array(new BigUint64Array([BigInt(padded.length)]).buffer);
    return new Blob([length, padded, ...tensors.map(({ values }) => values)], { type: "application/octet-stream" });
  }

  return { Run, prune, erf, toJson, toSafetensors };
})();
