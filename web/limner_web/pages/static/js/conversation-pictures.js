// What can be done with the pictures of a conversation: enlarged in the viewer, saved, shared, marked.
import { menuOf } from "./actions.js";
import { canPaint, changePart } from "./attach.js";
import { t } from "./i18n.js";
import { openMenu } from "./menu.js";
import { organiseMenu } from "./organise.js";
import { attempt } from "./toast.js";
import { setUpViewer } from "./viewer.js";

let viewer = null;

// Its turn would be left without its picture, so that deleting is for the gallery.
const marks = (job, image) => organiseMenu(job, image, { onChange: () => viewer.update() }).filter(({ danger }) => !danger);

const partItem = (image) => canPaint() && { group: "make", icon: "brush", text: t("Change a part of it …"), onClick: () => { viewer.close(); attempt(() => changePart(image)); } };

// `pictures()` lists the {job, image} that are shown.
export function setUpPictures(pictures) {
  viewer = setUpViewer({
    pictures,
    actions: [{ icon: "remix", text: t("Remix in the studio"), run: ({ job }) => location.assign(`/?remix=${job.id}`) }],
    organise: ({ job, image }) => [partItem(image), ...marks(job, image)],
  });
}

export const enlarge = (image) => viewer.show(image.id);

export async function openActions(at, job, image) {
  openMenu(at, [{ group: "make", icon: "image", text: t("Enlarge"), onClick: () => enlarge(image) }, partItem(image), ...await menuOf(job, image, marks(job, image))]);
}
