// The arm in 3D: measured, desired as a translucent ghost, table, boxes and blocks.

const VERTEX_SHADER = `#version 300 es
uniform mat4 world, view, projection;
in vec3 point, normal;
out vec3 direction;
void main() {
  direction = mat3(world) * normal;
  gl_Position = projection * view * world * vec4(point, 1.0);
}`;
const FRAGMENT_SHADER = `#version 300 es
precision highp float;
uniform vec4 color;
uniform float shade;
in vec3 direction;
out vec4 result;
void main() {
  vec3 n = normalize(direction);
  float light = 0.45 + 0.4 * max(dot(n, normalize(vec3(0.4, -0.6, 0.8))), 0.0)
    + 0.2 * max(dot(n, normalize(vec3(-0.7, 0.5, 0.4))), 0.0);
  result = vec4(color.rgb * mix(1.0, light, shade), color.a);
}`;
const GHOST = [0.0, 0.45, 0.7, 0.4];
const COLORS = { table: [0.9, 0.91, 0.93, 1], line: [0.76, 0.78, 0.81, 1], box: [0.83, 0.55, 0.2, 0.55],
  block: [0.84, 0.37, 0, 1], goal: [0.9, 0.62, 0, 1] };
const TURN = 0.1; // [rad] of an arrow key
const GRID_STEP = 0.1; // [m]

function decode(text, type) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new type(bytes.buffer);
}

/** Points and normals of a cube with sides of 1 m about the origin. */
function cube() {
  const points = [], normals = [];
  for (let axis = 0; axis < 3; axis++) {
    for (const sign of [-1, 1]) {
      const corners = [[-1, -1], [1, -1], [1, 1], [-1, -1], [1, 1], [-1, 1]];
      for (const [u, v] of sign > 0 ? corners : corners.reverse()) {
        const point = [0, 0, 0], normal = [0, 0, 0];
        point[axis] = sign / 2; point[(axis + 1) % 3] = u / 2; point[(axis + 2) % 3] = v / 2;
        normal[axis] = 127 * sign;
        points.push(...point); normals.push(...normal);
      }
    }
  }
  return { points: new Float32Array(points), normals: new Int8Array(normals) };
}

/** Lines of a square grid in the plane z = 0. */
function gridLines(side) {
  const points = [], half = side / 2;
  for (let x = -half; x <= half + 1e-6; x += GRID_STEP) {
    points.push(x, -half, 0, x, half, 0, -half, x, 0, half, x, 0);
  }
  return new Float32Array(points);
}

/** Lines of a ring about the origin in the plane z = 0. */
function ringLines(radius) {
  const points = [];
  for (let i = 0; i < 48; i++) {
    for (const k of [i, i + 1]) {
      points.push(radius * Math.cos(k * Math.PI / 24), radius * Math.sin(k * Math.PI / 24), 0);
    }
  }
  return new Float32Array(points);
}

class ArmScene {
  /** @param {HTMLCanvasElement} canvas @param {object} data description of the arm. */
  constructor(canvas, data) {
    this.canvas = canvas;
    this.data = data;
    this.gl = canvas.getContext("webgl2", { antialias: true });
    this.state = { q: data.home, desired: null, opening: 0, blocks: [] };
    const reach = data.frames.reduce((sum, { T }) => sum + Math.hypot(T[12], T[13], T[14]), 0.1);
    this.start = { target: [0.15 * reach, 0, 0.28 * reach], yaw: 0.9, pitch: 0.4, distance: 1.35 * reach };
    this.camera = { ...this.start };
    this.tableSide = 2 * GRID_STEP * Math.ceil(reach / GRID_STEP);
    this.frameCount = 0;
    if (!this.gl) return;
    this.setUp();
    this.listen();
    new ResizeObserver(() => this.requestDraw()).observe(canvas);
    this.requestDraw();
  }

  setUp() {
    const { gl, data } = this;
    const program = this.program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX_SHADER], [gl.FRAGMENT_SHADER, FRAGMENT_SHADER]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    this.uniforms = Object.fromEntries(["world", "view", "projection", "color", "shade"]
      .map((name) => [name, gl.getUniformLocation(program, name)]));
    this.surfaces = data.surfaces.map(({ frame, color, points, normals }) => ({
      frame, color: [...color, 1], mesh: this.mesh(decode(points, Float32Array), decode(normals, Int8Array)),
    }));
    const { points, normals } = cube();
    this.cube = this.mesh(points, normals);
    this.grid = this.mesh(gridLines(this.tableSide));
    this.ring = this.mesh(ringLines(0.7 * data.blockSize));
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE);
  }

  mesh(points, normals = new Int8Array(points.length)) {
    const { gl, program } = this;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    for (const [name, values, type] of [["point", points, gl.FLOAT], ["normal", normals, gl.BYTE]]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      const location = gl.getAttribLocation(program, name);
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, 3, type, type === gl.BYTE, 0, 0);
    }
    return { array, count: points.length / 3 };
  }

  /** Orbit by mouse, finger, wheel and keys. */
  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons) this.turn(-0.01 * event.movementX, 0.01 * event.movementY);
    });
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(0.001 * event.deltaY));
    }, { passive: false });
    const keys = {
      ArrowLeft: () => this.turn(-TURN, 0), ArrowRight: () => this.turn(TURN, 0),
      ArrowUp: () => this.turn(0, TURN), ArrowDown: () => this.turn(0, -TURN),
      "+": () => this.zoom(0.9), "-": () => this.zoom(1 / 0.9), 0: () => this.reset(),
    };
    canvas.addEventListener("keydown", (event) => {
      if (!(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    });
  }

  turn(yaw, pitch) {
    this.camera.yaw += yaw;
    this.camera.pitch = Math.min(Math.max(this.camera.pitch + pitch, -0.2), 1.5);
    this.requestDraw();
  }

  zoom(factor) {
    const { distance } = this.start;
    this.camera.distance = Math.min(Math.max(this.camera.distance * factor, 0.3 * distance), 3 * distance);
    this.requestDraw();
  }

  reset() {
    this.camera = { ...this.start };
    this.requestDraw();
  }

  /** @param {object} state message of the server */
  setState(state) {
    this.state = { ...state, q: state.q ?? this.state.q };
    this.requestDraw();
  }

  requestDraw() {
    if (this.pending || !this.gl) return;
    this.pending = true;
    requestAnimationFrame(() => { this.pending = false; this.draw(); });
  }

  draw() {
    const { gl, canvas, camera, uniforms, state } = this;
    const scale = Math.min(window.devicePixelRatio, 2);
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale));
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0.965, 0.97, 0.975, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix4fv(uniforms.view, false, Matrix.orbit(camera));
    const aspect = canvas.width / canvas.height;
    const angle = aspect < 1 ? 1.0 : 0.75;
    gl.uniformMatrix4fv(uniforms.projection, false,
      Matrix.perspective(angle, aspect, 0.03 * camera.distance, 10 * camera.distance));
    this.drawSurroundings();
    this.drawArm(state.q, state.opening);
    gl.enable(gl.BLEND);
    this.drawBoxes();
    if (state.desired) this.drawGhost(state.desired, state.opening);
    gl.disable(gl.BLEND);
    this.frameCount += 1;
  }

  drawMesh(mesh, world, color, shade = 1, mode = this.gl.TRIANGLES) {
    const { gl, uniforms } = this;
    gl.uniformMatrix4fv(uniforms.world, false, world);
    gl.uniform4fv(uniforms.color, color);
    gl.uniform1f(uniforms.shade, shade);
    gl.bindVertexArray(mesh.array);
    gl.drawArrays(mode, 0, mesh.count);
  }

  drawSurroundings() {
    const { gl, data, state } = this;
    if (data.table) {
      const slab = Matrix.multiply(Matrix.translation([0, 0, -0.012]),
        Matrix.scaling([this.tableSide, this.tableSide, 0.02]));
      this.drawMesh(this.cube, slab, COLORS.table);
      this.drawMesh(this.grid, Matrix.translation([0, 0, 0]), COLORS.line, 0, gl.LINES);
    }
    if (data.goal) {
      const [x, y] = data.goal;
      this.drawMesh(this.ring, Matrix.translation([x, y, 0.001]), COLORS.goal, 0, gl.LINES);
    }
    for (const pose of state.blocks ?? []) {
      const size = Matrix.scaling([1, 1, 1].map((one) => one * data.blockSize));
      this.drawMesh(this.cube, Matrix.multiply(pose, size), COLORS.block);
    }
  }

  drawArm(q, opening, color) {
    const { data } = this;
    const fraction = data.maxOpening ? (opening ?? data.maxOpening) / data.maxOpening : 0;
    const positions = [...q, ...data.fingers.map(([closed, open]) => closed + fraction * (open - closed))];
    const poses = framePoses(data.frames, positions);
    for (const surface of this.surfaces) {
      const pose = surface.frame < 0 ? Matrix.identity() : poses[surface.frame];
      this.drawMesh(surface.mesh, pose, color ?? surface.color);
    }
  }

  drawBoxes() {
    for (const { size, position, rpy } of this.data.boxes) {
      const pose = Matrix.multiply(Matrix.translation(position), Matrix.fromRpy(rpy));
      this.drawMesh(this.cube, Matrix.multiply(pose, Matrix.scaling(size)), COLORS.box);
    }
  }

  /** Draw the desired pose, first its depth only, so that no surface shines through another. */
  drawGhost(q, opening) {
    const { gl } = this;
    gl.enable(gl.POLYGON_OFFSET_FILL);
    gl.polygonOffset(1, 4); // behind the measured arm where both are the same
    gl.colorMask(false, false, false, false);
    this.drawArm(q, opening, GHOST);
    gl.colorMask(true, true, true, true);
    this.drawArm(q, opening, GHOST);
    gl.disable(gl.POLYGON_OFFSET_FILL);
  }
}
