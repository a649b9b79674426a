// The network page of the live window: the inputs of the network are those of the moving arm.
{
  const status = document.createElement("p");
  status.id = "live-status";
  status.setAttribute("role", "status");
  document.querySelector("header").append(status);
  const WORDS = { open: "Live: the inputs are those of the moving arm.", silent: "No data: nothing new arrives.",
    lost: "Connection lost; connecting again ..." };
  const { inputs } = pageData.runs[0];

  /** Repeat a motion for every frame that the network takes; intervals deviate by nothing. */
  function networkInputs(motion) {
    const frames = Math.floor(inputs.length / motion.length);
    const values = new Array(inputs.length).fill(0);
    for (let i = 0; i < frames * motion.length; i++) values[i] = motion[i % motion.length];
    return values;
  }

  window.liveConnection = new LiveConnection({
    onState: ({ motion }) => { if (motion) setNetworkInput(networkInputs(motion)); },
    onLink: (link) => {
      status.textContent = WORDS[link];
      status.className = link === "open" ? "muted" : "bad";
    },
  });
}
