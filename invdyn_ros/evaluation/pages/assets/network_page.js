/** The page of a network: one or two histories, controls, and the state in the address. */
const networkPage = (() => {
  const PLAY_SECONDS = 12; // of a whole history at speed 1
  const FOLLOW_INTERVAL = 5000; // [ms]
  const REST = 200; // [ms] without a change, after which slow parts are computed too
  const QUICK_WEIGHTS = 5000; // a network with no more is computed whole at every frame
  const { element, byId, option, withUnit } = networkPanels;
  const { clamp } = networkState;

  const runs = pageData.runs.map((data) => new networks.Run(data));
  runs.forEach((run, k) => {
    const isUnique = runs.every((other) => other === run || other.data.title !== run.data.title);
    run.title = isUnique ? run.data.title : `${run.data.title}, ${k + 1}`;
  });
  // the time is a position in the history of the longest run
  const main = runs.reduce((a, b) => (b.epochs.at(-1) > a.epochs.at(-1) ? b : a));
  const first = runs[0];
  const state = networkState.read(first, main, location.hash);
  const address = networkState.addressWriter(first, main, state);
  const views = runs.map(makeView);
  let playing = false, lastFrame = 0, pending = false, resting = 0;

  function makeView(run, k) {
    const canvas = element("canvas", { tabIndex: 0, id: `network-${k}`, className: "network" });
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", `Network ${run.title}: arrow keys choose a neuron`);
    const epoch = element("span", { className: "muted" });
    byId("runs").append(element("article", {}, element("h2", {}, run.title, " ", epoch), canvas));
    const response = element("canvas", { id: `response-${k}`, className: "response" }), facts = element("p");
    response.setAttribute("role", "img");
    response.setAttribute("aria-label", "Response");
    byId("neurons").append(element("div", {}, element("p", {}, element("strong", { textContent: run.title })), facts, response));
    const drawing = new networkView.NetworkView(canvas, run, choose);
    return { run, drawing, epoch, facts, response: new networkResponse.Response(response) };
  }

  /** Epoch of the time; between two snapshots it is interpolated, as the weights are. */
  function epochNow() {
    const low = Math.floor(state.time), rest = state.time - low;
    return main.epochs[low] + (rest ? rest * (main.epochs[low + 1] - main.epochs[low]) : 0);
  }

  function choose(layer, neuron, relative = false) {
    state.layer = clamp(relative ? state.layer + layer : layer, 0, first.units.length - 1);
    state.neuron = clamp(relative ? state.neuron + neuron : neuron, 0, first.units[state.layer] - 1);
    change();
  }

  /** Draw again with the next frame, and put the state into the address; the rest follows when nothing moves. */
  function change(isLive = false) {
    if (!isLive) address.later();
    clearTimeout(resting);
    resting = setTimeout(() => playing || draw(), REST);
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => { pending = false; draw(true); });
  }

  function compute(view, epoch) {
    const { run } = view, position = run === main ? state.time : run.positionOf(epoch);
    view.layers = run.layersAt(position, state.prune);
    view.inputs = networkPanels.inputsOf(run, first, state.inputs);
    view.columns = run.forward(view.layers, view.inputs);
    view.prediction = run.prediction(view.columns, view.inputs);
    const layer = Math.min(state.layer, run.units.length - 1);
    view.chosen = { layer, neuron: Math.min(state.neuron, run.units[layer] - 1) };
    view.axes = { x: Math.min(state.x, run.data.inputs.length - 1), y: Math.min(state.y, run.data.inputs.length - 1) };
    const isWhole = Number.isInteger(position);
    view.epoch.textContent = `epoch ${Math.round(isWhole ? run.epochs[position] : Math.min(epoch, run.epochs.at(-1)))}${isWhole ? "" : ", between two snapshots"}`;
  }

  /** Draw everything; while it is `moving`, the slow parts of large networks are left out. */
  function draw(moving = false) {
    const epoch = epochNow();
    for (const view of views) {
      compute(view, epoch);
      const parts = { ...view, ...view.axes };
      view.maps = state.responses && networkResponse.canDrawThumbnails(view.run) ? networkResponse.thumbnails(parts) : null;
      view.drawing.draw(view);
      view.facts.textContent = networkPanels.neuronText(view);
      if (!moving || view.run.parameters <= QUICK_WEIGHTS) view.response.draw(parts);
    }
    networkPanels.showPredictions(views, state.sample);
    const errors = views.map((view) => networkPanels.errorText(view, moving && view.run.parameters > QUICK_WEIGHTS));
    byId("prune-error").textContent = errors.map(({ text }) => text).join("; ");
    byId("prune-error").dataset.errors = errors.map(({ value }) => value).join(" ");
    showControls(epoch);
  }

  function showControls(epoch) {
    byId("play").textContent = playing ? "Pause" : "Play";
    byId("play").ariaPressed = String(playing);
    for (const key of ["time", "speed", "layer", "x", "y", "prune"]) byId(key).value = state[key];
    byId("sample").value = state.sample < 0 ? "" : state.sample;
    const field = byId("neuron");
    if (document.activeElement !== field) field.value = state.neuron + 1; // nobody types in it
    byId("neuron").max = first.units[state.layer];
    byId("responses").checked = state.responses;
    byId("follow").checked = state.follow;
    byId("epoch").textContent = `${Math.round(epoch)} of ${main.epochs.at(-1)}`;
    byId("time").setAttribute("aria-valuetext", `epoch ${Math.round(epoch)}`);
    byId("pruned").textContent = `${Math.round(100 * state.prune)}%`;
    sliders.forEach((show, i) => show(state.inputs[i]));
    lossMarker.setMarker(epoch);
    pruneMarker.setMarker(100 * state.prune);
  }

  function play(on) {
    playing = on;
    if (on && state.time >= main.epochs.length - 1) state.time = 0;
    lastFrame = performance.now();
    if (on) requestAnimationFrame(tick);
    change();
  }

  function tick(now) {
    if (!playing) return;
    const end = main.epochs.length - 1;
    state.time = Math.min(state.time + (Math.max(now - lastFrame, 0) / 1000) * state.speed * (end / PLAY_SECONDS), end);
    lastFrame = now;
    draw(true);
    if (state.time >= end) play(false);
    else requestAnimationFrame(tick);
  }

  function moveTo(time) {
    playing = false;
    state.time = clamp(time, 0, main.epochs.length - 1);
    change();
  }

  function setInputs(values, sample = -1) {
    state.inputs = values;
    state.sample = sample;
    change();
  }

  /** Show inputs in SI units, such as q, qd and qdd of a moving arm; the address stays as it is. */
  function setNetworkInput(values) {
    if (values.length !== state.inputs.length) throw new RangeError(`the network has ${state.inputs.length} inputs, not ${values.length}`);
    Object.assign(state, { inputs: Array.from(values), sample: -1 });
    change(true);
  }

  function fillLists() {
    byId("time").max = main.epochs.length - 1;
    first.units.forEach((_, layer) => byId("layer").append(option(layer, layer ? first.shapes[layer - 1].name : "inputs")));
    first.data.inputs.forEach((input, i) => [byId("x"), byId("y")].forEach((list) => list.append(option(i, withUnit(input)))));
    const few = first.data.inputs.length <= 3;
    first.data.samples.inputs.forEach((values, i) => byId("sample").append(option(i, few ? values.join(", ") : `${i + 1}`)));
    byId("responses-label").hidden = !runs.some(networkResponse.canDrawThumbnails);
    byId("follow-label").hidden = runs.every((run) => run.data.finished);
    const isLarge = runs.some((run) => run.units.some((count) => count > 40));
    const notes = isLarge ? ["Each square is a neuron of a large layer; of its links the strongest are drawn."] : [];
    for (const { title, data, epochs } of runs) {
      if (data.best_epoch === null || data.best_epoch === epochs.at(-1)) continue;
      notes.push(`${title}: the last weights are those of epoch ${data.best_epoch}, which has the lowest validation loss.`);
    }
    byId("summary").textContent = notes.join(" ");
  }

  function listen() {
    const on = (id, event, action) => byId(id).addEventListener(event, () => action(byId(id)));
    on("play", "click", () => play(!playing));
    on("back", "click", () => moveTo(Math.ceil(state.time) - 1));
    on("forward", "click", () => moveTo(Math.floor(state.time) + 1));
    on("time", "input", (slider) => moveTo(Number(slider.value)));
    on("reset", "click", () => setInputs(first.data.inputs.map((input) => input.initial)));
    on("sample", "change", (list) => (list.value === "" ? setInputs(state.inputs) : setInputs([...first.data.samples.inputs[list.value]], Number(list.value))));
    on("layer", "change", (list) => choose(Number(list.value), state.neuron));
    on("neuron", "blur", () => change());
    on("neuron", "input", (field) => field.value !== "" && choose(state.layer, Math.round(field.value) - 1));
    for (const id of ["speed", "x", "y"]) on(id, "change", (list) => { state[id] = Number(list.value); change(); });
    on("prune", "input", (slider) => { state.prune = Number(slider.value); change(); });
    for (const id of ["responses", "follow"]) on(id, "change", (box) => { state[id] = box.checked; change(); });
    window.addEventListener("resize", () => change());
    window.addEventListener("hashchange", () => {
      Object.assign(state, networkState.read(first, main, location.hash));
      change();
    });
    setInterval(() => {
      if (!state.follow || byId("follow-label").hidden) return;
      address.now();
      location.reload();
    }, FOLLOW_INTERVAL);
  }

  fillLists();
  const sliders = networkPanels.inputSliders(first, (index, value) => setInputs(state.inputs.map((old, i) => (i === index ? value : old))));
  const lossMarker = networkPanels.lossChart(runs), pruneMarker = networkPanels.pruneChart(runs, pageData.tickets ?? []);
  networkPanels.downloadButtons(views, () => Math.round(epochNow()));
  listen();
  draw();

  return { state, views, runs, setNetworkInput, draw, address };
})();
const { setNetworkInput } = networkPage;
