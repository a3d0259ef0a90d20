// Mouse, touch and keyboard on a canvas that is panned and zoomed.

const STEP = 60; // CSS pixels of an arrow key
const FACTOR = 1.35; // of + and −
const STILL = 5; // a press that moves less is a press, not a drag

export class Gestures {
  /** `on` has pan(dx, dy), zoom(factor, x, y), hover(x, y), press(x, y), middle() and all(). */
  constructor(canvas, on) {
    Object.assign(this, { canvas, on, pointers: new Map(), moved: 0, keyboard: false });
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("pointerdown", (event) => {
      this.keyboard = false;
      if (!this.pointers.size) this.moved = 0;
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, at(event));
      if (this.pointers.size > 1) this.moved = Infinity;
    });
    canvas.addEventListener("pointermove", (event) => this.move(event, at(event)));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => {
        const known = this.pointers.delete(event.pointerId);
        if (known && name === "pointerup" && !this.pointers.size && this.moved < STILL && event.button === 0) on.press(...at(event));
      });
    }
    canvas.addEventListener("pointerleave", () => !this.pointers.size && !this.keyboard && on.hover(null, null));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1;
      this.keyboard = false;
      on.zoom(Math.exp(-0.0015 * lines * event.deltaY * (event.ctrlKey ? 5 : 1)), ...at(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  move(event, [x, y]) {
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch" && (event.movementX || event.movementY)) {
        this.keyboard = false;
        this.on.hover(x, y);
      }
      return;
    }
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    this.pointers.set(event.pointerId, [x, y]);
    if (others.length === 1) {
      const [[otherX, otherY]] = others;
      const distance = (from) => Math.max(Math.hypot(from[0] - otherX, from[1] - otherY), 1);
      this.on.pan((x - before[0]) / 2, (y - before[1]) / 2);
      this.on.zoom(distance([x, y]) / distance(before), (x + otherX) / 2, (y + otherY) / 2);
      return;
    }
    this.moved += Math.hypot(x - before[0], y - before[1]);
    if (this.moved >= STILL) this.on.pan(x - before[0], y - before[1]);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { on } = this;
    const known = {
      ArrowLeft: () => on.pan(STEP, 0),
      ArrowRight: () => on.pan(-STEP, 0),
      ArrowUp: () => on.pan(0, STEP),
      ArrowDown: () => on.pan(0, -STEP),
      "+": () => on.zoom(FACTOR),
      "=": () => on.zoom(FACTOR),
      "-": () => on.zoom(1 / FACTOR),
      0: () => on.all(),
      Enter: () => on.middle(),
      " ": () => on.middle(),
    }[event.key];
    if (!known) return;
    event.preventDefault();
    this.keyboard = true;
    known();
  }
}
