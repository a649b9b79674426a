// Browsers start no workers under file://, and the search is one: it runs in a hidden frame there.
class FrameWorker extends EventTarget {
  constructor(url) {
    super();
    this.onmessage = null;
    const frame = document.createElement("iframe");
    frame.hidden = true;
    document.body.append(frame);
    this.scope = frame.contentWindow;
    this.scope.postMessage = (data) => {
      const event = new MessageEvent("message", { data });
      this.dispatchEvent(event);
      this.onmessage?.(event);
    };
    const load = (source) =>
      new Promise((resolve, reject) => {
        const script = this.scope.document.createElement("script");
        Object.assign(script, { src: source, onload: resolve, onerror: reject });
        this.scope.document.body.append(script);
      });
    this.scope.importScripts = async (...sources) => {
      for (const source of sources) await load(source);
    };
    this.loaded = load(url);
  }

  postMessage(data) {
    this.loaded.then(() => this.scope.dispatchEvent(new MessageEvent("message", { data })));
  }
}
if (location.protocol === "file:") window.Worker = FrameWorker;
