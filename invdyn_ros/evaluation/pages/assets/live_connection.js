// Connection of a live page to its server: the key, the WebSocket and the commands.

const KEY_NAME = "invdyn-live-key";
const SILENCE = 1500; // [ms] without a message after which the page says so
const RECONNECT = 1000; // [ms]
const COMMAND_TIMEOUT = 5000; // [ms]

/** Return the key, and remove it from the address, which others may see. */
function takeKey() {
  const parameters = new URLSearchParams(location.search);
  const key = parameters.get("key") || sessionStorage.getItem(KEY_NAME) || "";
  sessionStorage.setItem(KEY_NAME, key); // of this tab and this port only, unlike a cookie
  if (parameters.has("key")) history.replaceState(null, "", location.pathname + location.hash);
  return key;
}

class LiveConnection {
  /**
   * @param {{onState?: (state: object) => void, onImage?: (data: ArrayBuffer) => Promise<void>,
   *   onLink: (link: "open" | "silent" | "lost") => void}} handlers
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.key = takeKey();
    this.link = "";
    this.lastMessage = 0;
    setInterval(() => this.checkSilence(), 250);
    this.connect();
  }

  connect() {
    const address = `ws://${location.host}/live`;
    this.socket = new WebSocket(address, ["invdyn.live", `key.${this.key}`]);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => { this.lastMessage = performance.now(); };
    this.socket.onmessage = (event) => this.receive(event.data);
    this.socket.onclose = () => {
      this.setLink("lost");
      setTimeout(() => this.connect(), RECONNECT);
    };
  }

  /** Show a message, then confirm it: the server sends only as fast as the page draws. */
  async receive(data) {
    const socket = this.socket;
    this.lastMessage = performance.now();
    this.setLink("open");
    try {
      if (typeof data !== "string") await this.handlers.onImage?.(data);
      else this.handlers.onState?.(JSON.parse(data));
    } finally {
      if (socket.readyState === WebSocket.OPEN) socket.send("shown");
    }
  }

  checkSilence() {
    const silent = performance.now() - this.lastMessage > SILENCE;
    if (silent && this.socket.readyState === WebSocket.OPEN) this.setLink("silent");
  }

  setLink(link) {
    if (link === this.link) return;
    this.link = link;
    this.handlers.onLink(link);
  }

  /**
   * Send a command; it needs nothing of the WebSocket.
   * @param {string} name
   * @returns {Promise<{success: boolean, message: string}>}
   */
  async command(name) {
    try {
      const response = await fetch(`/command/${name}`, {
        method: "POST",
        headers: { Authorization: `Bearer ${this.key}` },
        signal: AbortSignal.timeout(COMMAND_TIMEOUT),
      });
      if (response.ok) return await response.json();
      return { success: false, message: (await response.text()).trim() };
    } catch (error) {
      return { success: false, message: `the server does not answer (${error.message})` };
    }
  }
}
