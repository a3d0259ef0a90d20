// Many points, drawn into an array of pixels, and found again through a grid. 50,000 take a few milliseconds.

const CELLS = 128; // of the grid, in each direction
const SUB = 4; // places within a pixel at which a point may lie

export class Points {
  /** `numbers` (n) and `places` (n × 2, in −1..1) of songs; `group(x, y)` gives the colour of a place. */
  constructor(numbers, places, group) {
    const n = numbers.length;
    const cells = new Uint16Array(n);
    const starts = new Uint32Array(CELLS * CELLS + 1);
    for (let at = 0; at < n; at++) {
      cells[at] = cell(places[2 * at]) + CELLS * cell(places[2 * at + 1]);
      starts[cells[at] + 1]++;
    }
    for (let at = 0; at < CELLS * CELLS; at++) starts[at + 1] += starts[at];
    Object.assign(this, { n, starts, numbers: new Uint32Array(n), x: new Float32Array(n), y: new Float32Array(n), groups: new Uint8Array(n) });
    const next = starts.slice();
    for (let from = 0; from < n; from++) {
      const at = next[cells[from]]++;
      this.numbers[at] = numbers[from];
      this.x[at] = places[2 * from];
      this.y[at] = places[2 * from + 1];
      this.groups[at] = group(this.x[at], this.y[at]);
    }
    this.places = new Map(); // number → where it is, made when it is first asked for
  }

  /** Where a song is in the arrays, or −1. */
  find(number) {
    if (!this.places.size) this.numbers.forEach((one, at) => this.places.set(one, at));
    return this.places.get(number) ?? -1;
  }

  /** Ranges of points in the cells that a rectangle of the map touches, row by row. */
  *ranges(left, right, bottom, top) {
    const [first, last] = [cell(left), cell(right)];
    for (let row = cell(bottom); row <= cell(top); row++) yield [this.starts[row * CELLS + first], this.starts[row * CELLS + last + 1]];
  }

  /** The nearest point within a distance, or −1. */
  nearest(x, y, within) {
    let best = within * within;
    let found = -1;
    for (const [from, to] of this.ranges(x - within, x + within, y - within, y + within)) {
      for (let at = from; at < to; at++) {
        const distance = (this.x[at] - x) ** 2 + (this.y[at] - y) ** 2;
        if (distance <= best) [best, found] = [distance, at];
      }
    }
    return found;
  }

  /**
   * Draw into pixels (Uint32Array, width × height, as ImageData has them).
   *
   * `view` is {x, y, scale}: the place in the middle, and pixels per unit. `colours` has a pixel for each group.
   * At most about `limit` points are drawn, while the map moves and there are very many; returns whether some are missing.
   */
  draw(pixels, width, height, view, { colours, background, radius, opacity, limit = Infinity }) {
    pixels.fill(background);
    const { x: xs, y: ys, groups } = this;
    const margin = Math.ceil(radius + 0.5);
    const kernels = discs(radius, margin, opacity, width);
    const [halfWide, halfHigh] = [width / 2 / view.scale, height / 2 / view.scale];
    const seen = [...this.ranges(view.x - halfWide, view.x + halfWide, view.y - halfHigh, view.y + halfHigh)];
    const every = Math.max(1, Math.ceil(seen.reduce((sum, [from, to]) => sum + to - from, 0) / limit));
    for (const [from, to] of seen) {
      for (let at = from; at < to; at += every) {
        const px = (xs[at] - view.x) * view.scale + width / 2;
        const py = (view.y - ys[at]) * view.scale + height / 2;
        const [column, row] = [Math.floor(px), Math.floor(py)];
        if (column < margin || row < margin || column >= width - margin || row >= height - margin) continue;
        const { offsets, shares } = kernels[Math.floor((px - column) * SUB) + SUB * Math.floor((py - row) * SUB)];
        const colour = colours[groups[at]];
        const [redBlue, green] = [colour & 0xff00ff, colour & 0x00ff00];
        const middle = row * width + column;
        for (let part = 0; part < offsets.length; part++) {
          const pixel = middle + offsets[part];
          const share = shares[part];
          const rest = 256 - share;
          const old = pixels[pixel];
          pixels[pixel] =
            0xff000000 |
            (((Math.imul(redBlue, share) + Math.imul(old & 0xff00ff, rest)) >>> 8) & 0xff00ff) |
            (((Math.imul(green, share) + Math.imul(old & 0x00ff00, rest)) >>> 8) & 0x00ff00);
        }
      }
    }
    return every > 1;
  }
}

const cell = (value) => Math.min(Math.max(Math.floor(((value + 1) / 2) * CELLS), 0), CELLS - 1);

/**
 * The pixels that a disc covers, for each place within a pixel that its middle may have: where they are from the middle's
 * pixel on, in an image of a width, and how much of each is covered, 1..256.
 */
function discs(radius, margin, opacity, width) {
  return Array.from({ length: SUB * SUB }, (_, place) => {
    const [x, y] = [((place % SUB) + 0.5) / SUB, (Math.floor(place / SUB) + 0.5) / SUB];
    const [offsets, shares] = [[], []];
    for (let row = -margin; row <= margin; row++) {
      for (let column = -margin; column <= margin; column++) {
        const far = Math.hypot(column + 0.5 - x, row + 0.5 - y);
        const share = Math.round(256 * opacity * Math.min(Math.max(radius - far + 0.5, 0), 1));
        if (!share) continue;
        offsets.push(row * width + column);
        shares.push(share);
      }
    }
    return { offsets: Int32Array.from(offsets), shares: Int32Array.from(shares) };
  });
}

/** A colour "#rrggbb" as a pixel of ImageData, on machines as they are (the lowest byte is red). */
export function pixel(colour) {
  const value = Number.parseInt(colour.slice(1), 16);
  return (0xff000000 | ((value & 0xff) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}
