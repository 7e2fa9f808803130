// A picture that is to be continued beyond its edges: smaller, in the middle of a larger one.
const LONGEST = 1024; // pixels
const INNER = 0.75; // the most of each side that it keeps
const SEAM = 0.02; // of each side, which is drawn again within its edges

// Returns the larger picture, of the shape width × height, as a data URL, and the part, [x, y, width, height] in parts of
// the whole, that stays. Around it, the picture is stretched, so that its colours go on.
export async function extended(url, width, height) {
  const picture = Object.assign(new Image(), { src: url });
  await picture.decode();
  const scale = LONGEST / Math.max(width, height);
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.round(width * scale), height: Math.round(height * scale) });
  const fit = INNER * Math.min(canvas.width / picture.naturalWidth, canvas.height / picture.naturalHeight);
  const [wide, high] = [picture.naturalWidth * fit, picture.naturalHeight * fit];
  const [left, top] = [(canvas.width - wide) / 2, (canvas.height - high) / 2];
  const context = canvas.getContext("2d");
  context.filter = "blur(24px)";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  context.filter = "none";
  context.drawImage(picture, left, top, wide, high);
  const [x, y] = [left / canvas.width + SEAM, top / canvas.height + SEAM];
  return { image: canvas.toDataURL("image/webp", 0.95), part: [x, y, 1 - 2 * x, 1 - 2 * y] };
}
