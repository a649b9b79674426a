/** What the user has chosen in the page; it stands in the address, so that a copy of it shows the same. */
const networkState = (() => {
  const WRITE_INTERVAL = 400; // [ms]; browsers refuse to change the address more often for long

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  /**
   * `main` is the longest run, whose snapshots the time counts.
   * @typedef {{time, speed, inputs: number[], sample: number, layer, neuron, x, y, prune, responses, follow}} State
   */
  function initial(run, main) {
    const inputs = run.data.inputs;
    return {
      time: main.epochs.length - 1, speed: 1, inputs: inputs.map((input) => input.initial), sample: -1,
      layer: run.units.length - 1, neuron: 0, x: 0, y: inputs.length > 1 && inputs.length < 4 ? 1 : -1,
      prune: 0, responses: inputs.length === 2 && networkResponse.canDrawThumbnails(run), follow: false,
    };
  }

  /** The state of an address; what is missing or out of range gets its first value. */
  function read(run, main, hash) {
    const state = initial(run, main), words = new URLSearchParams(hash.replace(/^#/, ""));
    const number = (key, low, high, whole = false) => {
      const value = Number(words.get(key));
      if (!words.get(key) || !Number.isFinite(value)) return;
      state[key] = clamp(whole ? Math.round(value) : value, low, high);
    };
    number("time", 0, main.epochs.length - 1);
    number("speed", 0.25, 4);
    number("layer", 0, run.units.length - 1, true);
    number("neuron", 0, run.units[state.layer] - 1, true);
    state.neuron = clamp(state.neuron, 0, run.units[state.layer] - 1);
    number("x", 0, run.data.inputs.length - 1, true);
    number("y", -1, run.data.inputs.length - 1, true);
    number("prune", 0, 0.99);
    number("sample", -1, run.data.samples.inputs.length - 1, true);
    for (const key of ["responses", "follow"]) if (words.has(key)) state[key] = words.get(key) === "1";
    const inputs = (words.get("inputs") ?? "").split(",").map(Number);
    if (inputs.length === state.inputs.length && words.get("inputs") && inputs.every(Number.isFinite)) state.inputs = inputs;
    if (state.follow) state.time = main.epochs.length - 1;
    return state;
  }

  /** The address of a state; values as at the start are left out. */
  function write(run, main, state) {
    const words = new URLSearchParams(), first = initial(run, main);
    for (const [key, value] of Object.entries(state)) {
      if (JSON.stringify(value) === JSON.stringify(first[key])) continue;
      const text = typeof value === "boolean" ? String(Number(value)) : Array.isArray(value) ? value.map((v) => Number(v.toPrecision(9))).join(",") : String(value);
      words.set(key, text);
    }
    return words.toString().replaceAll("%2C", ",");
  }

  /** Returns a function that puts the state into the address a moment later, and one that does so at once. */
  function addressWriter(run, main, state) {
    let timer = null;
    const now = () => {
      clearTimeout(timer);
      timer = null;
      const words = write(run, main, state);
      history.replaceState(null, "", words ? `#${words}` : location.pathname + location.search);
    };
    return { now, later: () => { timer ??= setTimeout(now, WRITE_INTERVAL); } };
  }

  return { initial, read, write, addressWriter, clamp };
})();
