// Photos of items, lazily; with a key they are fetched, since <img> can send none.

import { address, blob, itemPath, key } from "./api.js";
import { el } from "./dom.js";

const KEPT = 400;
const made = new Map(); // address -> object URL, the oldest first
const observer = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    observer.unobserve(target);
    target.dispatchEvent(new Event("near"));
  }
}, { rootMargin: "300px" });

export const photoAddress = (id, size, model) => address(`${itemPath(id)}/photo`, { size, model });

/** An <img> of an item; where there is no photo, a tile that says so. */
export function photo(id, alt, { size = 384, model } = {}) {
  const image = el("img", { alt, loading: "lazy", decoding: "async", width: size, height: size });
  image.addEventListener("error", () => image.replaceWith(noPhoto()), { once: true });
  const url = photoAddress(id, size, model);
  if (!key()) image.src = url;
  else {
    image.addEventListener("near", async () => {
      try {
        image.src = await fetched(url);
      } catch {
        image.replaceWith(noPhoto());
      }
    }, { once: true });
    observer.observe(image);
  }
  return image;
}

/** An <img> of a data: URL. */
export const picture = (source, alt) => el("img", { src: source, alt, decoding: "async" });

export const noPhoto = () => el("span", { class: "no-photo" }, "No photo");

/** A photo's pixels, to draw on a canvas; null where there is none. */
export async function pixels(source) {
  const image = new Image();
  try {
    image.src = source.startsWith("data:") || !key() ? source : await fetched(source);
    await image.decode();
    return image;
  } catch {
    return null;
  }
}

async function fetched(url) {
  if (!made.has(url)) {
    made.set(url, URL.createObjectURL(await blob(url)));
    if (made.size > KEPT) {
      const [oldest, source] = made.entries().next().value;
      made.delete(oldest);
      URL.revokeObjectURL(source);
    }
  }
  return made.get(url);
}

const SIDE = 1024;

/** A chosen file as a data: URL, upright, at most SIDE pixels, and without what a phone adds. */
export async function uploaded(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error("This file is no picture that the browser can read; choose a JPEG or PNG.");
  }
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = el("canvas", {
    width: Math.max(1, Math.round(bitmap.width * scale)),
    height: Math.max(1, Math.round(bitmap.height * scale)),
  });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // under what is transparent
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.toDataURL("image/jpeg", 0.92);
}
