// The live window: what arrives is shown, and buttons and keys become commands.

const WORDS = {
  engaged: "Engaged", holding: "Holding", disengaged: "Not engaged", fault: "Fault",
  unknown: "Unknown", silent: "No data", lost: "Connection lost",
};
const LINK_REASONS = {
  silent: "the server is connected, but nothing new arrives; values below are old",
  lost: "the arm goes on as it was; stop it with the emergency stop or 'invdyn stop'. Connecting again ...",
};
const LEVEL_WORDS = { OK: "ok", WARN: "warning", ERROR: "error", STALE: "no data" };
const STOP_KEYS = ["Escape", " "];

const byId = (id) => document.getElementById(id);
const setText = (id, text) => {
  if (byId(id).textContent !== text) byId(id).textContent = text;
};
const fixed = (value, digits, unit) => (value == null ? "–" : `${value.toFixed(digits)} ${unit}`);

const armScene = new ArmScene(byId("arm"), pageData);
byId("no-webgl").hidden = Boolean(armScene.gl);
const cameraView = new CameraView(byId("camera"), pageData);
const jointTable = new JointTable(byId("joints"), pageData);
const jointCurve = new JointCurve(byId("curve"), byId("curve-joint"), pageData);
let lastState = null;
let recording = false;

/** Show the state of the controller, or that it is not known because the connection is gone. */
function showEngagement(state, reason) {
  byId("state").dataset.state = state;
  setText("state-word", WORDS[state]);
  setText("state-reason", reason);
  const known = !["unknown", "silent", "lost"].includes(state);
  byId("engage").disabled = !known || state === "engaged";
  byId("disengage").disabled = !known || ["disengaged", "fault"].includes(state);
  byId("record").disabled = !known && !recording;
  document.body.classList.toggle("old", ["silent", "lost"].includes(state));
}

/** A stamp [s] as a time of day, or a simulated one as seconds. */
function clockTime(stamp) {
  return stamp > 1e9 ? new Date(1000 * stamp).toLocaleTimeString() : `${stamp.toFixed(2)} s of the simulation`;
}

function showClearances(clearances = {}) {
  for (const kind of ["obstacles", "itself"]) {
    const value = clearances[kind];
    let text = "–";
    if (value?.distance != null) text = `${(1000 * value.distance).toFixed(0)} mm: ${value.pair.join(" to ")}`;
    else if (value) text = `over ${(1000 * value.range).toFixed(0)} mm`;
    setText(`to-${kind}`, text);
    byId(`to-${kind}`).classList.toggle("bad", value?.distance < 0.005 && value?.distance != null);
  }
}

function showLatency(latency) {
  setText("latency", latency
    ? `${latency.last.toFixed(0)} ms (median ${latency.p50.toFixed(0)}, 99% below ${latency.p99.toFixed(0)})`
    : "– (no camera image led to a command, or time is simulated)");
}

function showNodes(nodes) {
  const rows = nodes.map(({ name, level, message }) => {
    const row = document.createElement("tr");
    for (const text of [name, LEVEL_WORDS[level], message]) row.insertCell().textContent = text;
    row.dataset.level = level;
    return row;
  });
  byId("nodes").replaceChildren(...rows);
}

function showRecording(path) {
  recording = path != null;
  byId("record").setAttribute("aria-pressed", String(recording));
  setText("record", recording ? "End recording" : "Record");
  setText("recording", path ?? "–");
}

function showState(state) {
  lastState = state;
  if (connection.link === "open") showEngagement(state.state, state.reason);
  armScene.setState(state);
  jointTable.show(state);
  jointCurve.show(state);
  setText("tool-speed", state.tool_speed == null ? "– (no velocities are measured)" : fixed(state.tool_speed, 3, "m/s"));
  setText("opening", fixed(state.opening == null ? null : 1000 * state.opening, 0, "mm"));
  setText("stamp", clockTime(state.stamp));
  setText("rates", Object.entries(state.rates).map(([name, rate]) => `${rate} ${name}`).join("\n") || "–");
  showClearances(state.clearances);
  showLatency(state.latency);
  showNodes(state.nodes);
  showRecording(state.recording);
}

function showLink(link) {
  if (link === "open") {
    if (lastState) showEngagement(lastState.state, lastState.reason);
  } else {
    showEngagement(link, LINK_REASONS[link]);
  }
}

/** Send a command and show its answer; that of a stop is never replaced by an older one. */
let lastCommand = 0;
async function send(name) {
  const number = ++lastCommand;
  byId("answer").className = "muted";
  setText("answer", `${name.replace("_", " ")} ...`);
  const { success, message } = await connection.command(name);
  if (number !== lastCommand) return;
  byId("answer").className = success ? "" : "bad";
  setText("answer", success ? message : `${name.replace("_", " ")}: ${message}`);
}

for (const name of ["stop", "engage", "disengage"]) {
  byId(name).addEventListener("click", () => send(name));
}
byId("record").addEventListener("click", () => send(recording ? "end_recording" : "record"));
byId("network")?.addEventListener("click", () => {
  window.open(`/network?key=${encodeURIComponent(connection.key)}`, "_blank", "noopener");
});
byId("reset-view").addEventListener("click", () => armScene.reset());

// before any control gets the key: a space on the button Engage stops, too
for (const kind of ["keydown", "keyup"]) {
  window.addEventListener(kind, (event) => {
    if (!STOP_KEYS.includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    if (kind === "keydown" && !event.repeat) send("stop");
  }, { capture: true });
}

const connection = new LiveConnection({
  onState: showState,
  onImage: (buffer) => {
    byId("no-image").hidden = true;
    return cameraView.show(buffer);
  },
  onLink: showLink,
});
