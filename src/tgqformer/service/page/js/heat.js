// A stream's attention, laid over the photo.

import { el } from "./dom.js";

const SIDE = 480;
// magma (van der Walt and Smith, CC0) from pale to dark: even steps, told apart by the colour-blind
const RAMP = [[254, 223, 170], [254, 176, 120], [241, 96, 93], [182, 54, 121], [114, 31, 129], [59, 15, 112]];

/** A canvas of the photo, grey and pale, with the attention over it, [rows][columns]. */
export function heat(image, map, label) {
  const scale = SIDE / Math.max(image.naturalWidth, image.naturalHeight);
  const width = Math.max(1, Math.round(image.naturalWidth * scale));
  const height = Math.max(1, Math.round(image.naturalHeight * scale));
  const canvas = el("canvas", { width, height, role: "img", "aria-label": `${label}: ${where(map)}` });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, width, height);
  context.globalCompositeOperation = "saturation";
  context.fillStyle = "#808080";
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "source-over";
  context.fillStyle = "rgba(255, 255, 255, 0.5)";
  context.fillRect(0, 0, width, height);
  const [x0, y0, x1, y1] = map.window ?? [0, 0, 1, 1];
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(cells(map), x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height);
  return canvas;
}

function cells({ rows, columns, values }) {
  const canvas = el("canvas", { width: columns, height: rows });
  const context = canvas.getContext("2d");
  const data = context.createImageData(columns, rows);
  const highest = Math.max(...values.flat(), 1e-12);
  values.flat().forEach((value, cell) => {
    const share = value / highest;
    data.data.set([...colour(share), Math.round(225 * share ** 0.6)], 4 * cell);
  });
  context.putImageData(data, 0, 0);
  return canvas;
}

function colour(share) {
  const at = share * (RAMP.length - 1);
  const low = Math.min(Math.floor(at), RAMP.length - 2);
  return RAMP[low].map((value, part) => Math.round(value + (at - low) * (RAMP[low + 1][part] - value)));
}

/** In words, where most of it lies. */
export function where({ rows, columns, values }) {
  let x = 0;
  let y = 0;
  let total = 0;
  let inner = 0;
  values.forEach((line, row) => line.forEach((value, column) => {
    const [across, down] = [(column + 0.5) / columns, (row + 0.5) / rows];
    x += value * across;
    y += value * down;
    total += value;
    if (Math.abs(across - 0.5) < 0.25 && Math.abs(down - 0.5) < 0.25) inner += value;
  }));
  if (!total) return "it looks nowhere";
  const third = (value, names) => names[value < 0.44 ? 0 : value > 0.56 ? 2 : 1];
  const place = `${third(y / total, ["upper", "middle", "lower"])} ${third(x / total, ["left", "centre", "right"])}`;
  return `weighted to the ${place}, ${Math.round((100 * inner) / total)} % in the inner quarter`;
}
