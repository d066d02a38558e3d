// Canvases in device pixels.

// Keep the canvas as large as its box.  `action` is told by how much a device pixel shrank, which happens when the window
// moves to another monitor: the box keeps its size in CSS pixels then, so a ResizeObserver alone would not notice.
export function keepSize(canvas, box, action) {
  let ratio = devicePixelRatio;
  const fit = () => {
    canvas.width = Math.max(1, Math.round(box.clientWidth * devicePixelRatio));
    canvas.height = Math.max(1, Math.round(box.clientHeight * devicePixelRatio));
    const factor = devicePixelRatio / ratio;
    ratio = devicePixelRatio;
    action(factor);
  };
  new ResizeObserver(fit).observe(box);
  const follow = () => {
    const query = matchMedia(`(resolution: ${devicePixelRatio}dppx)`);
    query.addEventListener("change", () => (fit(), follow()), { once: true });
  };
  follow();
}
