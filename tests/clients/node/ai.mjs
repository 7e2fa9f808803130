// Draws with the AI SDK and its providers of OpenAI and Replicate, and prints what came back as JSON.
import { createOpenAI } from "@ai-sdk/openai";
import { createReplicate } from "@ai-sdk/replicate";
import { generateImage, generateText, streamText } from "ai";

const [origin, pngBase64] = process.argv.slice(2);
const openai = createOpenAI({ baseURL: `${origin}/v1`, apiKey: "unused" });
const png = Buffer.from(pngBase64, "base64");
const found = {};
globalThis.AI_SDK_LOG_WARNINGS = false;

const made = await generateImage({ model: openai.image("canvas"), prompt: "a red apple", size: "64x32", n: 2 });
found.generate = made.images.map((image) => image.mediaType);
const edited = await generateImage({ model: openai.image("canvas"), prompt: { text: "a boat", images: [png] } });
found.edit = edited.images.map((image) => image.mediaType);

const tools = { image_generation: openai.tools.imageGeneration({ size: "auto", quality: "low" }) };
const told = await generateText({ model: openai.responses("canvas"), prompt: "a red apple", tools });
found.response = { text: told.text, pictures: told.staticToolResults?.length ?? 0, results: told.toolResults.length };
found.result = Buffer.from(told.toolResults[0].output.result, "base64").subarray(1, 4).toString();

const streamed = streamText({ model: openai.responses("canvas"), prompt: "a boat", tools });
found.stream = [];
for await (const part of streamed.fullStream) found.stream.push(part.type);

const chatted = await generateText({ model: openai.chat("canvas"), prompt: "a red apple" });
found.chat = chatted.text;
found.chatStream = "";
for await (const text of streamText({ model: openai.chat("canvas"), prompt: "a boat" }).textStream) found.chatStream += text;

found.errors = [];
for (const asked of [
  () => generateImage({ model: openai.image("canvas"), prompt: "x", size: "3x3", maxRetries: 0 }),
  () => generateText({ model: openai.responses("gpt-9"), prompt: "x", tools, maxRetries: 0 }),
]) {
  const error = await asked().then(() => null, (caught) => caught);
  found.errors.push([error.name, error.statusCode, error.isRetryable, error.data?.error?.param ?? null]);
}

const replicate = createReplicate({ apiToken: "unused", baseURL: `${origin}/replicate/v1` });
const painter = replicate.image("limner/canvas");
const webp = { replicate: { output_format: "webp", output_quality: 80, guidance_scale: 4 } };
found.replicate = [];
for (const more of [{ n: 2, seed: 7 }, { size: "64x32" }, { aspectRatio: "1:1", providerOptions: webp }]) {
  const { images } = await generateImage({ model: painter, prompt: "a red apple", ...more });
  found.replicate.push(images.map((image) => image.mediaType));
}
const wide = await generateImage({ model: painter, prompt: "x", aspectRatio: "16:9", maxRetries: 0 }).catch((caught) => caught);
found.wide = [wide.statusCode, wide.message.slice(0, 13)];

// The provider repeats a call that is answered with 503 by itself.
let tries = 0;
const flaky = createOpenAI({
  baseURL: `${origin}/v1`,
  apiKey: "unused",
  fetch: (...given) => (++tries < 2 ? new Response("{}", { status: 503 }) : fetch(...given)),
});
await generateImage({ model: flaky.image("canvas"), prompt: "once in the ai sdk", maxRetries: 2 });
found.repeated = tries > 1; // once more if a kept connection was closed while it was idle

console.log(JSON.stringify(found));
