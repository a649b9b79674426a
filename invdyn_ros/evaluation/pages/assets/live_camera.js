// The camera image of the live window, with the person's skeleton and the axes of the blocks.

const AXES = [["x", "#ef473d"], ["y", "#48c762"], ["z", "#6fb1ff"]];
const BONE_COLOR = "#f2f2f2", FOLLOWED_COLOR = "#ff9628"; // as in the film

/** Split an image message: length of the header, header as JSON, JPEG. */
function parseImage(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { header, jpeg: new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }) };
}

class CameraView {
  /** @param {HTMLCanvasElement} canvas @param {object} data description of the run. */
  constructor(canvas, data) {
    this.canvas = canvas;
    this.data = data;
    this.context = canvas.getContext("2d");
    this.frameCount = 0;
    this.header = null;
  }

  /** @param {ArrayBuffer} buffer message of the server */
  async show(buffer) {
    const { header, jpeg } = parseImage(buffer);
    const image = await createImageBitmap(jpeg);
    const { canvas, context } = this;
    if (canvas.width !== image.width || canvas.height !== image.height) {
      canvas.width = image.width;
      canvas.height = image.height;
    }
    context.globalAlpha = 1;
    context.drawImage(image, 0, 0);
    image.close();
    if (header.landmarks) this.drawSkeleton(header.landmarks);
    for (const block of header.blocks) this.drawBlock(block);
    this.header = header;
    this.frameCount += 1;
  }

  line([[ax, ay], [bx, by]], color, width) {
    const { context, canvas } = this, unit = canvas.height;
    for (const [style, size] of [["#1e1e1e", width + 2], [color, width]]) {
      context.strokeStyle = style;
      context.lineWidth = size;
      context.lineCap = "round";
      context.beginPath();
      context.moveTo(unit * ax, unit * ay);
      context.lineTo(unit * bx, unit * by);
      context.stroke();
    }
  }

  /** Draw bones; occluded ones are faint, the arm that is followed is thick and orange. */
  drawSkeleton(landmarks) {
    const { context, canvas, data } = this, unit = Math.max(canvas.width, canvas.height) / 480;
    for (const [a, b] of data.bones) {
      const followed = data.followed.includes(a) && data.followed.includes(b);
      context.globalAlpha = Math.min(landmarks[a][2], landmarks[b][2]);
      if (context.globalAlpha < 0.1) continue;
      this.line([landmarks[a], landmarks[b]], followed ? FOLLOWED_COLOR : BONE_COLOR, (followed ? 6 : 3) * unit);
    }
    context.globalAlpha = 1;
    for (const index of data.followed) {
      const [x, y, visibility] = landmarks[index];
      if (visibility < 0.3) continue;
      context.fillStyle = "#ffffff";
      context.strokeStyle = "#1e1e1e";
      context.lineWidth = unit;
      context.beginPath();
      context.arc(canvas.height * x, canvas.height * y, 5 * unit, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
  }

  /** Draw the axes of a block with their letters. */
  drawBlock({ id, points: [centre, ...tips] }) {
    const { context, canvas } = this, unit = canvas.height / 480;
    for (const [i, [name, color]] of AXES.entries()) {
      this.line([centre, tips[i]], color, 3 * unit);
      this.text(name, tips[i][0], tips[i][1], unit);
    }
    const top = Math.min(centre[1], ...tips.map((tip) => tip[1]));
    this.text(`block ${id}`, centre[0], Math.max(top - 0.05, 0.04), unit);
    context.globalAlpha = 1;
  }

  text(words, x, y, unit) {
    const { context, canvas } = this;
    context.font = `600 ${Math.round(15 * unit)}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.lineWidth = 4 * unit;
    context.strokeStyle = "#1e1e1e";
    context.fillStyle = "#ffffff";
    context.strokeText(words, canvas.height * x, canvas.height * y);
    context.fillText(words, canvas.height * x, canvas.height * y);
  }
}
