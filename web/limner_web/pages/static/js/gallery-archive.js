// Downloads chosen pictures as one archive.
import { call, pictureUrl } from "./api.js";
import { number, t, tn } from "./i18n.js";
import { toast } from "./toast.js";
import { fileName } from "./words.js";
import { save, zip } from "./zip.js";

const MOST_ZIPPED = 1000;
const MOST_BYTES = 2 ** 30; // an archive is made in memory
const GONE = [404, 410];

// The archive names the pictures that were deleted meanwhile.
export async function download(pictures) {
  toast(tn("Packing %(n)s picture …", "Packing %(n)s pictures …", pictures.length), { seconds: 3 });
  const [files, missing] = [[], []];
  let [packed, room] = [0, MOST_BYTES];
  for (const { job, image } of pictures.slice(0, MOST_ZIPPED)) {
    const name = `${String(packed + 1).padStart(4, "0")} ${fileName(job, image)}`;
    const bytes = await bytesOf(image);
    if (bytes && bytes.length > room) break;
    if (bytes) files.push({ name, bytes });
    else missing.push(name);
    packed += 1;
    room -= bytes?.length ?? 0;
  }
  if (missing.length) files.push({ name: "missing.txt", bytes: new TextEncoder().encode(`${missing.join("\n")}\n`) });
  save(zip(files), "limner-pictures.zip");
  if (missing.length) toast(tn("%(n)s picture is missing: it no longer exists.", "%(n)s pictures are missing: they no longer exist.", missing.length), { bad: true });
  if (packed < pictures.length) toast(t("The first %(n)s pictures are in the archive.", { n: number(packed) }));
}

async function bytesOf(image) {
  try {
    return new Uint8Array(await (await call(pictureUrl(image, "png"))).arrayBuffer());
  } catch (error) {
    if (!GONE.includes(error.status)) throw error;
    return null;
  }
}
