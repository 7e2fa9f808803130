// Calls every part of the official replicate client that this service has, and prints what came back as JSON.
import Replicate, { validateWebhook } from "replicate";

import { receiver } from "./receiver.mjs";

const [origin, pngBase64] = process.argv.slice(2);
const client = new Replicate({ auth: "unused", baseUrl: `${origin}/replicate/v1` });
const png = Buffer.from(pngBase64, "base64");
const model = "limner/canvas";
const found = {};

const [output] = await client.run(model, { input: { prompt: "a red apple", seed: 7 } });
found.run = (await bytes(output)).subarray(1, 4).toString();
const version = (await client.models.get("limner", "canvas")).latest_version.id;
const progress = [];
await client.run(`${model}:${version}`, { input: { prompt: "x", num_inference_steps: 100 }, wait: { mode: "poll" } }, (each) =>
  progress.push(each.status),
);
found.progress = { first: progress[0], last: progress.at(-1) };

const created = await client.predictions.create({ model, input: { prompt: "a fox", seed: 3 } });
const waited = await client.wait(created, { interval: 50 });
found.prediction = { status: waited.status, seed: waited.input.seed };
found.listed = [];
for await (const page of client.paginate(client.predictions.list)) found.listed.push(...page.map((each) => each.id));
found.listed = found.listed.includes(created.id);
const slow = await client.predictions.create({ model, input: { prompt: "slow", num_inference_steps: 1000 } });
found.canceled = (await client.predictions.cancel(slow.id)).status;

found.stream = [];
for await (const event of client.stream(model, { input: { prompt: "a rocket", num_outputs: 2 } })) found.stream.push(event.event);

found.models = [];
for await (const page of client.paginate(client.models.list)) found.models.push(...page.map((each) => `${each.owner}/${each.name}`));
found.versions = (await client.models.versions.list("limner", "canvas")).results?.length ?? 0;
found.deployment = (await client.deployments.get("limner", "canvas")).current_release.model;

found.account = (await client.accounts.current()).type;
found.hardware = (await client.hardware.list()).map((each) => each.sku);
found.collection = (await client.collections.get("inpainting")).models.map((each) => each.name);
found.collections = (await client.collections.list()).results.map((each) => each.slug);
found.searched = (await client.models.search("canvas")).results.map((each) => each.name);
found.trainings = (await client.trainings.list()).results.length;
found.deployments = (await client.deployments.list()).results.length > 0;

const file = await client.files.create(new Blob([png], { type: "image/png" }), { page: 3 });
const started = await client.predictions.create({ model, input: { prompt: "x", image: file.urls.get }, wait: 30 });
found.file = { type: file.content_type, size: file.size, metadata: file.metadata, used: started.status };
const direct = await client.run(model, { input: { prompt: "x", image: png } });
found.uploaded = (await bytes(direct[0])).subarray(1, 4).toString();
const references = { prompt: "x", reference_images: [png, png], reference_scale: 0.5 };
found.referred = (await client.predictions.create({ model: "limner/collage", input: references, wait: 30 })).id;
found.deleted = await client.files.delete(file.id);

const shop = await receiver();
const hooked = await client.predictions.create({
  model,
  input: { prompt: "a bell" },
  webhook: shop.url,
  webhook_events_filter: ["completed"],
});
const { headers, body } = await shop.next();
const secret = (await client.webhooks.default.secret.get()).key;
const signed = (given) => ({
  id: headers["webhook-id"],
  timestamp: headers["webhook-timestamp"],
  signature: headers["webhook-signature"],
  body: given,
  secret,
});
found.webhook = {
  same: JSON.parse(body).id === hooked.id,
  valid: await validateWebhook(signed(body)),
  changed: await validateWebhook(signed(body.replace("a bell", "a ball"))),
};
shop.close();

found.errors = [];
for (const asked of [
  () => client.predictions.create({ model, input: { prompt: "x", width: 3, height: 3 } }),
  () => client.predictions.create({ model: "limner/none", input: { prompt: "x" } }),
  () => client.predictions.get("job_none"),
  () => client.models.create("me", "mine", { visibility: "private", hardware: "cpu" }),
  () => client.trainings.get("mine"),
  () => client.deployments.delete("limner", "canvas"),
]) {
  const error = await asked().then(() => null, (caught) => caught);
  found.errors.push([error.constructor.name, error.response?.status ?? null]);
}

// The client repeats reads that are answered with 5xx by itself; here the first tries do not reach the service.
let tries = 0;
const flaky = new Replicate({
  auth: "unused",
  baseUrl: `${origin}/replicate/v1`,
  fetch: (...given) => (++tries < 3 ? new Response("{}", { status: 503 }) : fetch(...given)),
});
found.retried = { status: (await flaky.predictions.get(created.id)).status, tries };

console.log(JSON.stringify(found));

async function bytes(output) {
  if (typeof output === "string") return Buffer.from(output.split(",")[1], "base64");
  return Buffer.from(await (await output.blob()).arrayBuffer());
}
