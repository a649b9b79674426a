// Matrices 4 x 4 as arrays of 16 numbers by columns, as WebGL takes them.

const Matrix = {
  identity: () => [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],

  multiply(a, b) {
    const result = new Array(16);
    for (let column = 0; column < 4; column++) {
      for (let row = 0; row < 4; row++) {
        let sum = 0;
        for (let k = 0; k < 4; k++) sum += a[4 * k + row] * b[4 * column + k];
        result[4 * column + row] = sum;
      }
    }
    return result;
  },

  translation: ([x, y, z]) => [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, x, y, z, 1],

  scaling: ([x, y, z]) => [x, 0, 0, 0, 0, y, 0, 0, 0, 0, z, 0, 0, 0, 0, 1],

  /** Rotation about a unit vector by an angle [rad]. */
  rotation([x, y, z], angle) {
    const c = Math.cos(angle), s = Math.sin(angle), t = 1 - c;
    return [
      t * x * x + c, t * x * y + s * z, t * x * z - s * y, 0,
      t * x * y - s * z, t * y * y + c, t * y * z + s * x, 0,
      t * x * z + s * y, t * y * z - s * x, t * z * z + c, 0,
      0, 0, 0, 1,
    ];
  },

  /** Rotation about the fixed axes x, y, z, as in a URDF. */
  fromRpy([roll, pitch, yaw]) {
    const [x, y, z] = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
    return [Matrix.rotation(z, yaw), Matrix.rotation(y, pitch), Matrix.rotation(x, roll)]
      .reduce(Matrix.multiply);
  },

  perspective(angle, aspect, near, far) {
    const f = 1 / Math.tan(angle / 2), depth = near - far;
    return [f / aspect, 0, 0, 0, 0, f, 0, 0,
      0, 0, (far + near) / depth, -1, 0, 0, 2 * far * near / depth, 0];
  },

  /** View matrix of a camera that orbits a point, z up. */
  orbit({ target, yaw, pitch, distance }) {
    const turn = Matrix.multiply(
      Matrix.rotation([1, 0, 0], pitch - Math.PI / 2), Matrix.rotation([0, 0, 1], -yaw));
    const centred = Matrix.multiply(turn, Matrix.translation(target.map((value) => -value)));
    return Matrix.multiply(Matrix.translation([0, 0, -distance]), centred);
  },
};

/** Poses of the joint frames of an arm (forward kinematics). */
function framePoses(frames, positions) {
  const poses = [];
  for (const [i, frame] of frames.entries()) {
    const parent = frame.parent < 0 ? Matrix.identity() : poses[frame.parent];
    const motion = frame.slides
      ? Matrix.translation(frame.axis.map((value) => value * positions[i]))
      : Matrix.rotation(frame.axis, positions[i]);
    poses.push(Matrix.multiply(Matrix.multiply(parent, frame.T), motion));
  }
  return poses;
}
