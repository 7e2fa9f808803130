// Calls every part of the official openai client that this service has, and prints what came back as JSON.
import OpenAI, { toFile } from "openai";

import { receiver } from "./receiver.mjs";

const [origin, pngBase64] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${origin}/v1`, apiKey: "unused", maxRetries: 0 });
const png = Buffer.from(pngBase64, "base64");
const model = "canvas";
const tool = { type: "image_generation", size: "64x32" };
const found = {};

const made = await client.images.generate({ model, prompt: "a red apple", n: 2, seed: 5, output_format: "webp" });
found.generate = { kind: pictureKind(made.data[0].b64_json), seeds: made.data.map((item) => item.seed), size: made.size };

found.stream = [];
const stream = await client.images.generate({ model, prompt: "x", stream: true, partial_images: 1, steps: 200 });
for await (const event of stream) found.stream.push(event.type);

const image = await toFile(png, "red.png", { type: "image/png" });
const edited = await client.images.edit({ model, prompt: "a boat", image: [image], strength: 0.5 });
found.edit = pictureKind(edited.data[0].b64_json);

const streamed = await client.images.edit({ model, prompt: "a boat", image, stream: true });
found.editStream = [];
for await (const event of streamed) found.editStream.push(event.type);
const referred = await client.images.edit({ model: "collage", prompt: "a boat", image: [image, image] });
found.referred = referred.job_id;
const varied = await client.images.createVariation({ model, image, prompt: "a ship" });
found.variation = varied.data[0].revised_prompt;
found.flagged = (await client.moderations.create({ input: "a red apple" })).results.map((result) => result.flagged);

const file = await client.files.create({ file: await toFile(png, "red.png"), purpose: "vision" });
const content = Buffer.from(await (await client.files.content(file.id)).arrayBuffer());
found.files = { same: content.equals(png), listed: [], deleted: (await client.files.delete(file.id)).deleted };
for await (const each of client.files.list()) found.files.listed.push(each.id);

found.models = [];
for await (const each of client.models.list()) found.models.push(each.id);

const response = await client.responses.create({ model, input: "a red apple", tools: [tool] });
found.response = { status: response.status, output: response.output.map((item) => item.type), text: response.output_text };
const later = await client.responses.create({ input: "make it blue", previous_response_id: response.id, tools: [tool] });
found.later = later.previous_response_id === response.id;
found.responseStream = [];
for await (const event of await client.responses.create({ model, input: "a boat", tools: [tool], stream: true }))
  found.responseStream.push(event.type);
const helper = client.responses.stream({ model, input: "a boat", tools: [tool] });
found.helper = (await helper.finalResponse()).output.map((item) => item.type);

const looks = [1, 2].map(() => ({ type: "input_image", image_url: `data:image/png;base64,${pngBase64}` }));
const parts = [{ type: "input_text", text: "a boat" }, ...looks];
const looked = await client.responses.create({ model: "collage", input: [{ role: "user", content: parts }], tools: [tool] });
found.looked = looked.job_id;
const behind = await client.responses.create({ model, input: "a fox", tools: [tool], background: true });
found.behind = [];
for await (const event of await client.responses.retrieve(behind.id, { stream: true, starting_after: 0 }))
  found.behind.push(event.type);

const chat = await client.chat.completions.create({ model, messages: [{ role: "user", content: "a red apple" }] });
found.chat = chat.choices[0].message.content;
found.chatStream = "";
const chunks = await client.chat.completions.create({ model, messages: [{ role: "user", content: "a boat" }], stream: true });
for await (const chunk of chunks) found.chatStream += chunk.choices[0].delta.content ?? "";

// A batch to its end, of which a webhook tells.
const shop = await receiver();
const endpoint = await client.post("/webhook_endpoints", {
  body: { name: "node", url: shop.url, event_types: ["batch.completed"] },
});
const call = { custom_id: "1", method: "POST", url: "/v1/images/generations", body: { model, prompt: "a lamp", size: "64x32" } };
const lines = await toFile(Buffer.from(JSON.stringify(call)), "calls.jsonl");
const requests = await client.files.create({ file: lines, purpose: "batch" });
const batch = await client.batches.create({
  input_file_id: requests.id,
  endpoint: call.url,
  completion_window: "24h",
});
const told = await shop.next();
const event = await client.webhooks.unwrap(told.body, told.headers, endpoint.signing_secret ?? endpoint.secret);
const ended = await client.batches.retrieve(batch.id);
const output = JSON.parse(await (await client.files.content(ended.output_file_id)).text());
found.batch = {
  event: [event.type, event.data.id === batch.id],
  status: ended.status,
  picture: pictureKind(output.response.body.data[0].b64_json),
  listed: (await client.batches.list()).data.some((each) => each.id === batch.id),
};
found.forged = await client.webhooks.unwrap(told.body, told.headers, "whsec_AAAA").catch((error) => error.constructor.name);
await client.delete(`/webhook_endpoints/${endpoint.id}`);
shop.close();

found.errors = [];
for (const asked of [
  () => client.images.generate({ model, prompt: "x", size: "3x3" }),
  () => client.images.generate({ model: "gpt-9", prompt: "x" }),
  () => client.responses.create({ model, input: "x", tools: [{ type: "web_search" }] }),
  () => client.files.retrieve("file_none"),
]) {
  const error = await asked().then(() => null, (caught) => caught);
  found.errors.push([error.constructor.name, error.status, error.code, error.param ?? null]);
}

// Each try gives up before the picture is there; the service recognizes the repetitions.
const patient = client.withOptions({ maxRetries: 50, timeout: 700 });
const again = await patient.images.generate({ model, prompt: "again in node", steps: 120 });
found.retried = again.job_id;

console.log(JSON.stringify(found));

function pictureKind(base64) {
  const data = Buffer.from(base64, "base64");
  if (data.subarray(1, 4).toString() === "PNG") return "png";
  return data.subarray(8, 12).toString().toLowerCase();
}
