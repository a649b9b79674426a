/** Panels below the network: inputs, predictions, the chosen neuron, pruning, loss and downloads. */
const networkPanels = (() => {
  const REST_BUDGET = 60, BUSY_BUDGET = 8; // [ms] of computing an error
  const { format, shortName } = networkView;

  function element(name, properties = {}, ...children) {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  }
  const byId = (id) => document.getElementById(id);
  const option = (value, text) => element("option", { value: String(value), textContent: text });
  const withUnit = ({ name, unit }) => shortName(name) + (unit && ` [${unit}]`);

  /** One slider per input; `onInput(index, value)`. */
  function inputSliders(run, onInput) {
    return run.data.inputs.map((input, index) => {
      const slider = element("input", { type: "range", min: input.low, max: input.high, step: "any", id: `input-${index}` });
      const output = element("output");
      slider.addEventListener("input", () => onInput(index, Number(slider.value)));
      byId("inputs").append(element("label", { className: "slider" }, withUnit(input), slider, output));
      return (value) => {
        slider.value = value;
        output.textContent = format(value);
      };
    });
  }

  /** Inputs of another run: the values of inputs of the same name, else the first ones. */
  function inputsOf(run, first, values) {
    if (run === first) return values;
    const places = new Map(first.data.inputs.map((input, i) => [input.name, i]));
    return run.data.inputs.map((input) => (places.has(input.name) ? values[places.get(input.name)] : input.initial));
  }

  function showPredictions(views, sample) {
    const head = ["", ...views.map(({ run }) => run.title), ...(sample < 0 ? [] : ["sample"])];
    const outputs = views[0].run.data.outputs;
    const rows = outputs.map((output, k) => [withUnit(output), ...views.map((view) => (view.run.data.outputs[k] ? format(view.prediction[k]) : "")),
      ...(sample < 0 ? [] : [format(views[0].run.data.samples.targets[sample][k])])]);
    const cells = (row, tag) => element("tr", {}, ...row.map((text) => element(tag, { textContent: text })));
    byId("predictions").replaceChildren(element("table", {}, element("thead", {}, cells(head, "td")), element("tbody", {}, ...rows.map((row) => cells(row, "td")))));
  }

  /** Facts of the chosen neuron in words. */
  function neuronText({ run, layers, columns, chosen }) {
    const { sums, values } = columns[chosen.layer], value = format(values[chosen.neuron]);
    if (chosen.layer === 0) return `Input of the network: ${value}.`;
    const shape = run.shapes[chosen.layer - 1], layer = layers[chosen.layer - 1], width = shape.inputs;
    const row = Array.from(layer.weight.subarray(chosen.neuron * width, (chosen.neuron + 1) * width));
    const links = row.map((weight, i) => [Math.abs(weight), weight, i]).sort((a, b) => b[0] - a[0]).slice(0, 3);
    const norm = shape.norm_eps === null ? "" : " after LayerNorm";
    return `${shape.activation}(${format(sums[chosen.neuron])}${norm}) = ${value}; bias ${format(layer.bias[chosen.neuron])}; `
      + `strongest weights ${links.map(([, weight, i]) => `${format(weight)} from neuron ${i + 1}`).join(", ")}.`;
  }

  function errorText({ run, layers }, busy) {
    const { value, count } = run.error(layers, busy ? BUSY_BUDGET : REST_BUDGET);
    return { value, text: `${run.title}: error ${format(100 * value)}% of the variance on ${count} samples (${run.data.samples.source})` };
  }

  function lossChart(runs) {
    const series = runs.flatMap((run) => {
      const { epoch, train, val } = run.data.losses, name = runs.length > 1 ? `${run.title}, ` : "";
      const both = [{ name: `${name}training`, x: epoch, y: train }, { name: `${name}validation`, x: epoch, y: val, dashed: true }];
      return JSON.stringify(train) === JSON.stringify(val) ? both.slice(0, 1) : both;
    }).filter((line) => line.x.length);
    if (!series.length) {
      byId("loss-chart").append(element("p", { textContent: "The loss was not recorded." }));
      return { setMarker() {} };
    }
    const logY = series.every((line) => line.y.every((value) => value > 0));
    return lineChart(byId("loss-chart"), { title: "Loss against epoch", xLabel: "epoch", yLabel: "loss", series, logY });
  }

  /** Error of the trained networks against sparsity, and the curves of lottery tickets if there are any. */
  function pruneChart(runs, tickets) {
    const lines = runs.map((run) => ({ name: `${runs.length > 1 ? `${run.title}, ` : ""}pruned, not trained again`, x: run.data.pruning.sparsity, y: run.data.pruning.error }));
    const series = [...lines, ...tickets];
    const logY = series.every((line) => line.y.every((value) => value > 0));
    return lineChart(byId("prune-chart"), { title: "Error of the trained network", xLabel: "weights set to zero [%]", yLabel: "error [% of variance]", series, logY });
  }

  function download(name, blob) {
    const link = element("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function downloadButtons(views, epochOf) {
    for (const view of views) {
      const stem = view.run.title.replaceAll(/[^A-Za-z0-9]+/g, "_");
      const files = {
        json: () => new Blob([networks.toJson(view.run, view.layers, epochOf(view))], { type: "application/json" }),
        safetensors: () => networks.toSafetensors(view.run, view.layers),
      };
      for (const [suffix, make] of Object.entries(files)) {
        const button = element("button", { type: "button", textContent: `${view.run.title}: ${suffix}`, className: "download" });
        button.addEventListener("click", () => download(`${stem}.${suffix}`, make()));
        byId("downloads").append(button);
      }
    }
  }

  return { element, byId, option, withUnit, inputSliders, inputsOf, showPredictions, neuronText, errorText, lossChart, pruneChart, downloadButtons };
})();
