// Points on a canvas: pan, zoom, hover and choose; near enough, points become their photos.

import { later } from "./dom.js";
import { photoAddress, pixels } from "./photos.js";

const MARGIN = 28;
const NEAREST = 60; // times
const PHOTOS = 60; // at most so many points in view become photos
const SIDE = 52;

export class Canvas {
  constructor(canvas, points, groups, { model, onpick, onhover, onview }) {
    Object.assign(this, { canvas, points, groups, model, onpick, onhover });
    this.context = canvas.getContext("2d");
    this.scale = 1;
    this.x = 0; // of the middle, in -1..1
    this.y = 0;
    this.group = -1;
    this.marked = "";
    this.photos = new Map();
    this.pointers = new Map();
    this.told = later(() => onview(this.visible()), 200);
    this.listen();
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Ring an item. */
  mark(id) {
    this.marked = id;
    this.draw();
  }

  /** Show one group alone; all with -1. */
  only(group) {
    this.group = group;
    this.draw();
  }

  reset() {
    this.move(0, 0, 1);
  }

  /** Zoom, keeping what lies at (px, py) where it is; the middle where they are left out. */
  zoom(factor, px = this.canvas.clientWidth / 2, py = this.canvas.clientHeight / 2) {
    const scale = Math.min(NEAREST, Math.max(1, this.scale * factor));
    const [x, y] = this.place(px, py);
    const ratio = this.scale / scale;
    this.move(x - (x - this.x) * ratio, y - (y - this.y) * ratio, scale);
  }

  move(x, y, scale = this.scale) {
    const clamp = (value) => Math.min(1, Math.max(-1, value));
    Object.assign(this, { x: clamp(x), y: clamp(y), scale });
    this.draw();
  }

  /** Points in view, those nearest to the middle first. */
  visible() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return this.points
      .map((point, row) => [point, row, ...this.pixel(point)])
      .filter(([, row, px, py]) => this.has(row) && px >= 0 && py >= 0 && px <= width && py <= height)
      .sort((a, b) => distance(a, width, height) - distance(b, width, height))
      .map(([point]) => point);
  }

  has(row) {
    return this.group < 0 || this.groups[row] === this.group;
  }

  reach() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return [this.scale * (width / 2 - MARGIN), this.scale * (height / 2 - MARGIN)];
  }

  pixel({ x, y }) {
    const [across, down] = this.reach();
    return [this.canvas.clientWidth / 2 + (x - this.x) * across, this.canvas.clientHeight / 2 - (y - this.y) * down];
  }

  place(px, py) {
    const [across, down] = this.reach();
    return [this.x + (px - this.canvas.clientWidth / 2) / across, this.y - (py - this.canvas.clientHeight / 2) / down];
  }

  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.paint();
      this.told();
    });
  }

  paint() {
    const { canvas, context } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width) return; // hidden
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const style = getComputedStyle(canvas);
    const colours = Array.from({ length: 8 }, (_, row) => style.getPropertyValue(`--map-${row}`));
    const near = this.visible().slice(0, PHOTOS + 1);
    const drawn = near.length <= PHOTOS ? new Set(near) : new Set();
    const radius = Math.min(8, 4 + Math.log2(this.scale) * 0.8);
    this.points.forEach((point, row) => {
      const [px, py] = this.pixel(point);
      if (px < -SIDE || py < -SIDE || px > width + SIDE || py > height + SIDE) return;
      const isOn = this.has(row);
      context.globalAlpha = isOn ? 0.85 : 0.1;
      if (isOn && drawn.has(point) && this.stamp(point, px, py, colours[this.groups[row]])) return;
      disc(context, px, py, radius, colours[this.groups[row]]);
    });
    context.globalAlpha = 1;
    const own = this.points.find((point) => point.id === this.marked);
    if (own) ring(context, ...this.pixel(own), drawn.has(own) ? SIDE * 0.72 : radius + 5, style.getPropertyValue("--accent"));
  }

  /** Draw a point's photo, once it is there. */
  stamp(point, px, py, colour) {
    const { context } = this;
    if (!this.photos.has(point.id)) {
      this.photos.set(point.id, null);
      pixels(photoAddress(point.id, 128, this.model)).then((image) => {
        this.photos.set(point.id, image);
        this.draw();
      });
    }
    const image = this.photos.get(point.id);
    if (!image) return false;
    const scale = SIDE / Math.max(image.naturalWidth, image.naturalHeight);
    const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
    context.globalAlpha = 1;
    context.fillStyle = colour;
    context.fillRect(px - width / 2 - 2, py - height / 2 - 2, width + 4, height + 4);
    context.drawImage(image, px - width / 2, py - height / 2, width, height);
    return true;
  }

  nearest(px, py) {
    const isPhoto = this.visible().length <= PHOTOS;
    let best = null;
    let least = isPhoto ? SIDE / 2 + 2 : 14;
    this.points.forEach((point, row) => {
      const [x, y] = this.pixel(point);
      const away = Math.hypot(x - px, y - py);
      if (this.has(row) && away < least) [best, least] = [point, away];
    });
    return best;
  }

  listen() {
    const { canvas } = this;
    const at = (event) => {
      const bounds = canvas.getBoundingClientRect();
      return [event.clientX - bounds.left, event.clientY - bounds.top];
    };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * 0.0016), ...at(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, at(event));
      this.travelled = this.pointers.size > 1 ? Infinity : 0;
      this.onhover(null);
    });
    canvas.addEventListener("pointermove", (event) => this.moved(event, at(event)));
    canvas.addEventListener("pointerleave", () => this.onhover(null));
    canvas.addEventListener("pointerup", (event) => {
      const isClick = this.pointers.delete(event.pointerId) && this.travelled < 6;
      const point = isClick ? this.nearest(...at(event)) : null;
      if (point) this.onpick(point);
    });
    canvas.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("keydown", (event) => this.pressed(event));
  }

  moved(event, [px, py]) {
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      const point = this.nearest(px, py);
      this.canvas.style.cursor = point ? "pointer" : "grab";
      this.onhover(point, ...(point ? this.pixel(point) : [0, 0]));
      return;
    }
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    if (others.length) {
      const [ox, oy] = others[0];
      const spread = ([x, y]) => Math.max(1, Math.hypot(x - ox, y - oy));
      this.zoom(spread([px, py]) / spread(before), ox, oy);
    } else {
      const [across, down] = this.reach();
      this.travelled += Math.hypot(px - before[0], py - before[1]);
      this.move(this.x - (px - before[0]) / across, this.y + (py - before[1]) / down);
    }
    this.pointers.set(event.pointerId, [px, py]);
  }

  pressed(event) {
    const step = 0.25 / this.scale;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    const zooms = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 };
    if (event.key in moves) this.move(this.x + moves[event.key][0], this.y + moves[event.key][1]);
    else if (event.key in zooms) this.zoom(zooms[event.key]);
    else if (event.key === "0") this.reset();
    else return;
    event.preventDefault();
  }
}

const distance = ([, , px, py], width, height) => Math.hypot(px - width / 2, py - height / 2);

function disc(context, x, y, radius, colour) {
  context.fillStyle = colour;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

function ring(context, x, y, radius, colour) {
  context.strokeStyle = colour;
  context.lineWidth = 3;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.stroke();
}
