// The strokes of a mask: painted, erased, undone and redone. Points are in pixels of the mask.
export function makeStrokes() {
  let done = [];
  let undone = [];

  function trace(context, { points: [first, ...rest] = [], around, size, isErasing }, colour) {
    context.globalCompositeOperation = isErasing ? "destination-out" : "source-over";
    Object.assign(context, { strokeStyle: colour, fillStyle: colour, lineWidth: size, lineCap: "round", lineJoin: "round" });
    context.beginPath();
    if (around) {
      context.rect(0, 0, context.canvas.width, context.canvas.height);
      context.rect(...around);
      context.fill("evenodd");
      return;
    }
    if (rest.length) {
      context.moveTo(first.x, first.y);
      for (const { x, y } of rest) context.lineTo(x, y);
      context.stroke();
    } else {
      context.arc(first.x, first.y, size / 2, 0, 2 * Math.PI);
      context.fill();
    }
  }

  function draw(canvas, colour) {
    const context = canvas.getContext("2d");
    context.globalCompositeOperation = "source-over";
    context.clearRect(0, 0, canvas.width, canvas.height);
    const start = done.findLastIndex(({ isClearing }) => isClearing) + 1;
    for (const stroke of done.slice(start)) trace(context, stroke, colour);
  }

  // A PNG as a data URL: white where something is painted, black elsewhere; null if nothing is.
  function exported(width, height) {
    const paint = Object.assign(document.createElement("canvas"), { width, height });
    draw(paint, "#fff");
    const { data } = paint.getContext("2d").getImageData(0, 0, width, height);
    if (!data.some((value, at) => at % 4 === 3 && value > 127)) return null;
    const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
    context.fillRect(0, 0, width, height); // black
    context.drawImage(paint, 0, 0);
    return context.canvas.toDataURL("image/png");
  }

  return {
    draw,
    exported,
    begin(stroke) { done.push(stroke); undone = []; },
    extend(point) { done.at(-1)?.points?.push(point); },
    clear() { if (this.canUndo) this.begin({ isClearing: true }); },
    undo() { const last = done.pop(); if (last) undone.push(last); },
    redo() { const next = undone.pop(); if (next) done.push(next); },
    drop() { done.pop(); },
    get canUndo() { return done.length > 0; },
    get canRedo() { return undone.length > 0; },
    get copy() { return [...done]; },
    set copy(strokes) { done = [...strokes]; undone = []; },
  };
}
